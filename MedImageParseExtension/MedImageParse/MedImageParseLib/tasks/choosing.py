"""Which records of an index a person means, and which of its spaces."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

from ..errors import UsageError
from ..remedies import Sentence
from ..search.faults import IndexFault
from ..search.index import EmbeddingIndex
from ..search.records import Provenance, Record

_SHORTEST_SERIES = 8  # digits of a series' name that may stand for it


def largest_space(index: EmbeddingIndex, recipe: str) -> Provenance:
    """The provenance with the most vectors, of one recipe where that is given.

    Raises:
        IndexFault: there is none.
    """
    spaces = [space for space in index.info().spaces if not recipe or space.provenance.preprocessing == recipe]
    if not spaces:
        what = Sentence("no vectors of the recipe '{recipe}'", recipe=recipe) if recipe else Sentence("no vectors")
        raise IndexFault(Sentence("The index holds {what}; add images to it first.", what=what), "empty")
    return max(spaces, key=lambda space: space.records).provenance


def require_set(index: EmbeddingIndex, name: str) -> None:
    """Raise UsageError where the index has no set of labels of this name; it says which there are."""
    sets = [one.set for one in index.label_sets()]
    if name not in sets:
        held = Sentence("it has {listed}", listed=", ".join(sets)) if sets else Sentence("it has none; make one with `index label`")
        raise UsageError("The index has no set of labels '{wanted}'; {held}.", wanted=name[:80], held=held)


def belongs(record: Record, reference: Sequence[str]) -> bool:
    """Whether a record is among what these names mean: a file's name (wildcards * and ?), a path, a folder, a series or its beginning."""
    name = str(record.position.get("name", ""))
    for word in reference:
        if name and fnmatch.fnmatchcase(name, word):
            return True
        if record.source:
            path = os.path.abspath(os.path.expanduser(word))
            if record.source in (word, path) or record.source.startswith(path.rstrip(os.sep) + os.sep):
                return True
        if len(word) >= _SHORTEST_SERIES and record.series.startswith(word.removeprefix("series ")):
            return True
    return False
