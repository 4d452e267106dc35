"""The console API for measuring the search of an index."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..files.collisions import check_outputs
from ..files.write import check_writable, write_atomically
from .calls import in_sentences
from .embed import open_index
from .insight_options import Path_, RetrievalOptions

if TYPE_CHECKING:
    from ..tasks.retrieval import RetrievalResult, Worst


@in_sentences
def index_evaluate(index: Path_, *, labels: str, options: RetrievalOptions) -> RetrievalResult:
    """How good the search of an index is: each labelled image asks, images of other patients answer; no endpoint takes part.

    Args:
        index: the file.
        labels: the set of labels: the same label counts as right.
        options: how it is measured, and what is drawn; each of its fields is a keyword too.

    Returns:
        RetrievalResult: `.rankings["vectors"].mean` beside "random" and "demo descriptors".
    """
    from ..tasks.retrieval import evaluate_search

    path = check_writable(options.picture, (".png",)) if options.picture else None
    check_outputs({"picture": path}, [index])
    try:
        depths = [int(part) for part in options.k.split(",")]
    except ValueError:
        raise UsageError("Give the numbers of results to look at as whole numbers, such as 1,3,5.") from None
    with open_index(index) as opened:
        result = evaluate_search(opened, labels, patients=options.patients, depths=depths, recipe=options.recipe, describe=_describe)
    if path:
        _write_worst(path, result.worst)
    return result


def _describe(png: bytes) -> np.ndarray | None:
    from PIL import Image

    from ..engines.classical.descriptors import describe_image

    try:
        with Image.open(io.BytesIO(png)) as picture:
            return describe_image(np.asarray(picture.convert("RGB")))
    except OSError:
        return None


def _write_worst(path: Path, worst: list[Worst]) -> None:
    """One row a query: the query, then what it found."""
    from PIL import Image

    from ..files.figures import Tile, render_result_grid
    from ..tasks.find_similar import name_of

    sheets = []
    for one in worst:
        query = Tile(one.query.thumbnail, name_of(one.query), ", ".join(one.labels))
        found = [Tile(record.thumbnail, name_of(record), ", ".join(labels), similarity) for record, labels, similarity in one.found]
        sheets.append(render_result_grid(query, found))
    sheet = Image.new("RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)))
    top = 0
    for row in sheets:
        sheet.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", compress_level=6)
    write_atomically(path, buffer.getvalue())
