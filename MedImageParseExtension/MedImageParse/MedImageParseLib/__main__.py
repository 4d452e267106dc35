"""`python -m MedImageParseLib COMMAND …`: the command line, as `medimageparse COMMAND …` where the package is installed."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
