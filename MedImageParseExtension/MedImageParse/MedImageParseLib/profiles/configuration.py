"""Where this package keeps what must outlive a session: profiles, consents, the audit file. Nothing secret is ever written there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_chosen: list[Path] = []


def configuration_folder() -> Path:
    """The folder of the person's own settings for this extension; it need not exist yet.

    Order: the environment variable MEDIMAGEPARSE_CONFIG_DIR, the folder given to `use_configuration_folder` (Slicer's own,
    inside Slicer), the platform's usual place.
    """
    named = os.environ.get("MEDIMAGEPARSE_CONFIG_DIR", "").strip()
    if named:
        return Path(named).expanduser()
    if _chosen:
        return _chosen[-1]
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / "MedImageParse"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "MedImageParse"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "medimageparse"


def use_configuration_folder(folder: str | Path) -> None:
    """Keep settings in `folder` from now on, unless MEDIMAGEPARSE_CONFIG_DIR says otherwise."""
    _chosen[:] = [Path(folder)]


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file in one step, so that a crash leaves the old content or the new, never half of either.

    The file is readable by its owner only (where the file system knows such things).

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass  # the first error is the one to tell
        raise
