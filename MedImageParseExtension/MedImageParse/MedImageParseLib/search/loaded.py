"""What of an index is held in memory from one search to the next: of each space its vectors, or its sketches, and the places of both."""

from __future__ import annotations

from pathlib import Path

from . import rows
from .faults import other_space
from .matrix import Matrix
from .prepare import open_prepared
from .records import Provenance
from .schema import Connection
from .searching import Prepared


def size_of(path: Path) -> int:
    """Bytes of an index's file, 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Loaded:
    """The spaces of one index as the last transaction that read them saw them. Its methods run inside a transaction of the caller's.

    Args:
        path: of the index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._matrices: dict[int, Matrix] = {}
        self._sketched: dict[int, tuple[Prepared, Matrix]] = {}

    @property
    def has_sketches(self) -> bool:
        """Whether the last search of some space went by sketches."""
        return bool(self._sketched)

    def clear(self) -> None:
        """Give the memory back."""
        self._matrices.clear()
        self._sketched.clear()

    def forget_sketches(self) -> None:
        """The files of sketches are about to go, or are other ones now."""
        self._sketched.clear()

    def matrix(self, connection: Connection, provenance: Provenance) -> Matrix:
        """The vectors and places of one space as the open transaction sees them.

        Args:
            connection: in a transaction.
            provenance: of the space.

        Raises:
            IndexFault: it has no records; the sentence says what is there.
        """
        space = rows.find_space(connection, provenance)
        if space is not None:
            matrix = self._matrices.get(space.id)
            if matrix is None or matrix.length != space.length:  # the space was emptied and its number given to another
                matrix = self._matrices[space.id] = Matrix(space.id, space.length)
            matrix.refresh(connection, space.revision, size_of(self._path))
            if len(matrix.places):
                return matrix
        raise other_space(provenance, [space.provenance for space, _ in rows.count_spaces(connection)])

    def prepared(self, connection: Connection, provenance: Provenance) -> tuple[Prepared | None, Matrix | None]:
        """The sketches of a space with its places, as the open transaction sees them; (None, None) where there are none that fit.

        Args:
            connection: in a transaction.
            provenance: of the space.
        """
        space = rows.find_space(connection, provenance)
        if space is None:
            return None, None
        sketch, matrix = self._sketched.get(space.id, (None, None))
        if sketch is None or matrix is None or matrix.revision != space.revision:
            self._sketched.pop(space.id, None)
            sketch = open_prepared(self._path, space)
            if sketch is None:
                return None, None
            matrix = Matrix(space.id, space.length, elsewhere=sketch.chunks, known=sketch.known)
            self._sketched[space.id] = sketch, matrix
        matrix.refresh(connection, space.revision, size_of(self._path))
        return sketch, matrix
