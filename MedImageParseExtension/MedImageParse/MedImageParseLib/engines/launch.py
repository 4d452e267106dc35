"""Started by an engine's own Python, which does not have this package: takes it from the place where this file lies, and nothing beside it.

That place may be the site-packages of another Python, whose numpy must not be found here, so it is not put on the path.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    _PACKAGE = Path(__file__).resolve().parents[1]
    sys.path[:] = [folder for folder in sys.path if folder and Path(folder).resolve() != _PACKAGE / "engines"]
    _spec = importlib.util.spec_from_file_location(_PACKAGE.name, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)])
    assert _spec is not None and _spec.loader is not None
    sys.modules[_PACKAGE.name] = _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    sys.exit(importlib.import_module(f"{_PACKAGE.name}.engines.worker").main())
