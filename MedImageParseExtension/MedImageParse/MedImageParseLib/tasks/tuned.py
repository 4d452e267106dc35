"""Labels from a fine-tuned MedImageInsight adapter on Azure: the endpoint has labels of its own and answers with scores."""

from __future__ import annotations

import time

import numpy as np

from ..errors import ReplyError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..search.label_sets import Label
from ..wire import classification
from .classify import ClassificationResult
from .embed import BATCH, MODEL, Selection, pictures_of
from .preprocessing import PictureMaker, Preprocessing, encode_square, make_thumbnail
from .run import Client, RunLog

NOTE = "These scores are the fine-tuned classifier's own; whoever trained it knows what they are worth."


def classify_tuned(
    volume: Volume,
    client: Client,
    *,
    preprocessing: Preprocessing | None = None,
    selection: Selection | None = None,
    batch: int = BATCH,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> ClassificationResult:
    """Ask a fine-tuned classifier about each chosen slice; the whole is the mean of its slices' scores.

    Args:
        volume: to classify.
        client: a connection to the endpoint.
        preprocessing: the recipe; None for the usual one.
        selection: which slices; None for all.
        batch: images a request.
        progress: told "embedding" in pictures.
        cancellation: stops it between two requests.

    Raises:
        UsageError, EndpointError, ReplyError, Cancelled.
    """
    log = RunLog(MODEL, cancellation=cancellation or Cancellation())
    began = time.perf_counter()
    recipe = preprocessing or Preprocessing()
    pictures = list(pictures_of(PictureMaker(volume, recipe, (selection or Selection()).plane), selection or Selection()))
    rows: list[dict[str, float]] = []
    for start in range(0, len(pictures), batch):
        log.cancellation.check()
        progress("embedding", start, len(pictures))
        part = [encode_square(picture.pixels) for picture in pictures[start : start + batch]]
        answer = log.send(
            client, classification.build_request(part, client.dialect), classification.largest_reply(len(part)), work=len(part)
        )
        rows += classification.parse_reply(answer, len(part))
    labels = list(rows[0]) if rows else []
    if any(set(row) != set(labels) for row in rows):
        raise ReplyError("The endpoint's labels changed during the run, so more than one model answers.", code="model-changed")
    labels.sort()
    slices = np.array([[row[label] for label in labels] for row in rows])
    middle = pictures[len(pictures) // 2]
    result = ClassificationResult(
        [Label(label, label) for label in labels], [picture.index for picture in pictures], slices, slices.mean(axis=0), 0.0,
        make_thumbnail(middle.pixels),
    )  # fmt: skip
    log.timings["total"] = time.perf_counter() - began
    details = {
        "preprocessing": recipe.text, "labels": [{"label": label, "text": None} for label in labels], "plane": middle.plane or None,
        "slices": [{"slice": index, "best": labels[int(np.argmax(row))], "probabilities": dict(zip(labels, np.round(row, 6).tolist(), strict=True))}
                   for index, row in zip(result.indices, slices, strict=True)],
        "volume": {"best": result.ranked[0][0], "probabilities": dict(zip(labels, np.round(result.volume, 6).tolist(), strict=True))},
        "note": NOTE,
    }  # fmt: skip
    result.report = log.report(volume, client, recipe.window, **details).as_dict()
    return result
