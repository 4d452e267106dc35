"""A query against an index: an image or a text becomes a vector, made as the index's own vectors were made, and finds its neighbors."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from ..errors import ReplyError, UsageError
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..redaction import visible
from ..remedies import Sentence
from ..search.faults import IndexFault, other_space
from ..search.index import EmbeddingIndex
from ..search.records import Hit, Provenance, Record, series_name
from ..search.searching import vectors_of_contents
from .choosing import belongs
from .embed import MODEL, Embedder, Picture, Selection, embed_pictures, pictures_of
from .preprocessing import PictureMaker, Preprocessing, make_thumbnail
from .run import Client, Report, RunLog


@dataclass(slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: best first.
        provenance: the space that was searched.
        thumbnail: PNG of the query's picture, b"" for a text.
        detail: which slice of the query it was, in words.
        report: plain JSON types.
    """

    hits: list[Hit]
    provenance: Provenance
    thumbnail: bytes = b""
    detail: str = ""
    report: dict = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Narrow:
    """What may be found.

    Attributes:
        one_each: of each volume only the most similar slice.
        kind, plane, modality: of the records, "" for any. names: as choosing.belongs takes them. labels: "SET=LABEL", all of which hold.
        least: similarity from which on a record counts.
    """

    one_each: bool = False
    kind: str = ""
    plane: str = ""
    modality: str = ""
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    least: float = -1.0

    def options(self, index: EmbeddingIndex) -> dict:
        """What `EmbeddingIndex.search` takes.

        Raises:
            UsageError: a label that is not SET=LABEL, or nothing that fits.
        """
        found: dict = {"one_each": self.one_each, "least": self.least, "kinds": [self.kind] if self.kind else None}
        if not (self.plane or self.modality or self.names or self.labels):
            return found
        records = index.records()
        kept = {
            number
            for number, one in records.items()
            if self.plane in ("", one.plane)
            and self.modality.upper() in ("", str(one.position.get("modality", "")).upper())
            and (not self.names or belongs(one, self.names))
        }
        for wanted in self.labels:
            name, equals, label = wanted.partition("=")
            if not equals:
                raise UsageError("Give a label to narrow the search as SET=LABEL, not '{wanted}'.", wanted=wanted[:80])
            kept &= {number for number, own in index.labels_of(kept, name).items() if label in own}
        if not kept:
            raise UsageError("Nothing in the index fits all the conditions; `index info` and `index labels` tell what it holds.")
        return found | {"only": kept}


