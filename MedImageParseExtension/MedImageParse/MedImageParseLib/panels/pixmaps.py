"""Pictures from bytes, and watching a widget for clicks and for its width."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..files.drawing import font_of, png_of

_SIDE = 128  # pixels


def pixmapFromPng(data: bytes) -> Any:
    """A qt.QPixmap of PNG or JPEG bytes; the tile that says so where there are none or they cannot be read."""
    pixmap = qt.QPixmap()
    if data and pixmap.loadFromData(qt.QByteArray(data)) and not pixmap.isNull():
        return pixmap
    pixmap.loadFromData(qt.QByteArray(_noPicture(_("No picture"))))
    return pixmap


def pixmapFromImage(image: Any) -> Any:
    """A qt.QPixmap of a Pillow image."""
    return pixmapFromPng(png_of(image, level=1))


@functools.lru_cache(maxsize=1)
def _noPicture(text: str) -> bytes:
    """A gray tile with a few words, good on light and dark."""
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (_SIDE, _SIDE), (128, 128, 128))
    draw = ImageDraw.Draw(tile)
    draw.text((_SIDE // 2, _SIDE // 2), text, (255, 255, 255), font_of(17), anchor="mm")
    return png_of(tile, level=1)


class Watcher(qt.QObject):
    """An event filter that calls plain functions.

    Args:
        onResize: called when the widget has another size or font.
        onClick: onClick(x, y) in the widget's pixels when the left button is released over it.
    """

    def __init__(self, onResize: Callable[[], object] | None = None, onClick: Callable[[int, int], object] | None = None):
        qt.QObject.__init__(self)
        self._onResize, self._onClick = onResize, onClick

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        kind = event.type()
        if self._onResize is not None and kind in (qt.QEvent.Resize, qt.QEvent.FontChange):
            self._onResize()
        elif self._onClick is not None and kind == qt.QEvent.MouseButtonRelease and event.button() == qt.Qt.LeftButton:
            place = event.position() if hasattr(event, "position") else event.pos()  # Qt 6, Qt 5
            self._onClick(round(place.x()), round(place.y()))
        return False
