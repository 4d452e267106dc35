"""The console API for MedImageInsight: embed and index. Option names are those of the command line; see also comparing.py."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import after_requests, check_writable
from ..imaging.volume import Volume
from ..progress import Cancellation, Progress, no_progress
from ..tasks.embed import MODEL
from ..tasks.indexing import IndexingOptions, IndexingResult, embed_sources
from ..tasks.preprocessing import Preprocessing
from ..tasks.sinks import IndexSink, ListSink
from .calls import in_sentences
from .connections import connected
from .frames import one_frame
from .inputs import check_kind, files_of, listed, tell_input
from .insight_options import EmbedOptions, IndexOptions, Path_, PrepareOptions, SearchOptions
from .sources import Input, find_sources

if TYPE_CHECKING:
    from ..search.index import EmbeddingIndex, IndexInfo
    from ..search.integrity import CheckReport
    from ..search.records import Provenance, Record
    from ..tasks.find_similar import Narrow, SearchResult
    from ..transport.client import EndpointClient


@dataclass(slots=True)
class EmbedResult:
    """Vectors of a run.

    Attributes:
        records: one a vector, in the order of the inputs and their slices; `.vector`, `.source`, `.plane`, `.slice_index`.
        vectors: float32 (rows, length).
        provenance: model, deployment, engine and recipe.
        report: plain JSON types.
        failure: the sentence of what stopped the run half-way, "" where it went through.
    """

    records: list[Record]
    vectors: np.ndarray
    provenance: Provenance
    report: dict
    failure: str = ""


@in_sentences
def embed(
    inputs: Input | Iterable[Input],
    *,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    options: EmbedOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> EmbedResult:
    """Vectors of slices, 2D pictures or whole volumes.

    Args:
        inputs: paths of image files, DICOM folders or folders of images, or images in memory: Volumes, nibabel or SimpleITK images,
            tuples (array in kji order, affine to RAS in mm); one or several.
        endpoint: scoring URL.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        options: which slices, how pictures are made of them, what is written; each of its fields is a keyword too.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).

    Raises:
        MedImageParseError with one sentence; its `exit_status` is the command line's.

    Examples:
        >>> embed("ct.nii.gz", profile="Local demo").vectors.shape  # doctest: +SKIP
        (30, 1024)
    """
    from ..files.write import VECTOR_EXTENSIONS, write_vectors

    path = check_writable(options.output, VECTOR_EXTENSIONS) if options.output else None
    inputs = listed(inputs)
    check_outputs({"output": path}, [*inputs, *files_of(connection)])
    how = IndexingOptions(options.preprocessing, options.selection, options.at_once, options.batch, False, options.paths)
    sources = find_sources(inputs, options.modality, series=options.series, frame=options.frame)
    sink = ListSink()
    with connected(client, endpoint, profile, MODEL, cancellation, connection) as used:
        result = embed_sources(sources, used, sink, how, progress=progress, cancellation=cancellation)
    provenance = cast("Provenance", sink.provenance)  # a run without a single vector has raised
    order = {tally.series: number for number, tally in reversed(list(enumerate(result.tallies)))}
    records = sorted(sink.records, key=lambda record: (order.get(record.series, 0), record.slice_index))
    if path:
        with after_requests(result.report):
            write_vectors(path, records, provenance, result.report["scaling_factor"])
    return EmbedResult(records, np.stack([record.vector for record in records]), provenance, result.report, result.failure)


@in_sentences
def index_add(
    index: Path_,
    inputs: Input | Iterable[Input],
    *,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    options: IndexOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> IndexingResult:
    """Embed images into an index file; what is in it already is not sent again.

    Vectors are kept as they come: after a kill or a failing endpoint the next run goes on where this one stopped. With `work_dir`, hundreds of
    volumes are shared out: each one's vectors wait there, and all go into the index at once when the run has ended. With `shard` they
    wait until `index_merge`.

    Args:
        index: the file, made anew where there is none.
        inputs: images as `embed` takes them, one or several.
        endpoint: scoring URL of the endpoint to ask.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        progress: told what is going on.
        cancellation: stops the run; what is stored is kept.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).
        options: which slices, how pictures are made of them, what is kept; each of its fields is a keyword too.

    Returns:
        IndexingResult: `.embedded`, `.already_there`, `.tallies` (one an input), `.report`, `.failure`.
    """
    inputs = listed(inputs)
    if options.work_dir:
        from .index_cases import add_many

        where = (endpoint, profile, client)
        return add_many(check_writable(index), inputs, options, progress, cancellation, where, connection)
    if options.shard or options.redo or options.scheduler:
        raise UsageError("Shards, a scheduler and doing again need an account of the run: give --work-dir DIR.")
    how = IndexingOptions(options.preprocessing, options.selection, options.at_once, options.batch, options.thumbnails, options.paths)
    check_outputs({"index": index}, [*inputs, *files_of(connection)])
    sources = find_sources(inputs, options.modality, series=options.series, frame=options.frame)
    sink = IndexSink(check_writable(index))
    try:
        with connected(client, endpoint, profile, MODEL, cancellation, connection) as used:
            result = embed_sources(sources, used, sink, how, progress=progress, cancellation=cancellation)
    finally:
        sink.close()
    result.report["outputs"] = [os.fspath(index)] if result.embedded else []
    return result


@in_sentences
def index_search(
    index: Path_,
    *,
    image: Input | None = None,
    endpoint: str | None = None,
    profile: str | None = None,
    client: EndpointClient | None = None,
    options: SearchOptions,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    **connection: object,
) -> SearchResult:
    """The images of an index that are most like an image or that fit a text best.

    Args:
        index: the file.
        image: a path or an image in memory as `embed` takes it; else a text is searched for.
        endpoint: scoring URL of the endpoint that the index was made with.
        profile: name of a stored profile, in place of `endpoint`.
        client: a connection to use in place of both; it is not closed.
        progress: told what is going on.
        cancellation: stops the run; what is on its way is given up.
        connection: further options of `connect` (auth, key_file, timeout, retries, ca_bundle, deployment, dialect, consent).
        options: what is searched for, what may be found and what is written; each of its fields is a keyword too.

    Returns:
        SearchResult: `.hits` with `.similarity` and `.record`, best first.
    """
    from ..search.index import EmbeddingIndex
    from ..tasks.find_similar import search_image, search_text
    from ..tasks.volume_search import search_volumes

    text = options.text
    if (image is None) == (text is None):
        raise UsageError('Say what to search for: --image INPUT or --text "…", one of the two.')
    if options.volumes and image is None:
        raise UsageError("Whole volumes are found for a volume; name one as the image, or leave the way to compare volumes out.")
    if image is not None:
        check_kind(image)
    if options.top < 1:
        raise UsageError("The number of results must be at least 1.")
    path = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"picture": path}, [index, image, *files_of(connection)])
    common: dict = {"top": options.top, "narrow": _narrow(options), "preprocessing": _parse_recipe(options.recipe)}
    common |= {"progress": progress, "cancellation": cancellation}
    reading = read_one(image, options.modality, progress, options.series, options.frame) if image is not None else None
    with EmbeddingIndex.open(index, create=False) as opened:  # noqa: SIM117 (the index first, then the connection)
        with connected(client, endpoint, profile, MODEL, cancellation, connection) as used:
            if reading is None:
                result = search_text(opened, str(text), used, **common)
            else:
                which: dict = {"slices": options.slices, "plane": options.plane, "other_volumes": options.other_volumes}
                if options.volumes:
                    result = search_volumes(opened, reading[0], used, way=options.volumes, **which, **common)
                else:
                    result = search_image(opened, reading[0], used, **which, **common)
    if reading is not None:
        tell_input(result.report, reading[1], reading[2])
    if path:
        with after_requests(result.report):
            _write_grid(path, result, str(text or ""), Path(reading[1]).name if reading else "")
    return result


@in_sentences
def index_info(index: Path_) -> IndexInfo:
    """What an index holds: records, spaces (model, deployment, engine, recipe), kinds, size."""
    with open_index(index) as opened:
        return opened.info()


@in_sentences
def index_remove(index: Path_, *, source: Path_ = "", series: str = "", ids: Iterable[int] = ()) -> int:
    """Remove the records of one file, one series, or by number (one of these); returns how many there were."""
    ids = list(ids)
    with open_index(index) as opened:
        if not source:
            return opened.remove(series=series, ids=ids)
        # Paths are kept whole; what the person types may be relative, or an address that another program has put in.
        kept = str(source) if opened.records(source=str(source)) else os.path.abspath(os.path.expanduser(source))
        return opened.remove(source=kept, series=series, ids=ids)


@in_sentences
def index_check(index: Path_) -> CheckReport:
    """Read an index from end to end and compare everything with its checksums."""
    with open_index(index) as opened:
        return opened.check()


@in_sentences
def index_compact(index: Path_) -> int:
    """Give the room of removed records back to the disk; returns the bytes."""
    with open_index(index) as opened:
        return opened.compact()


@in_sentences
def index_prepare(
    index: Path_, *, options: PrepareOptions, progress: Progress = no_progress, cancellation: Cancellation | None = None
) -> int:
    """Make searches among hundreds of thousands of vectors fast: a file beside the index, a third of its size.

    Args:
        index: the file.
        options: with what; each of its fields is a keyword too.
        progress: told "preparing".
        cancellation: stops it; the index is as it was.

    Returns:
        how many vectors. What is added later is found too; removing something throws the file away.
    """
    switch = cancellation or Cancellation()

    def told(done: int, total: int) -> None:
        switch.check()
        progress("preparing", done, total)

    with open_index(index) as opened:
        return opened.prepare(told, options.method)


@in_sentences
def index_merge(index: Path_, others: Path_ | Iterable[Path_], *, progress: Progress = no_progress) -> int:
    """Add everything that other indexes hold, records and labels, to an index: all of it or nothing.

    Args:
        index: the file, made anew where there is none.
        others: index files, or working folders of `index_add`; one or several.
        progress: told "merging".

    Returns:
        how many records were new.
    """
    from ..cohort.manifest import MANIFEST, Manifest
    from .index_cases import merge_parts, parts_of

    parts: list[Path] = []
    for other in [others] if isinstance(others, (str, os.PathLike)) else list(others):
        path = Path(other).expanduser()
        if path.is_dir() and not (path / MANIFEST).is_file():
            raise UsageError("The folder {path} is no working folder of index add; name index files or such folders.", path=path)
        if not path.exists():
            raise UsageError("There is no file {input}; check the path.", input=other)
        parts += parts_of(Manifest(path)) if path.is_dir() else [path]
    check_outputs({"index": index}, parts)
    return merge_parts(check_writable(index), parts, progress)


@in_sentences
def index_export(index: Path_, output: Path_, *, readable_only: bool = False) -> int:
    """Write an index to .npz or .parquet; returns how many records."""
    check_outputs({"output": output}, [index])
    with open_index(index) as opened:
        return opened.export(output, readable_only=readable_only)


@in_sentences
def index_import(index: Path_, input: Path_) -> int:
    """Add the records of an exported file to an index, made anew where there is none; returns how many were new."""
    from ..search.export import add_records, read_records
    from ..search.index import EmbeddingIndex

    if not Path(input).is_file():
        raise UsageError("There is no file {input}; check the path.", input=input)
    check_outputs({"index": index}, [input])
    found = read_records(input)  # whole, before an index is made
    with EmbeddingIndex.open(check_writable(index)) as opened:
        return add_records(opened, found)


def open_index(index: Path_) -> EmbeddingIndex:
    """An index that exists."""
    from ..search.index import EmbeddingIndex

    return EmbeddingIndex.open(index, create=False)


def _narrow(options: SearchOptions) -> Narrow:
    from ..tasks.find_similar import Narrow

    names, labels = tuple(options.only_name), tuple(options.only_label)
    return Narrow(options.one_each, options.only_kind, options.only_plane, options.only_modality, names, labels, options.least)


def _parse_recipe(recipe: str | None) -> Preprocessing | None:
    if not recipe:
        return None
    made = Preprocessing.parse(recipe)
    if made is None:
        raise UsageError("The recipe '{recipe}' is none of this version's; copy it from what `index info` prints.", recipe=recipe)
    return made


def read_one(
    image: Input, modality: str, progress: Progress, series: str | int = "", frame: int | str | None = None
) -> tuple[Volume, str, list[str]]:
    """Volume, path and warnings of one image.

    Args:
        image: a path or an image in memory.
        modality: DICOM modality code, where the file does not say.
        progress: told that reading begins.
        series: UID or number of a folder's DICOM series.
        frame: which volume, from 0, of an image with several.
    """
    from .outputs import Reading

    reading = Reading.of(image, modality, progress, series, one_frame(frame))
    reading.volume.check()
    return reading.volume, reading.path, reading.warnings


def _write_grid(path: Path, result: SearchResult, text: str, name: str) -> None:
    from ..files.figures import Tile, write_result_grid
    from ..tasks.find_similar import name_of, place_of

    query = Tile(result.thumbnail, name or "image", result.detail or "2D picture") if result.thumbnail else None
    found = [Tile(hit.record.thumbnail, name_of(hit.record), place_of(hit.record), hit.similarity) for hit in result.hits]
    title = f"Most similar to the text “{text}”" if text else "Most similar images"
    engine = result.provenance.engine
    note = f"Vectors by the {engine}." if engine else f"Vectors by {result.provenance.describe()}."
    write_result_grid(path, query, found, title=title, note=f"{note} The number is the cosine similarity, 1 for the same image.")