def search_image(
    index: EmbeddingIndex,
    volume: Volume,
    client: Client,
    *,
    slices: str | list[int] | None = None,
    plane: str = "auto",
    top: int = 10,
    other_volumes: bool = False,
    narrow: Narrow = Narrow(),
    preprocessing: Preprocessing | None = None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> SearchResult:
    """The images of an index that are most like a slice, a 2D picture or (in an index of whole volumes) a volume.

    Args:
        index: open; its vectors must be of the model behind the connection.
        volume: to ask with; a 2D picture is a volume of one slice.
        client: the connection over which it is asked.
        slices: the one slice to ask with; where the index holds whole volumes, those to pool (all by default).
        plane: "axial", "coronal", "sagittal", or "auto" for the volume's own.
        top: how many results at most.
        other_volumes: leave out what comes from the same volume.
        narrow: what may be found.
        preprocessing: where the index holds vectors of several recipes: which one; by default the index's own.
        progress: told the stages, and pieces done of all.
        cancellation: stops the run: Cancelled is raised, and requests on their way are given up.

    Raises:
        UsageError: no slice named, or several. IndexFault: nothing in the index can be compared. EndpointError, ReplyError, Cancelled.
    """
    log = RunLog(MODEL, progress, cancellation or Cancellation())
    began = time.perf_counter()
    asked = choose_space(index, client, preprocessing, log)
    recipe = recipe_of(asked)
    with log.timed("prepare"):
        maker = PictureMaker(volume, recipe, plane)
        count = maker.count
        selection = Selection("all" if slices is None else slices, plane=plane)
        chosen = [0] if volume.is_picture else selection.indices(count)
    if recipe.pool == "none" and len(chosen) != 1:
        raise UsageError(
            "Say with which slice to search: one index from 0 to {value} (the index holds slices, not whole volumes).", value=count - 1
        )
    embedder = Embedder(client, log, progress=progress)
    pictures, vectors, found = known_or_embedded(index, asked, maker, embedder, selection)
    require_same_model(index, found, embedder)
    excluded = series_name(volume.voxels, volume.ijk_to_ras) if other_volumes else ""
    hits = index.search(vectors[0], provenance=found, top=top, exclude_series=excluded, **narrow.options(index))
    warn_of_nothing(hits, log)
    middle = pictures[len(pictures) // 2]
    detail = (
        ""
        if volume.is_picture
        else Sentence("{plane}, slice {index}", plane=middle.plane, index=middle.index)
        if recipe.pool == "none"
        else f"{len(pictures)} slices"
    )
    log.timings["total"] = time.perf_counter() - began
    report = log.report(volume, client, recipe.window, query={"plane": middle.plane or None, "slices": chosen, "text": None})
    return finished(hits, found, report, make_thumbnail(middle.pixels), detail)


def search_text(
    index: EmbeddingIndex,
    text: str,
    client: Client,
    *,
    top: int = 10,
    narrow: Narrow = Narrow(),
    preprocessing: Preprocessing | None = None,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> SearchResult:
    """The images of an index that fit a text best, such as "x-ray chest anteroposterior pneumonia".

    Raises: as `search_image`; EndpointError where the endpoint has no text encoder.
    """
    log = RunLog(MODEL, progress, cancellation or Cancellation())
    began = time.perf_counter()
    asked = choose_space(index, client, preprocessing, log)
    if recipe_of(asked).pool == "statistics":
        raise UsageError("The index holds statistics of whole volumes, which no text can be compared with; make one of slices.")
    embedder = Embedder(client, log)
    vector = embedder.texts([text])[0]
    found = Provenance(asked.model, asked.deployment, embedder.engine or "", asked.preprocessing)
    require_same_model(index, found, embedder)
    hits = index.search(vector, provenance=found, top=top, **narrow.options(index))
    warn_of_nothing(hits, log)
    log.timings["total"] = time.perf_counter() - began
    nothing = Volume(np.zeros((1, 1, 1), np.uint8))
    report = log.report(nothing, client, "", query={"plane": None, "slices": None, "text": text})
    report.input = None
    return finished(hits, found, report)


def choose_space(index: EmbeddingIndex, client: Client, preprocessing: Preprocessing | None, log: RunLog) -> Provenance:
    """Which vectors of the index to compare with: those of this model and deployment, made by one recipe. The engine is open yet.

    Where there are several recipes and none was named, the one with the most vectors is taken, and a warning names the others.

    Raises:
        IndexFault: the index has none that fit.
    """
    deployment = getattr(client, "deployment", "")
    wanted = Provenance(MODEL, deployment, "", preprocessing.text if preprocessing else "")
    spaces = index.info().spaces
    fitting = [space for space in spaces if (space.provenance.model, space.provenance.deployment) == (MODEL, deployment)]
    counts: dict[str, int] = {}
    for space in fitting:
        recipe = space.provenance.preprocessing
        if preprocessing is None or recipe == preprocessing.text:
            counts[recipe] = counts.get(recipe, 0) + space.records
    if not counts:
        raise other_space(wanted, [space.provenance for space in spaces])
    best = max(counts, key=lambda recipe: counts[recipe])
    others = [f"{count} by '{recipe}'" for recipe, count in counts.items() if recipe != best]
    if others:
        log.warn(
            Sentence(
                "The index holds vectors of several recipes, which are never mixed: '{best}' is searched, {listed} are left out.",
                best=best,
                listed=" and ".join(others),
            )
        )
    return Provenance(MODEL, deployment, "", best)


def known_or_embedded(
    index: EmbeddingIndex, asked: Provenance, maker: PictureMaker, embedder: Embedder, selection: Selection
) -> tuple[list[Picture], np.ndarray, Provenance]:
    """The pictures of a query with their vectors: those that the index holds are taken from there, the others are sent.

    Args:
        index: open.
        asked: the space without its engine, as `choose_space` gives it.
        maker: of the query's pictures, by the recipe of the index's.
        embedder: sends what the index does not hold.
        selection: which slices.

    Returns:
        pictures in slice order, float32 (slices, length) or (1, length) where pooled, and the space that they can be compared with.
    """
    spaces = [one for one in index.spaces() if (one.model, one.deployment, one.preprocessing) == (asked.model, asked.deployment, asked.preprocessing)]  # fmt: skip
    pictures: list[Picture] = []
    # Vectors of a local engine are asked for again: only its answer says that it is one, and nothing of it may pass for the model's.
    if maker.preprocessing.pool == "none" and len(spaces) == 1 and not spaces[0].engine:
        pictures = list(pictures_of(maker, selection))
    held = vectors_of_contents(index, spaces[0], [one.content_hash for one in pictures]) if pictures else {}
    missing = [one for one in pictures if one.content_hash not in held]
    if held and missing:
        fresh = [one for some in embedder.images(missing, len(missing)) for one in some]
        if (embedder.engine or "") == spaces[0].engine:
            held |= {one.picture.content_hash: one.vector for one in fresh}
            missing = []
    if held and not missing:
        return pictures, np.stack([held[one.content_hash] for one in pictures]), spaces[0]
    pictures, vectors = embed_pictures(maker, embedder, selection)
    return pictures, vectors, Provenance(asked.model, asked.deployment, embedder.engine or "", asked.preprocessing)


def require_same_model(index: EmbeddingIndex, provenance: Provenance, embedder: Embedder) -> None:
    """Raise ReplyError where the query's vector came with another scaling factor than those of the index: another version made it."""
    try:
        index.require_factor(provenance, embedder.scaling_factor if embedder.is_factor_given else None)
    except IndexFault as fault:
        if fault.code != "factor":
            raise
        raise ReplyError("{fault}", code="model-changed", fault=fault) from fault


def recipe_of(provenance: Provenance) -> Preprocessing:
    """How the pictures of a space were made. Raises UsageError where this version cannot repeat it."""
    made = Preprocessing.parse(provenance.preprocessing)
    if made is None:
        raise UsageError(
            "The index was made by another recipe ('{preprocessing}') that this version cannot repeat; index the images again.",
            preprocessing=provenance.preprocessing,
        )
    return made


def warn_of_nothing(hits: list[Hit], log: RunLog) -> None:
    """Warn where a search that could be done found nothing."""
    if not hits:
        log.warn("Nothing was found: all that fits the conditions is left out or less similar than asked for.")


def finished(hits: list[Hit], found: Provenance, report: Report, thumbnail: bytes = b"", detail: str = "") -> SearchResult:
    """A result with its report."""
    report.details |= {
        "preprocessing": found.preprocessing,
        "hits": [describe_hit(rank, hit) for rank, hit in enumerate(hits, start=1)],
    }
    return SearchResult(hits, found, thumbnail, detail, report.as_dict())


def describe_hit(rank: int, hit: Hit) -> dict:
    """A hit in plain JSON types."""
    record = hit.record
    return {
        "rank": rank, "similarity": round(hit.similarity, 6), "id": hit.id, "kind": record.kind, "name": name_of(record),
        "source": record.source, "series": record.series, "plane": record.plane, "slice": record.slice_index if record.slice_index >= 0 else None,
    }  # fmt: skip


def name_of(record: Record) -> str:
    """What to call a record's image: the file's name, or the beginning of its series where names are not kept."""
    return visible(str(record.position.get("name") or "")) or (
        Sentence("series {series}", series=record.series[:8]) if record.series else record.kind
    )


def place_of(record: Record) -> str:
    """Which slice it is, in words."""
    if record.kind == "slice":
        return Sentence("{plane}, slice {slice_index}", plane=visible(record.plane), slice_index=record.slice_index)
    return "whole volume" if record.kind in ("volume", "study") else "2D picture"
