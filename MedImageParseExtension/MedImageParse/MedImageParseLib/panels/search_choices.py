"""How a person likes to index and search: kept with the application's settings, not with the scene.

What may be stored of a patient is the person's decision; a scene that somebody else made must not change it. Nothing typed (texts,
labels) is kept here.
"""

from __future__ import annotations

import json
from typing import Any

import qt

from ..imaging.geometry import AUTO_PLANE, PLANE_CHOICES
from ..logic.indexing_runs import defaultIndexPath

_SETTINGS_KEY = "MedImageParse/Search"
AUTO, ON, OFF = "auto", "on", "off"  # of what may be left to the program
DEFAULTS: dict[str, Any] = {
    "index": "",  # path; "" for the default one
    "adapter": "",  # path
    "plane": AUTO_PLANE,  # the volume's own slices
    "every": 1,
    "content": False,
    "thumbnails": True,
    "paths": True,
    "top": 12,
    "leaveOut": AUTO,  # on where the index holds more than one volume or picture, until the person decides
    "follow": False,
}


class SearchChoices:
    """The choices, read once and written when they change."""

    def __init__(self) -> None:
        self._values = _read()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if self._values[name] != value:
            self._values[name] = value
            qt.QSettings().setValue(_SETTINGS_KEY, json.dumps(self._values))

    @property
    def indexPath(self) -> str:
        """The index file to use."""
        return self._values["index"] or defaultIndexPath()

    def forIndexing(self) -> dict[str, Any]:
        """The options of MedImageInsightLogic.indexVolumes and its like."""
        values = self._values
        return {
            "index": self.indexPath, "plane": values["plane"], "every": values["every"], "onlyContent": values["content"],
            "thumbnails": values["thumbnails"], "paths": values["paths"],
        }  # fmt: skip


def _read() -> dict[str, Any]:
    """What is stored, with the default in place of anything that makes no sense (an older version's, somebody else's)."""
    try:
        stored = json.loads(qt.QSettings().value(_SETTINGS_KEY, "{}") or "{}")
    except (TypeError, ValueError):
        stored = {}
    stored = stored if isinstance(stored, dict) else {}
    values = {name: stored[name] if type(stored.get(name)) is type(default) else default for name, default in DEFAULTS.items()}
    values["plane"] = values["plane"] if values["plane"] in PLANE_CHOICES else AUTO_PLANE
    values["every"], values["top"] = (min(max(values[name], 1), 100) for name in ("every", "top"))
    return values
