"""`medimageparse batch export-azure|submit-azure|import-azure`: many cases through an Azure ML batch endpoint.

In `main` the first two words become this command's, so that the parser of `batch` need not tell them from its inputs.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..api import batch_azure
from ..api.batch_cases import WRITES
from ..api.segment_options import RequestOptions
from ..azure.batch_jobs import STORAGE_SCOPE, BatchEndpoint
from ..azure.resource_manager import ResourceManager, arm_scope
from ..models import SEGMENTING, WHICH_SEGMENTS
from ..options import add_options, names_of
from ..profiles.consent import ConsentStore, require_consent
from ..profiles.profiles import ProfileStore
from ..program import command_name
from ..signin.methods import entra_options, entra_session, make_auth
from .options import add_common
from .terminal import print_prompt, raise_if_partly, reported


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("batch-azure", help="many cases through an Azure ML batch endpoint (batch export-azure, submit-azure, …)")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION", prog=f"{command_name()} batch-azure")
    _add_export(actions)
    _add_submit(actions)
    _add_import(actions)


def _add_export(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "export", prog=f"{command_name()} batch export-azure", help="write cases as CSV files of image,text; nothing is sent"
    )
    parser.set_defaults(run=run_export)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image files, patterns, folders, cases.csv, a BIDS root")
    parser.add_argument("--model", required=True, choices=SEGMENTING, help=WHICH_SEGMENTS)
    parser.add_argument("--prompt", action="append", metavar='"A & B"', help="targets; may be given several times")
    parser.add_argument("--preset", default="", metavar="NAME", help="a named list of targets")
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--rows-per-file", type=int, default=16, metavar="N", help="most rows in a file, a mini-batch (default 16)")
    add_options(parser, RequestOptions)
    add_common(parser)


def _add_submit(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "submit", prog=f"{command_name()} batch submit-azure", help="run a batch endpoint on an export and import its predictions"
    )
    parser.set_defaults(run=run_submit)
    parser.add_argument("folder", metavar="DIR", help="the export")
    parser.add_argument(
        "--profile", required=True, metavar="NAME", help="a profile with the batch endpoint's resource id and Entra sign-in"
    )
    parser.add_argument("--deployment", default="", metavar="NAME", help="of the endpoint (default: its own)")
    parser.add_argument("--consent", action="store_true", help="yes, image data may go to this endpoint and its storage account")
    _add_results(parser)


def _add_import(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "import", prog=f"{command_name()} batch import-azure", help="bring predictions.csv back onto each case's own grid"
    )
    parser.set_defaults(run=run_import)
    parser.add_argument("folder", metavar="DIR", help="the export")
    parser.add_argument("predictions", metavar="PREDICTIONS.csv", help="what the batch endpoint wrote")
    _add_results(parser)


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-dir", metavar="OUT", help="for the results (default: results in the export's folder)")
    parser.add_argument("--write", default="seg", metavar="KINDS", help=f"of {','.join(WRITES)} (default seg)")
    add_common(parser)


def run_export(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    names = ("model", "preset", "rows_per_file", *names_of(RequestOptions))

    def work(**run: Any) -> batch_azure.AzureBatchResult:
        return batch_azure.batch_export_azure(
            arguments.inputs,
            arguments.prompt or [],
            output_dir=arguments.output_dir,
            **run,
            **{name: getattr(arguments, name) for name in names},
        )

    result = reported(arguments, work, arguments.inputs, ())
    print(f"{result.done} cases, {result.rows} rows in {result.files} files")
    print(result.folder)
    raise_if_partly(result)
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    inputs = [arguments.folder, arguments.predictions]
    return _finished(reported(arguments, lambda **run: _import(arguments, run, arguments.predictions), inputs, ()))


def run_submit(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""

    def work(**run: Any) -> batch_azure.AzureBatchResult:
        endpoint = _sign_in(arguments)
        path = batch_azure.batch_submit_azure(arguments.folder, endpoint, deployment=arguments.deployment, **run)
        return _import(arguments, run, str(path), endpoint.name)

    return _finished(reported(arguments, work, [arguments.folder], ()))


def _import(arguments: argparse.Namespace, run: dict[str, Any], predictions: str, endpoint: str = "") -> batch_azure.AzureBatchResult:
    return batch_azure.batch_import_azure(
        arguments.folder, predictions, output_dir=arguments.output_dir, write=arguments.write, endpoint=endpoint, **run
    )


def _finished(result: batch_azure.AzureBatchResult) -> int:
    print(f"{result.done} cases done, {result.failed} failed")
    print(result.folder)
    raise_if_partly(result)
    return 0


def _sign_in(arguments: argparse.Namespace) -> BatchEndpoint:
    """The profile's batch endpoint; the person signs in when it is first asked for something."""
    profile = ProfileStore().get(arguments.profile)
    require_consent(profile.url, arguments.consent, ConsentStore(), signs_in=True, proxy=profile.proxy, ca_bundle=profile.ca_bundle)
    session = entra_session(entra_options(profile), print_prompt, arguments.cancellation)
    manager = ResourceManager(
        session.auth(arm_scope(profile.arm_url)), profile.arm_url, ca_bundle=profile.ca_bundle, proxy=profile.proxy,
        cancellation=arguments.cancellation,
    )  # fmt: skip
    scoring = make_auth(profile, auth="entra", prompt=print_prompt, cancellation=arguments.cancellation)
    return BatchEndpoint(manager, profile.resource_id, scoring, lambda: session.fetch(STORAGE_SCOPE), ca_bundle=profile.ca_bundle)
