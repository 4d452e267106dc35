"""The outside of a request and of a reply, the same for the three models, in two dialects.

Requests: Azure ML `/score` takes {"input_data": {columns, index, data}, "params": {...}}; MLflow `/invocations` takes the same
split frame under "dataframe_split". Replies: a bare list with one object a row (Azure ML) or {"predictions": [...]} (MLflow);
both are accepted from either, and the form that came is named.

The request's JSON is put together round the base64 bytes instead of by json.dumps: base64 needs no escaping, and a 100 MB body
then exists once, not four times.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ReplyError

DIALECTS = ("azureml", "mlflow")
_FRAME = {"azureml": b"input_data", "mlflow": b"dataframe_split"}
QUOTED = 200
_PIECE = 3 * 2**18  # bytes; a multiple of three, so that the pieces' base64 can be joined


@dataclass(slots=True, frozen=True)
class Rows:
    """The rows of a reply: JSON objects in the order of the request, and how they were wrapped ("list" or "predictions")."""

    rows: list[dict]
    form: str

    @property
    def engine(self) -> str:
        """What a local endpoint calls the engine behind it; "" where the reply does not say (no published model does)."""
        return str(self.rows[0].get("engine", ""))[:QUOTED] if self.rows else ""


def build_body(rows: list[tuple[bytes, str]], dialect: str, params: dict | None = None) -> bytes:
    """The body of one request.

    Args:
        rows: (bytes of the image file, text) a row; b"" or "" leaves a cell empty. "" is sent, never null: both servers take it.
        dialect: "azureml" or "mlflow".
        params: model parameters (MedImageInsight only); left out where None.

    Returns:
        JSON bytes, ASCII.
    """
    parts = [b'{"', _FRAME[dialect], b'":{"columns":["image","text"],"index":', json.dumps(list(range(len(rows)))).encode(), b',"data":[']
    for number, (image, text) in enumerate(rows):
        parts += [b"," if number else b"", b'["', *_base64(image), b'",', json.dumps(text).encode(), b"]"]
    parts.append(b"]}")
    if params is not None:
        parts.append(b',"params":' + json.dumps(params).encode())
    parts.append(b"}")
    return b"".join(parts)


def _base64(data: bytes) -> Iterator[bytes]:
    """In pieces: each call keeps Python's lock for as long as it works, and a window that shares it would stand still meanwhile."""
    view = memoryview(data)
    for start in range(0, len(view), _PIECE):
        yield base64.b64encode(view[start:start + _PIECE])


def parse_rows(body: bytes, expected: int) -> Rows:
    """The rows of a reply.

    Raises:
        ReplyError: not JSON, an error message with status 200, or another number of rows than were sent.
    """
    try:
        outer = json.loads(body)
    except (ValueError, RecursionError):
        kind = "HTML" if body[:200].lstrip()[:1] == b"<" else "no valid JSON"
        raise ReplyError(f"The endpoint answered with {kind}; check that the URL is the scoring URL. It began: {quote(body)}", kind="not-json") from None
    form = "list"
    if isinstance(outer, dict) and isinstance(outer.get("predictions"), list):
        outer, form = outer["predictions"], "predictions"
    if not isinstance(outer, list):
        said = _message(outer)
        start = "The endpoint reported an error" if said else "The endpoint's reply is none of the documented forms"
        raise ReplyError(f"{start}: {quote(said or body)}", kind="reply-form")
    if len(outer) != expected or not all(isinstance(row, dict) for row in outer):
        raise ReplyError(f"The endpoint answered {len(outer)} rows where {expected} objects were expected: {quote(body)}", kind="reply-form")
    return Rows(outer, form)


def quote(text: bytes | str) -> str:
    """The first 200 characters, on one line."""
    if isinstance(text, bytes):
        text = text[:4 * QUOTED].decode("utf-8", errors="replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:QUOTED]).split()) or "(nothing)"


def _message(outer: object) -> str:
    """What an error object says: {"message": ...} or {"error": {"message": ...}} or {"error": "..."}."""
    if not isinstance(outer, dict):
        return ""
    inner = outer.get("error", outer)
    said = inner.get("message", "") if isinstance(inner, dict) else inner
    return said if isinstance(said, str) else ""
