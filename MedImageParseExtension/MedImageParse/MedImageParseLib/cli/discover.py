"""`medimageparse discover`: list the endpoints that a person's Azure account can see, and make profiles of them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from ..azure.discovery import CLOUDS, Discovery, FoundDeployment, FoundEndpoint, discover, make_profile
from ..azure.resource_manager import ResourceManager, arm_scope
from ..errors import UsageError
from ..profiles.profiles import ENTRA_METHODS, ProfileStore
from ..program import command_name
from ..progress import Cancellation
from ..signin.auth import save_in_keyring
from ..signin.entra import EntraOptions
from ..signin.methods import entra_session
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
    parser.add_argument("--method", choices=ENTRA_METHODS, default="default", help="how to sign in (default: default, which tries several)")
    parser.add_argument("--tenant", metavar="ID", default="", help="Entra tenant, where you belong to several organizations")
    parser.add_argument("--client-id", metavar="ID", default="", help="application, or user-assigned managed identity, to sign in with")
    parser.add_argument("--cloud", choices=tuple(CLOUDS), default="public", help="which of Azure's clouds (default: public)")
    parser.add_argument("--authority", metavar="HOST", default="", help="another sign-in host, which you trust with your account")
    parser.add_argument("--arm-url", metavar="URL", default="", help="another Azure Resource Manager")
    parser.add_argument("--subscription", metavar="ID", default="", help="look into this subscription only")
    parser.add_argument("--save", metavar="NAME", nargs="+", default=[], help="keep a profile of these: ENDPOINT or ENDPOINT/DEPLOYMENT")
    parser.add_argument("--replace", action="store_true", help="--save may replace a profile of the same name")
    parser.add_argument("--keep-key", action="store_true", help="--save also keeps the endpoint's key in the system's keyring")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--ca-bundle", metavar="FILE", default="", help="extra certificate authorities")
    parser.add_argument("--proxy", metavar="URL", default="", help="proxy, where the environment names none")
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but an error, and a code to sign in with")
    parser.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace, cancellation: Cancellation | None = None) -> int:
    """Sign in, look, print one line a deployment, save what was asked for. Returns the exit status 0, or raises MedImageParseError."""
    cloud = CLOUDS[arguments.cloud]
    arm_url = arguments.arm_url or cloud.arm_url
    options = EntraOptions(
        arguments.method, arguments.tenant, arguments.client_id, arguments.authority or cloud.authority,
        bool(arguments.authority), arguments.ca_bundle, arguments.proxy,
    )  # fmt: skip
    store = ProfileStore()
    known = {profile.name for profile in store.profiles()} if arguments.save else set()
    session = entra_session(options, print_prompt, cancellation)
    manager = ResourceManager(
        session.auth(arm_scope(arm_url)), arm_url, ca_bundle=arguments.ca_bundle, proxy=arguments.proxy, cancellation=cancellation
    )
    found = discover(manager, subscription=arguments.subscription, cancellation=cancellation)
    if not arguments.save:
        print_found(found, as_json=arguments.json)
    for name in arguments.save:
        endpoint, deployment = _pick(found, name)
        if endpoint.name in known and not arguments.replace:
            raise UsageError('There is already a profile "{name}": add --replace, or remove the old one first.', name=endpoint.name)
        made = make_profile(manager, endpoint, deployment, options=options, scope=cloud.scope, arm_url=arm_url)
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


def print_found(found: Discovery, *, as_json: bool = False) -> None:
    """One line a deployment: endpoint/deployment, model, way to sign in, state, URL, workspace; or JSON with everything that is known."""
    if as_json:
        print(json.dumps({"endpoints": [asdict(endpoint) for endpoint in found.endpoints], "warnings": found.warnings}, indent=2))
        return
    for endpoint in found.endpoints:
        for deployment in endpoint.deployments:
            print("\t".join(_columns(endpoint, deployment)))
        if not endpoint.deployments:
            print("\t".join(_columns(endpoint, None)))
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
