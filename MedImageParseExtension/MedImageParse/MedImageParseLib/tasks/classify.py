"""Which of several labels a slice, a picture or a volume fits best: without training (MedImageInsight zero-shot), or by a fine-tuned adapter
on Azure, which has labels of its own and answers with scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ReplyError, UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from ..search.compare import CALIBRATION_NOTE, zero_shot, zero_shot_volume
from ..search.label_sets import Label
from ..wire import classification
from ..wire.medimageinsight import DEFAULT_SCALING_FACTOR
from .embed import AT_ONCE, BATCH, MODEL, Embedder, Picture, Selection, embed_volume, pictures_of
from .preprocessing import PictureMaker, Preprocessing, encode_square, make_thumbnail
from .run import Client, RunLog

TUNED_NOTE = "These scores are the fine-tuned classifier's own; whoever trained it knows what they are worth."


@dataclass(slots=True)
class ClassificationResult:
    """Probabilities of labels.

    Attributes:
        labels: in the order given.
        indices: the slices, in order; [0] for a 2D picture.
        slices: float64 (slices, labels); each row adds up to 1.
        volume: float64 (labels,): of the mean of the slices' vectors.
        scaling_factor: the log temperature that was used.
        thumbnail: PNG of the middle slice.
        report: plain JSON types.
    """

    labels: list[Label]
    indices: list[int]
    slices: np.ndarray
    volume: np.ndarray
    scaling_factor: float
    thumbnail: bytes = b""
    report: dict = field(default_factory=dict)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """(label, probability of the volume), the likeliest first."""
        order = np.argsort(-self.volume, kind="stable")
        return [(self.labels[place].name, float(self.volume[place])) for place in order]


def make_labels(names: Sequence[str], prefix: str = "") -> list[Label]:
    """Labels whose texts begin alike: the model was trained on "modality anatomy exam-parameters finding" in one style.

    Args:
        names: "pneumonia", "no finding", …
        prefix: "x-ray chest anteroposterior", for example.
    """
    return [Label(name.strip(), f"{prefix.strip()} {name.strip()}".strip()) for name in names]


def classify(
    volume: Volume,
    labels: Sequence[Label],
    client: Client,
    *,
    preprocessing: Preprocessing = Preprocessing(),
    selection: Selection = Selection(),
    at_once: int = AT_ONCE,
    batch: int = BATCH,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> ClassificationResult:
    """Compare each chosen slice, and the volume as a whole, with the labels.

    Texts go first and in requests of their own: an endpoint without a text encoder is found out before any image is sent.

    Raises:
        UsageError: fewer than two labels, two alike, a pooled recipe. EndpointError, ReplyError, Cancelled.
    """
    _check_labels(labels)
    if preprocessing.pool != "none":
        raise UsageError("Slices are classified one by one and as a whole; leave the pooling out.")
    log = RunLog(MODEL, cancellation=cancellation or Cancellation())
    began = time.perf_counter()
    embedder = Embedder(client, log, at_once=at_once, batch=batch, progress=progress)
    volume.check()
    progress("embedding the labels", 0, 0)
    texts = embedder.texts([label.text for label in labels])
    factor = DEFAULT_SCALING_FACTOR if embedder.scaling_factor is None else embedder.scaling_factor
    is_given = embedder.is_factor_given
    pictures, vectors = embed_volume(volume, embedder, preprocessing, selection)
    if not is_given:
        log.warn(Sentence("The endpoint does not state its scaling factor; the published model's {factor} was used.", factor=factor))
    slices = zero_shot(vectors, texts, factor)
    result = ClassificationResult(
        list(labels), [picture.index for picture in pictures], slices, zero_shot_volume(vectors, texts, factor), factor,
        make_thumbnail(pictures[len(pictures) // 2].pixels),
    )  # fmt: skip
    log.timings["total"] = time.perf_counter() - began
    scale = {"scaling_factor": factor, "scaling_factor_given": is_given}
    details = _details(result, pictures, preprocessing, CALIBRATION_NOTE, scale)
    result.report = log.report(volume, client, preprocessing.window, **details).as_dict()
    return result


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
    result.report = log.report(volume, client, recipe.window, **_details(result, pictures, recipe, TUNED_NOTE)).as_dict()
    return result


def _check_labels(labels: Sequence[Label]) -> None:
    if len(labels) < 2:
        raise UsageError("Give at least two labels: the probabilities compare labels with one another, so one alone always gets 100 %.")
    if not all(label.name and label.text.strip() for label in labels):
        raise UsageError("A label is empty; give each a name.")
    names = [label.name for label in labels]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise UsageError("The label '{twice}' is given twice; the two would share one probability.", twice=twice)


def _details(
    result: ClassificationResult, pictures: list[Picture], preprocessing: Preprocessing, note: str, scale: dict | None = None
) -> dict:
    """What the report says beyond the common part; probabilities to six decimals. Without a scale, the labels are the endpoint's own."""
    names = [label.name for label in result.labels]

    def shares(row: np.ndarray) -> dict[str, float]:
        return dict(zip(names, np.round(row, 6).tolist(), strict=True))

    return {
        "preprocessing": preprocessing.text,
        "labels": [{"label": label.name, "text": label.text if scale else None} for label in result.labels],
        **(scale or {}),
        "plane": pictures[len(pictures) // 2].plane or None,
        "slices": [
            {"slice": index, "best": names[int(np.argmax(row))], "probabilities": shares(row)}
            for index, row in zip(result.indices, result.slices, strict=True)
        ],
        "volume": {"best": result.ranked[0][0], "probabilities": shares(result.volume)},
        "note": note,
    }
