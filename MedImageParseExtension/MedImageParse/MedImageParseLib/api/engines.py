"""Engines on this computer, from Python: what there is, adding, removing, and holding one to the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..progress import Cancellation, Progress, no_progress
from .calls import in_sentences

if TYPE_CHECKING:
    from ..engines.contract import Finding
    from ..engines.store import Added


@in_sentences
def engine_list() -> list[dict[str, Any]]:
    """The engines of this computer, and those that can be added.

    Returns:
        one dictionary each: "name", "state" ("default", "added" or "can be added"), "title", "version", "licence", "models", "finds",
        "weights" (fingerprint), "needs" (what `engine_add` has to be given, with its help).
    """
    from ..engines.interface import Engine
    from ..engines.named import DEFAULT, OURS, engine_class
    from ..engines.store import added_engines

    added = {each.name: each for each in added_engines()}
    rows = []
    for name in OURS:
        kind = engine_class(name)
        facts = Engine.facts_of(kind)
        row = {key: getattr(facts, key) for key in ("title", "version", "licence", "finds")} | {"models": list(facts.models), "weights": ""}
        needs = {option: need.help for option, need in kind.needs.items()}
        rows.append({"name": name, "state": "default" if name == DEFAULT else "can be added", **row, "needs": needs})
    for each in added.values():
        row = {key: getattr(each, key) for key in ("title", "version", "licence", "finds", "models", "weights")}
        rows.append({"name": each.name, "state": "added", **row, "needs": {}})
    return [row for row in rows if row["state"] != "can be added" or row["name"] not in added]


@in_sentences
def engine_add(
    engine: str,
    *,
    name: str = "",
    options: Mapping[str, str] | None = None,
    python: str = "",
    accept_licence: bool = False,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Added:
    """Add an engine: an environment of its own is made for it (never in this Python), and what it was given is remembered.

    Args:
        engine: the name of one that can be added (see engine_list), or FILE.py:Class.
        name: what to call it; "" for its own name.
        options: what it needs: {"repo": "…", "checkpoint": "…"}.
        python: an environment's Python that has everything already; "" makes an environment with the pinned packages.
        accept_licence: you have read and accepted its terms, where it has some.
        progress: told what is going on.
        cancellation: stops it, and nothing is left behind.

    Raises:
        UsageError: something is missing; nothing was done.
        MedImageParseError: the environment could not be made; nothing is left of it.
    """
    from ..engines.store import add_engine

    return add_engine(
        engine, name=name, options=options, python=python, accept_terms=accept_licence, progress=progress, cancellation=cancellation
    )


@in_sentences
def engine_remove(name: str) -> None:
    """Forget an engine and its environment; what you brought for it (checkout, weights) stays.

    Args:
        name: as engine_list shows it.

    Raises:
        UsageError: there is none of that name.
    """
    from ..engines.store import remove_engine

    remove_engine(name)


@in_sentences
def engine_check(
    engine: str, *, tell: Callable[[Finding], object] = lambda _finding: None, on_change: Callable[[str], object] | None = None
) -> list[Finding]:
    """Hold an engine to the contract: it is started, asked some twenty small questions, and ended.

    Args:
        engine: the name of one that was added, "classical", or FILE.py:Class.
        tell: called with each finding.
        on_change: called with a sentence while it is loading.

    Returns:
        one Finding a demand, with `demand`, `fault` ("" where it is met) and `is_met`.

    Raises:
        UsageError: there is none of that name.
        MedImageParseError: it cannot be started.
    """
    from ..engines.contract import check_engine
    from ..engines.store import find_engine

    host = find_engine(engine, patience_s=3600.0, on_change=on_change)
    try:
        host.start()
        host.wait()
        return check_engine(host, tell)
    finally:
        host.stop()
