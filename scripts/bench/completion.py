"""Benchmark: whether three letters give the right target, and how long a keystroke takes.

    python3 scripts/bench/completion.py [--most 12] [--json FILE]

For every target that the model cards of MedImageParse 3D and MedImageParse recommend, with the modality that they recommend it for, four ways
to type three letters:
    main word   the first three letters of its name without the side: "adr" for "left adrenal gland"; a vertebra's number: "T12"
    side too    for a target with a side its letter and two of the name: "lad"; else as above
    as written  the first three letters of its name, side first: "lef"
    natural     any of: main word, side too, initials ("lag")
Given are the share of the targets that are in the list of `--most` rows, the share that stand first, and the processor time of one call of `suggest`
for every beginning of every name, and of some that are no target: median, 99 % and the longest, in milliseconds. Bounds: 95 % by the main
word, 30 ms at 99 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "MedImageParseExtension" / "MedImageParse"), str(ROOT / "Testing" / "prompts")]

from test_prompts_card_targets import TARGETS, TARGETS_2D  # the lists of the cards

from MedImageParseLib.prompts.catalogue import Target, lookup, targets
from MedImageParseLib.prompts.completion import MOST, suggest

LEAST_SHARE, MOST_MS = 0.95, 30.0
FREE = ("unicorn horn", "something that no model knows", "livr", "oesofagus", "the left one of them", "lesion near the hilum")


def main() -> int:
    """Print the figures. Returns 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--most", type=int, default=MOST, help=f"rows of the list (default {MOST})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    vertebrae = [("CT", target.name) for target in targets() if target.name[:-2].strip() == "vertebra" or target.name[:-3] == "vertebra"]
    listed = [(name, modality) for modality, name in [*TARGETS, *TARGETS_2D, *vertebrae]]
    pairs = list(dict.fromkeys((target, modality) for name, modality in listed if (target := lookup(name))))
    for name, letters in WAYS.items():
        places = [_place(target, modality, letters(target), options.most) for target, modality in pairs]
        figures[f"{name}: in the list"] = sum(place >= 0 for place in places) / len(pairs)
        figures[f"{name}: first"] = sum(place == 0 for place in places) / len(pairs)
    figures |= _times(options.most)
    print(f"{len(pairs)} pairs of target and modality, a list of {options.most} rows")
    for name, value in figures.items():
        print(f"{name:28s} {value:8.2f} ms" if name.endswith("time") else f"{name:28s} {100 * value:6.1f} %")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    holds = figures["main word: in the list"] >= LEAST_SHARE and figures["99 % of the time"] <= MOST_MS
    print("both bounds are kept" if holds else "a bound is NOT kept")
    return 0 if holds else 1


def _main_word(target: Target) -> list[str]:
    return [target.name.removeprefix("vertebra ").removeprefix(f"{target.side} ")[:3]]


def _side_too(target: Target) -> list[str]:
    return [target.side[:1] + target.name.removeprefix(f"{target.side} ")[: 2 if target.side else 3]]


def _initials(target: Target) -> list[str]:
    return ["".join(word[0] for word in target.name.split())[:3]]


WAYS: dict[str, Callable[[Target], list[str]]] = {
    "main word": _main_word,
    "side too": _side_too,
    "as written": lambda target: [target.name[:3]],
    "natural": lambda target: [*_main_word(target), *_side_too(target), *_initials(target)],
}


def _place(target: Target, modality: str, letters: list[str], most: int) -> int:
    """Where the target stands in the best of the lists, -1 for nowhere."""
    places = []
    for typed in letters:
        names = [each.name for each in suggest(typed, modality=modality, most=most)]
        if target.name in names:
            places.append(names.index(target.name))
    return min(places, default=-1)


def _times(most: int) -> dict[str, float]:
    suggest("warm up")
    texts = [name[: count + 1] for name in {*(target.name for target in targets()), *FREE} for count in range(len(name))]
    taken = []
    for text in dict.fromkeys(texts):
        started = time.process_time()
        suggest(f"liver & {text}", "medimageparse3d", "CT", most)
        taken.append(1e3 * (time.process_time() - started))
    return {"median time": statistics.median(taken), "99 % of the time": statistics.quantiles(taken, n=100)[98], "longest time": max(taken)}


if __name__ == "__main__":
    sys.exit(main())
