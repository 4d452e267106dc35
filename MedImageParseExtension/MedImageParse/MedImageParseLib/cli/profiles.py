"""`medimageparse profiles`: list, show, add, remove, export and import endpoint profiles. No key is taken from the command line or printed."""

from __future__ import annotations

import argparse
import dataclasses
import json

from ..errors import UsageError
from ..profiles.profiles import AZURE_ML_SCOPES, DIALECTS, ENTRA_METHODS, MODELS, Profile, ProfileStore
from ..profiles.sharing import TRUST_SETTINGS
from ..signin.auth import SIGN_INS, delete_from_keyring, environment_key, key_file_warning, read_key_file, save_in_keyring
from ..transport.address import parse_address
from .json_answer import answered
from .options import RefuseKey, add_quiet
from .terminal import Terminal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the command and its actions."""
    parser = subparsers.add_parser("profiles", help="list, show, add, remove, export and import endpoint profiles")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="one line a profile: name, model, sign-in, URL")
    shown = actions.add_parser("show", help="one profile as JSON")
    shown.add_argument("name", metavar="NAME", help="the profile")
    _add_add_parser(actions)
    removed = actions.add_parser("remove", help="forget a profile, and its key if the keyring holds one")
    removed.add_argument("name", metavar="NAME", help="the profile")
    exported = actions.add_parser("export", help="write profiles to a file for others; it holds no key and no consent")
    exported.add_argument("file", metavar="FILE", help="where they go; keys are never in it")
    exported.add_argument("names", metavar="NAME", nargs="*", help="which ones (default: all of your own)")
    imported = actions.add_parser("import", help="take over the profiles of a file")
    imported.add_argument("file", metavar="FILE", help="profiles that were exported")
    imported.add_argument("--clash", choices=("rename", "replace"), default="ask", help="what to do where a name is taken")
    imported.add_argument(
        "--trust", action="append", choices=tuple(TRUST_SETTINGS), default=[],
        help="take this setting over from the file too, because you trust whoever wrote it (may be repeated; left out otherwise)",
    )  # fmt: skip
    for action in actions.choices.values():
        action.add_argument("--key", action=RefuseKey, nargs="?", help=argparse.SUPPRESS)
        add_quiet(action)
    parser.set_defaults(run=run)
    return parser


def _add_add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("add", help="keep a new profile")
    parser.add_argument("name", metavar="NAME", help="what it is called")
    parser.add_argument("--endpoint", dest="url", metavar="URL", required=True, help="scoring URL")
    parser.add_argument("--model", choices=MODELS, help="which model runs there (default: any may be asked for)")
    parser.add_argument("--dialect", choices=DIALECTS, help="how the endpoint is spoken to (default auto)")
    parser.add_argument("--deployment", metavar="NAME", help="sent as azureml-model-deployment")
    parser.add_argument("--auth", dest="sign_in", choices=tuple(SIGN_INS), help="how to sign in (default: none)")
    parser.add_argument("--method", dest="entra_method", choices=ENTRA_METHODS, help="how to sign in to Entra")
    parser.add_argument("--scope", help="scope of Entra tokens, for endpoints in other clouds")
    parser.add_argument("--authority", metavar="HOST", help="sign-in host of another cloud, which you trust with your account")
    parser.add_argument("--tenant", dest="tenant_id", metavar="ID", help="Entra tenant to sign in to")
    parser.add_argument("--client-id", metavar="ID", help="of the application, or of the managed identity, that signs in")
    parser.add_argument("--resource-id", metavar="ID", help="Azure resource id of the endpoint, to read its key or token through")
    parser.add_argument("--arm-url", metavar="URL", help="Azure Resource Manager of another cloud")
    parser.add_argument("--ca-bundle", metavar="FILE", help="extra certificate authorities")
    parser.add_argument("--proxy", metavar="URL", help="proxy that requests go through")
    parser.add_argument("--connect-timeout", dest="connect_timeout_s", metavar="S", type=float, help="seconds until the connection stands")
    parser.add_argument(
        "--timeout", dest="reply_timeout_s", metavar="S", type=float, help="seconds from the last byte sent to the last byte received"
    )
    parser.add_argument("--retries", dest="tries", metavar="N", type=int, help="total tries, the first included")
    parser.add_argument("--body-limit", metavar="BYTES", type=int, help="largest request that the endpoint takes")
    parser.add_argument("--max-in-flight", metavar="N", type=int, help="most requests at the same time")
    parser.add_argument("--allow-plain-http", action="store_true", default=None, help="plain http to another computer is all right")
    parser.add_argument("--consent", action="store_true", default=None, help="image data may go to this host")
    parser.add_argument("--keep-key", action="store_true", help="keep the key of MEDIMAGEPARSE_KEY or --key-file in the system's keyring")
    parser.add_argument("--key-file", metavar="FILE", default="", help="file with the key, for --keep-key")
    parser.add_argument("--replace", action="store_true", help="a profile of the same name may be replaced")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says. Returns the exit status 0, or raises MedImageParseError."""
    store = ProfileStore()
    if arguments.action == "list":
        answered(arguments, [profile.to_json() for profile in store.profiles()])
        for profile in store.profiles():
            print(f"{profile.name}\t{profile.model or 'any model'}\t{profile.sign_in}\t{profile.url}")
    elif arguments.action == "show":
        answered(arguments, store.get(arguments.name).to_json())
        print(json.dumps(store.get(arguments.name).to_json(), indent=2, ensure_ascii=False))
    elif arguments.action == "add":
        _add(store, arguments)
    elif arguments.action == "remove":
        profile = store.get(arguments.name)
        store.remove(profile.name)
        answered(arguments, {"removed": profile.name})
        if profile.key_in_keyring:
            delete_from_keyring(profile.name, profile.url, profile.route)
    elif arguments.action == "export":
        names = store.export(arguments.file, arguments.names)
        answered(arguments, {"names": list(names), "outputs": [arguments.file]})
        for name in names:
            print(name)
    else:
        terminal = Terminal(arguments.quiet)
        brought = store.import_file(arguments.file, clash=arguments.clash, trust=arguments.trust)
        answered(
            arguments, {"names": list(brought.names), "notes": [str(note) for note in brought.notes], "left_out": list(brought.left_out)}
        )
        for name in brought.names:
            print(name)
        for note in brought.notes:
            terminal.say(f"note: {note}")
        if brought.left_out:
            options = " ".join(f"--trust {option}" for option in brought.left_out)
            terminal.say(f"note: To take over what was left out, import again with --clash replace {options}.")
    return 0


