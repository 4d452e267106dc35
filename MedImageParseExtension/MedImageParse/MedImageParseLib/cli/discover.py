"""`medimageparse discover`: list the endpoints that a person's Azure account can see, and make profiles of them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from ..api.deploy import AzureOptions
from ..azure.discovery import Discovery, FoundDeployment, FoundEndpoint, discover, make_profile
from ..errors import UsageError
from ..options import add_options, options_from
from ..profiles.profiles import ProfileStore
from ..program import command_name
from ..signin.auth import save_in_keyring
from .json_answer import answered
from .options import RefuseKey
from .terminal import print_prompt


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the command."""
    parser = subparsers.add_parser(
        "discover",
        help="list the endpoints that your Azure account can see, and make profiles of them",
        description="Signs in to Microsoft Entra, lists the online endpoints of your Azure ML workspaces and says which run MedImageParse, "
        "MedImageParse 3D or MedImageInsight.",
    )
    parser.add_argument("--subscription", metavar="ID", default="", help="look into this subscription only")
    parser.add_argument("--save", metavar="NAME", nargs="+", default=[], help="keep a profile of these: ENDPOINT or ENDPOINT/DEPLOYMENT")
    parser.add_argument("--replace", action="store_true", help="--save may replace a profile of the same name")
    parser.add_argument("--keep-key", action="store_true", help="--save also keeps the endpoint's key in the system's keyring")
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but an error, and a code to sign in with")
    add_options(parser, AzureOptions)
    parser.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Sign in, look, print one line a deployment, save what was asked for. Returns the exit status 0, or raises MedImageParseError."""
    azure = options_from(AzureOptions, arguments)
    store = ProfileStore()
    known = {profile.name for profile in store.profiles()} if arguments.save else set()
    manager = azure.manager(print_prompt, arguments.cancellation)
    found = discover(manager, subscription=arguments.subscription, cancellation=arguments.cancellation)
    if not arguments.save:
        _print_found(found)
        answered(arguments, {"endpoints": [asdict(endpoint) for endpoint in found.endpoints], "warnings": found.warnings})
    for name in arguments.save:
        endpoint, deployment = _pick(found, name)
        if endpoint.name in known and not arguments.replace:
            raise UsageError('There is already a profile "{name}": add --replace, or remove the old one first.', name=endpoint.name)
        made = make_profile(manager, endpoint, deployment, options=azure.entra, scope=azure.where.scope, arm_url=azure.address)
        if made.key and arguments.keep_key:
            save_in_keyring(made.profile.name, made.profile.url, made.key, made.profile.route)
            made.profile.key_in_keyring = True
        store.add(made.profile, replace=arguments.replace)
        known.add(made.profile.name)
        print(f"{made.profile.name}\t{made.profile.model or 'unknown model'}\t{made.profile.url}")
        found.warnings += made.notes
    if not arguments.quiet:
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    return 0


def _print_found(found: Discovery) -> None:
    """One line a deployment: endpoint/deployment, model, way to sign in, state, URL, workspace."""
    for endpoint in found.endpoints:
        for deployment in endpoint.deployments:
            print(*_columns(endpoint, deployment), sep="\t")
        if not endpoint.deployments:
            print(*_columns(endpoint, None), sep="\t")
    if not found.endpoints:
        print("No online endpoint was found.")


def _columns(endpoint: FoundEndpoint, deployment: FoundDeployment | None) -> list[str]:
    model = deployment.model if deployment else ""
    return [
        f"{endpoint.name}/{deployment.name}" if deployment else endpoint.name,
        model or f"unknown: probe it with `{command_name()} check`",
        endpoint.sign_in or "unknown sign-in",
        (deployment.state if deployment else endpoint.state) or "unknown state",
        endpoint.url or "no URL yet",
        f"{endpoint.subscription} / {endpoint.workspace}",
    ]


def _pick(found: Discovery, name: str) -> tuple[FoundEndpoint, FoundDeployment | None]:
    wanted, _, deployment_name = name.partition("/")
    fitting = [endpoint for endpoint in found.endpoints if endpoint.name == wanted]
    if not fitting:
        listed = ", ".join(endpoint.name for endpoint in found.endpoints) or "none"
        raise UsageError('There is no endpoint "{wanted}" among those found: {listed}.', wanted=wanted, listed=listed)
    if len(fitting) > 1:
        raise UsageError('Several endpoints are called "{wanted}": say which one with --subscription.', wanted=wanted)
    if not deployment_name:
        return fitting[0], None
    for deployment in fitting[0].deployments:
        if deployment.name == deployment_name:
            return fitting[0], deployment
    listed = ", ".join(deployment.name for deployment in fitting[0].deployments) or "none"
    raise UsageError(
        'The endpoint "{wanted}" has no deployment "{deployment_name}": it has {listed}.',
        wanted=wanted,
        deployment_name=deployment_name,
        listed=listed,
    )
