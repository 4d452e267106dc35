"""`python -m MedImageParseLib.local_endpoint [--port N] [--parent-pid N] [--engine NAME]`: the local endpoint as a process of its own.

Prints its URL on one line when it is ready; requests that failed leave a line on its standard error.
"""

from __future__ import annotations

import argparse
import sys

from ..engines.store import find_engine
from ..errors import MedImageParseError
from .server import serve


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="local_endpoint", description="The local demo endpoint, on this computer only.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this process has ended")
    parser.add_argument("--engine", default="", help="who answers (default: the classical demo engine)")
    options = parser.parse_args(arguments)
    try:
        serve(options.port, lambda url: print(url, flush=True), parent_pid=options.parent_pid, engine=find_engine(options.engine))
    except MedImageParseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
