"""MedImageInsight: images or texts out, unit vectors of 1024 numbers back. Never images and texts in one request.

Reply row: {"image_features": [[1024]], "text_features": [1024], "scaling_factor": 4.513362}; a modality that was not sent is
absent; nesting varies, so vectors are flattened. The scaling factor is the logarithm of the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ReplyError
from .envelope import SLACK, build_body, enough_memory, parse_rows, quote
from .medimageparse import probe_picture

DEFAULT_SCALING_FACTOR = 4.513362  # recorded from the published model; used where an older deployment leaves it out
_LONGEST_VECTOR = 8192  # numbers; the published model's have 1024
_NUMBER_BYTES = 26  # of a number as JSON writes it, with its comma
_PARAMS = {"get_scaling_factor": True}  # a JSON boolean: strings are refused by the published signature


@dataclass(slots=True, frozen=True)
class VectorReply:
    """One vector a row.

    Attributes:
        vectors: float32 (rows, length).
        scaling_factor: log temperature for zero-shot: softmax(exp(scaling_factor) * image . text).
        form: how the reply came.
        engine: what a local endpoint calls its engine, "" otherwise.
    """

    vectors: np.ndarray
    scaling_factor: float
    form: str
    engine: str


def build_image_request(images: list[bytes], dialect: str) -> bytes:
    """One row a PNG; the text column is empty."""
    return build_body([(image, "") for image in images], dialect, _PARAMS)


def build_text_request(texts: list[str], dialect: str) -> bytes:
    """One row a text; the image column is empty."""
    return build_body([(b"", text) for text in texts], dialect, _PARAMS)


def build_probe(dialect: str) -> bytes:
    """A tiny request that tests a connection: a made-up picture."""
    return build_image_request([probe_picture()], dialect)


def recognize_probe(body: bytes) -> tuple[str, str] | None:
    """How a reply to a probe came, and of which local engine ("" otherwise), where it holds vectors; None where it does not.

    Raises:
        ReplyError: the vectors make no sense.
    """
    if not isinstance(parse_rows(body, 1).rows[0].get("image_features"), list):
        return None
    vectors = parse_reply(body, 1, "image_features")
    return vectors.form, vectors.engine


def largest_reply(rows: int) -> int:
    """Bytes that the reply to such a request can need: two vectors a row, written out as decimal numbers.

    Args:
        rows: images or texts that are sent.
    """
    return SLACK + 2 * rows * _LONGEST_VECTOR * _NUMBER_BYTES


@enough_memory()
def parse_reply(body: bytes, rows_sent: int, column: str) -> VectorReply:
    """The vectors of a reply.

    Args:
        body: bytes of the reply, JSON.
        rows_sent: how many vectors it must hold.
        column: "image_features" or "text_features".

    Raises:
        ReplyError: none of the documented forms, vectors of different lengths, or numbers that are none (code "wrong-model"); a vector that
            is zero or not finite (code "bad-vector").
    """
    rows = parse_rows(body, rows_sent, 2 * rows_sent * _LONGEST_VECTOR)
    vectors = []
    for row in rows.rows:
        cell = row.get(column)
        try:
            with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused below
                vector = np.asarray(cell, dtype=np.float32).reshape(-1)
        except (ValueError, TypeError, OverflowError):
            vector = np.empty(0, np.float32)
        if cell is None or vector.size == 0:
            raise ReplyError(
                "The reply has no usable {column}; another model may be behind this URL: {row}",
                column=column,
                row=quote(row),
                code="wrong-model",
            )
        if not np.isfinite(vector).all() or not vector.any():
            raise ReplyError(
                "The endpoint answered with a vector that is zero or holds numbers that are not finite, so it cannot be used.",
                code="bad-vector",
            )
        vectors.append(vector)
    if len({vector.size for vector in vectors}) != 1:
        raise ReplyError("The reply's {column} have different lengths: {body}", column=column, body=quote(body), code="reply-shape")
    factor = rows.rows[0].get("scaling_factor")
    scaling = None
    if isinstance(factor, (int, float)) and not isinstance(factor, bool) and abs(factor) < 1e6:  # NaN fails this too
        scaling = float(factor)
    form = f"{rows.form}; {column} of {vectors[0].size}; scaling_factor {'absent' if scaling is None else 'given'}"
    return VectorReply(np.stack(vectors), DEFAULT_SCALING_FACTOR if scaling is None else scaling, form, rows.engine)
