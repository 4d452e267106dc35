"""`medimageparse deploy`: an endpoint in one's own Azure subscription, from nothing to a profile that works, and away again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..api.deploy import Azure, AzureOptions, DeployOptions, sign_in_to_azure
from ..azure.offers import OFFERS
from ..errors import Cancelled, UsageError
from ..options import add_options, options_from
from ..tasks.run import Report
from .options import RefuseKey, add_common
from .terminal import Terminal, print_prompt, reported

_ACTIONS = ("list", "status", "logs", "delete", "grant")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser(
        "deploy",
        help="make an endpoint in your own Azure subscription, list, watch and delete them",
        description="Makes an endpoint with one of the models in a workspace of yours, waits until it answers (10 to 30 minutes), and keeps a "
        "profile of it. An endpoint costs money from the moment it is made until it is deleted, used or not. A run that was interrupted "
        "is taken up by the same command.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("what", metavar="MODEL|ACTION", choices=(*OFFERS, *_ACTIONS), help=f"{', '.join(OFFERS)}; or {', '.join(_ACTIONS)}")
    parser.add_argument("target", metavar="ENDPOINT", nargs="?", default="", help="for status, logs, delete and grant: the endpoint's name")
    parser.add_argument("person", metavar="PERSON", nargs="?", default="", help="for grant: object id of who may call it")
    add_options(parser, DeployOptions)
    parser.add_argument("--yes", action="store_true", help="make or delete without asking")
    add_options(parser, AzureOptions)
    parser.add_argument("--kind", choices=("User", "Group", "ServicePrincipal"), default="User", help="for grant: what PERSON is")
    parser.add_argument("--json", action="store_true", help="print what was found or made as JSON")
    parser.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
    add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    if arguments.what in ("status", "logs", "delete", "grant") and not arguments.target:
        raise UsageError("Say which endpoint: deploy {action} NAME; `deploy list` names them.", action=arguments.what)
    arguments.model = OFFERS[arguments.what].model if arguments.what in OFFERS else None  # for the report

    def work(**_run: object) -> _Done:
        azure = sign_in_to_azure(options=options_from(AzureOptions, arguments), prompt=print_prompt, cancellation=arguments.cancellation)
        return _Done(Report(model=arguments.model).as_dict() | _ACTIONS_RUN.get(arguments.what, _make)(arguments, azure))

    reported(arguments, work, [])
    return 0


@dataclass(slots=True, frozen=True)
class _Done:
    """What an action did, for the report."""

    report: dict


def _make(arguments: argparse.Namespace, azure: Azure) -> dict:
    terminal = Terminal(arguments.quiet)
    options = options_from(DeployOptions, arguments)
    plan = azure.plan(arguments.what, options)
    if not (arguments.quiet and arguments.yes):
        print(*azure.sentences(plan), sep="\n", file=sys.stderr)
    _agree(arguments, "Make it?")
    try:
        made = azure.deploy(plan, options, progress=_minutes(terminal), cancellation=arguments.cancellation)
    except (Cancelled, KeyboardInterrupt):
        print(
            f"What was begun goes on in Azure and costs money: the same command goes on with it, `{plan.delete_command}` deletes it.",
            file=sys.stderr,
        )
        raise
    told = {"endpoint": plan.name, "profile": made.profile, "url": made.url, "check": made.check, "delete": plan.delete_command}
    if arguments.json:
        print(json.dumps(told))
    else:
        print(f"{made.profile}\t{plan.offer.model}\t{made.url}")
        _remind(arguments, f"Delete it with: {plan.delete_command}")
    return {"endpoint": made.url, "warnings": made.notes, "made": told}


def _list(arguments: argparse.Namespace, azure: Azure) -> dict:
    found = azure.deployments(arguments.workspace, arguments.subscription)
    report = {"deployments": [asdict(each) for each in found]}
    if arguments.json:
        print(json.dumps(report["deployments"], indent=2))
        return report
    for each in found:
        machines = f"{each.count} x {each.instance or '?'}"
        print(each.name, each.model, each.state, machines, each.made[:10], each.delete_by, each.workspace, sep="\t")
        _remind(arguments, each.reminder())
    if not found:
        print("No endpoint made by this program was found.")
    return report


def _status(arguments: argparse.Namespace, azure: Azure) -> dict:
    found = azure.status(arguments.target, arguments.workspace, arguments.subscription)
    print(json.dumps(asdict(found), indent=2) if arguments.json else f"{found.name}\t{found.model}\t{found.state}")
    _remind(arguments, found.reminder())
    return {"deployments": [asdict(found)]}


def _logs(arguments: argparse.Namespace, azure: Azure) -> dict:
    print(azure.logs(arguments.target, arguments.workspace, arguments.subscription))
    return {}


def _delete(arguments: argparse.Namespace, azure: Azure) -> dict:
    if not (arguments.quiet and arguments.yes):
        print(f'Deletes the endpoint "{arguments.target}" with its deployments; profiles of it stop working.', file=sys.stderr)
    _agree(arguments, "Delete it?")
    terminal = Terminal(arguments.quiet)
    azure.delete(
        arguments.target, arguments.workspace, arguments.subscription, progress=_minutes(terminal), cancellation=arguments.cancellation
    )
    print(f'The endpoint "{arguments.target}" is deleted.')
    return {"deleted": arguments.target}


def _grant(arguments: argparse.Namespace, azure: Azure) -> dict:
    if not arguments.person:
        raise UsageError("Say who may call it: deploy grant {name} OBJECT-ID.", name=arguments.target)
    azure.grant(arguments.target, arguments.person, arguments.workspace, arguments.subscription, kind=arguments.kind)
    print(f'{arguments.person} may call "{arguments.target}" by Entra sign-in (role AzureML Data Scientist on this endpoint).')
    return {"granted": arguments.target}


_ACTIONS_RUN: dict[str, Callable[[argparse.Namespace, Azure], dict]] = {
    "list": _list, "status": _status, "logs": _logs, "delete": _delete, "grant": _grant,
}  # fmt: skip


def _remind(arguments: argparse.Namespace, sentence: str) -> None:
    if not arguments.quiet:
        print(sentence, file=sys.stderr)


def _agree(arguments: argparse.Namespace, question: str) -> None:
    """Go on only with the person's yes."""
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nothing was changed: add --yes to go on without a question.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled()


def _minutes(terminal: Terminal) -> Callable[[str, float, float], None]:
    """Progress in minutes, a line whenever the stage or the minute changes."""
    last: list[tuple[str, int]] = []
    begun = time.monotonic()

    def tell(stage: str, done: float, _total: float) -> None:
        now = (stage, int(done // 60))
        if last != [now]:
            last[:] = [now]
            terminal.say(f"{stage}: {now[1]} min (usually 10 to 30 in all; {int((time.monotonic() - begun) // 60)} so far)")

    return tell