def _add(store: ProfileStore, arguments: argparse.Namespace) -> None:
    # The options are called as the fields of a profile; what is not given keeps the profile's own default.
    given = {each.name: getattr(arguments, each.name, None) for each in dataclasses.fields(Profile)}
    profile = Profile(**{name: value for name, value in given.items() if value is not None})
    # Whoever types a sign-in host or a scope vouches for it; one that comes with an imported profile is left out.
    profile.allow_other_authority = bool(profile.authority)
    profile.allow_other_scope = profile.scope not in AZURE_ML_SCOPES
    profile.validate()
    parse_address(profile.url, allow_plain_http=profile.allow_plain_http)
    taken = any(known.name == profile.name for known in store.profiles())
    if arguments.keep_key and (arguments.replace or not taken):
        key = read_key_file(arguments.key_file) if arguments.key_file else environment_key()
        if arguments.key_file and (sentence := key_file_warning(arguments.key_file)):
            Terminal(arguments.quiet).say(f"note: {sentence}")
        if not key:
            raise UsageError("--keep-key needs the key in MEDIMAGEPARSE_KEY or in a file named by --key-file.")
        save_in_keyring(profile.name, profile.url, key, profile.route)
        profile.key_in_keyring = True
    store.add(profile, replace=arguments.replace)
    answered(arguments, profile.to_json())
    print(profile.name)
