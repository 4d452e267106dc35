"""MedImageParse (2D): 1024x1024 PNGs with "A & B" prompts out; one map a prompt back.

Reply row: {"image_features": <{"data": base64 raw C-order, "shape": [prompts, rows, columns], "dtype": "uint8"}>,
"text_features": [one of 16 classes a prompt]}. Values are probabilities 0..255 or masks 0/1 (both are documented).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ReplyError
from ..imaging.png import encode_png
from .envelope import Rows, Said, build_body, decode_array, enough_memory, open_cell, parse_rows, quote, reply_limit
from .literal import NotALiteral, read_literal

_WIDEST = 8  # bytes a value: float64
_PROBE_SIDE = 1024  # what the model is documented to take
_LONGEST_CLASSES = 64 * 1024  # characters of text_features


@dataclass(slots=True, frozen=True)
class MapReply:
    """The maps of one image.

    Attributes:
        maps: (prompts, rows, columns) as they came; NaN already 0.
        full_scale: value that stands for certainty: 255 or 1.
        is_binary: True where no value is above 1 and all are whole: masks, or (in a run of many slices where others go to
            255) probabilities of about nothing.
        classes: the model's class for each prompt ("organ", "tumor", …), as documented not a check of the prompt.
        form: how the reply came, for the report.
        engine: what a local endpoint calls its engine, "" otherwise.
        warnings: sentences.
        said: what a local engine says beside the maps.
    """

    maps: np.ndarray
    full_scale: float
    is_binary: bool
    classes: list[str]
    form: str
    engine: str
    warnings: list[str]
    said: Said = field(default_factory=Said)

    @property
    def threshold(self) -> float:
        """Values at or above it are inside: 128 of 255 as Microsoft's samples have it, else 0.5 (the models' p > 0.5)."""
        return 128.0 if self.full_scale == 255 else 0.5


def build_request(images: list[bytes], text: str, dialect: str) -> bytes:
    """One request: each PNG a row, the same joined prompts on each."""
    return build_body([(image, text) for image in images], dialect)


def largest_reply(images: int, prompts: int, shape: tuple[int, int]) -> int:
    """Bytes that the reply to such a request can need: one map a prompt and image, in the widest type.

    Args:
        images: rows that are sent.
        prompts: how many prompts each has.
        shape: (rows, columns) of the images that are sent.
    """
    return reply_limit(images * prompts * shape[0] * shape[1] * _WIDEST)


@enough_memory()
def parse_reply(body: bytes, images: int, prompts: int, shape: tuple[int, int]) -> list[MapReply]:
    """The maps of each image that was sent.

    Args:
        body: bytes of the reply, JSON.
        images: rows that were sent.
        prompts: how many prompts each had.
        shape: (rows, columns) of the images that were sent.

    Raises:
        ReplyError: none of the documented forms, or it does not fit what was sent.
    """
    rows = parse_rows(body, images)
    return [_parse_row(row, rows, prompts, shape) for row in rows.rows]


def build_probe(dialect: str) -> bytes:
    """A tiny request that tests a connection: a made-up picture, one prompt."""
    return build_request([probe_picture()], "liver", dialect)


def recognize_probe(body: bytes) -> tuple[str, str] | None:
    """How a reply to a probe came, and of which local engine ("" otherwise), where it is this model's; None where it is another's.

    Raises:
        ReplyError: it looks like this model's and is none.
    """
    row = parse_rows(body, 1).rows[0]
    features = row.get("image_features")
    if not isinstance(features, (str, dict)) or "nifti_file" in row:
        return None
    shape = open_cell(features, "image_features")[0].get("shape")
    if not isinstance(shape, list) or len(shape) != 3:
        return None
    maps = parse_reply(body, 1, 1, (_PROBE_SIDE, _PROBE_SIDE))[0]
    return maps.form, maps.engine


def probe_picture() -> bytes:
    """A disk, as PNG; it compresses to a few KB."""
    row, column = np.mgrid[:_PROBE_SIDE, :_PROBE_SIDE] - _PROBE_SIDE // 2
    return encode_png(np.where(row**2 + column**2 < (_PROBE_SIDE // 3) ** 2, 128, 0).astype(np.uint8))


def _parse_row(row: dict, rows: Rows, prompts: int, shape: tuple[int, int]) -> MapReply:
    if "image_features" not in row:
        raise ReplyError("The reply has no image_features; another model may be behind this URL: {row}", row=quote(row), code="wrong-model")
    inner, inner_form = open_cell(row["image_features"], "image_features")
    maps = decode_array(inner, "image_features", (prompts, *shape))
    warnings = []
    if maps.dtype.kind == "f" and not np.isfinite(maps).all():
        maps = np.where(np.isfinite(maps), maps, 0)
        warnings.append("The reply held values that are no numbers (NaN); they count as background.")
    maps = maps.view(np.uint8) if maps.dtype == np.bool_ else maps
    largest = float(maps.max()) if maps.size else 0.0
    is_binary = largest <= 1 and (maps.dtype.kind != "f" or bool(np.all((maps == 0) | (maps == 1))))
    full_scale = 1.0 if largest <= 1 else 255.0
    kind = "all zero" if largest == 0 else "masks 0/1" if is_binary else f"probabilities 0..{full_scale:g}"
    form = f"{rows.form}; image_features as {inner_form}; {maps.dtype.name} {kind}"
    return MapReply(maps, full_scale, is_binary, _classes(row.get("text_features")), form, rows.engine, warnings, Said.of(row, prompts))


def _classes(cell: object) -> list[str]:
    """text_features is a list of strings, or (batch endpoints) its Python repr."""
    length = (
        len(cell) if isinstance(cell, str) else sum(len(item) for item in cell if isinstance(item, str)) if isinstance(cell, list) else 0
    )
    if length > _LONGEST_CLASSES:
        raise ReplyError(
            "The reply's text_features are {length:,} characters long, far more than they can need: {cell}",
            length=length,
            cell=quote(cell),
            code="reply-form",
        )
    if isinstance(cell, str):
        try:
            cell = read_literal(cell)
        except NotALiteral:
            return []
    return [quote(item) for item in cell] if isinstance(cell, list) else []
