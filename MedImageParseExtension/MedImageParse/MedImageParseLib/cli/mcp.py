"""`medimageparse mcp --folder DIR`: tools for language-model agents, over standard input and output."""

from __future__ import annotations

import argparse

from ..packages import require
from .options import add_connection, connection_options


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Declare the command's options."""
    parser = commands.add_parser("mcp", help="give agents tools for files in named folders (Model Context Protocol)")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder whose files may be read and written; may be given several times",
    )
    add_connection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    from ..agents.folders import Folders
    from ..agents.tools import Tools

    folders = Folders(arguments.folder)
    require("mcp", "this command")
    from ..agents.server import serve
    from .main import end_when_interrupted

    end_when_interrupted()

    serve(Tools(folders, connection_options(arguments) if arguments.endpoint or arguments.profile else {}))
    return 0
