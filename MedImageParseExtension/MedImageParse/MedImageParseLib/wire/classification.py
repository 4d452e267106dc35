"""What a fine-tuned MedImageInsight adapter on Azure says and hears: the column "image" alone; for each image a list of {label, score}."""

from __future__ import annotations

from ..errors import ReplyError
from .envelope import build_body, check_cost, enough_memory, load_json, quote

_LARGEST_ROW = 1_000_000  # bytes of a reply, an image
_MOST_LABELS = 10_000
_LARGEST_SCORE = 1e30  # what is not a finite number fails this too, as does a whole number that no float can hold
_VALUES_A_LABEL = 5  # commas, colons and brackets of {"label": "a", "score": 0.5},


def build_request(images: list[bytes], dialect: str) -> bytes:
    """One row a PNG.

    Args:
        images: PNG files.
        dialect: "azureml" or "mlflow".
    """
    return build_body([(image, "") for image in images], dialect, with_text=False)


def largest_reply(rows: int) -> int:
    """Bytes that the reply to so many images can need."""
    return 65536 + rows * _LARGEST_ROW


@enough_memory()
def parse_reply(body: bytes, rows_sent: int) -> list[dict[str, float]]:
    """For each image the scores by label, as they came: the best first.

    Raises:
        ReplyError: anything else than a list of {label, score} an image.
    """
    check_cost(body, rows_sent * _MOST_LABELS * _VALUES_A_LABEL)
    outer = load_json(body)
    if isinstance(outer, dict) and isinstance(outer.get("predictions"), list):
        outer = outer["predictions"]
    if isinstance(outer, list) and rows_sent == 1 and outer and isinstance(outer[0], dict) and {"label", "score"} <= set(outer[0]):
        outer = [outer]
    if not isinstance(outer, list) or len(outer) != rows_sent:
        raise _other(body)
    return [_scores(row, body) for row in outer]


def _scores(row: object, body: bytes) -> dict[str, float]:
    if not isinstance(row, list) or not 1 <= len(row) <= _MOST_LABELS:
        raise _other(body)
    found: dict[str, float] = {}
    for one in row:
        label, score = (one.get("label"), one.get("score")) if isinstance(one, dict) else (None, None)
        good = (
            isinstance(label, (str, int))
            and isinstance(score, (int, float))
            and not isinstance(score, bool)
            and abs(score) < _LARGEST_SCORE
        )
        if not good or str(label) in found:
            raise _other(body)
        found[str(label)] = float(score)  # type: ignore[arg-type]
    return found


def _other(body: bytes) -> ReplyError:
    return ReplyError(
        "The endpoint answers with something else than labels and scores, so it is no fine-tuned classifier; classify without it. It began: {body}",
        body=quote(body),
        code="wrong-model",
    )
