"""The same index on a Qdrant server, for a department that shares one. Needs the package qdrant-client, from 1.13 on.

One collection a provenance, so that vectors of different models never meet. Each point carries its record and its provenance as
payload; its number is made from the content hash, so that two people who add the same image at once store it once.

Vectors, thumbnails and whatever the records name as source leave this machine: whoever opens a store on a server asks for consent first.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np

from ..errors import UsageError
from .faults import IndexFault, other_length, other_space
from .index import IndexInfo, SpaceInfo
from .records import KINDS, Hit, Provenance, Record, checked, unit_rows

PREFIX = "medimageparse-"
_FIELDS = ("content_hash", "kind", "source", "series", "plane", "slice_index", "added")
_BATCH = 256  # points a request: about 1 MB of vectors, and thumbnails
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class QdrantStore:
    """`EmbeddingIndex`'s methods on a Qdrant server. Exact search: Qdrant's approximate graph is not used."""

    def __init__(self, client, place: str, *, is_server: bool) -> None:
        """Use `QdrantStore.open`."""
        from qdrant_client import models

        self.path = place
        self._client = client
        self._exactly = models.SearchParams(exact=True) if is_server else None  # the local mode knows no other way

    @classmethod
    def open(cls, place: str, *, api_key: str = "", timeout_s: int = 60) -> QdrantStore:
        """Open a store.

        Args:
            place: address of a server (https, or http to this machine), a folder, or ":memory:".
            api_key: for a server that asks for one.

        Raises:
            UsageError: an address without encryption.
            IndexFault: the package is missing, or the server does not answer.
        """
        try:
            import qdrant_client
        except ImportError:
            sentence = "A Qdrant index needs the package qdrant-client, which is not installed; use an index file instead."
            raise IndexFault(sentence, "package") from None
        if "check_compatibility" not in inspect.signature(qdrant_client.QdrantClient).parameters:
            raise IndexFault("The package qdrant-client is too old; install 1.13 or later.", "package")
        address = urlsplit(place)
        is_server = address.scheme in ("http", "https")
        if address.scheme == "http" and address.hostname not in _LOOPBACK:
            raise UsageError(f"The address {place} is not encrypted; use https, or http to this machine only.")
        if is_server:
            options = {"url": place, "api_key": api_key or None, "timeout": timeout_s, "check_compatibility": False}
        else:
            options = {"location": place} if place == ":memory:" else {"path": place}
        with _as_sentences(place), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a key over http to this machine is fine
            store = cls(qdrant_client.QdrantClient(**options), place, is_server=is_server)
            store._collections()
        return store

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def __enter__(self) -> QdrantStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, records: Iterable[Record], provenance: Provenance) -> int:
        """Store records; those whose content hash is there already are skipped. As `EmbeddingIndex.add`."""
        from qdrant_client import models

        added = 0
        records = checked(records)
        if not records:
            return 0
        name, length = _collection_name(provenance), records[0].vector.size
        with _as_sentences(self.path):
            self._make_collection(name, length, provenance)
            for start in range(0, len(records), _BATCH):
                part = {record.content_hash: record for record in reversed(records[start : start + _BATCH])}
                known = self.has(part, provenance)
                points = [
                    models.PointStruct(id=_point_id(key), vector=record.vector.tolist(), payload=_payload(record, provenance))
                    for key, record in part.items()
                    if key not in known
                ]
                if points:
                    self._client.upsert(name, points[::-1], wait=True)
                added += len(points)
        return added

    def has(self, hashes: Iterable[str], provenance: Provenance) -> set[str]:
        """Those of the content hashes that are stored with this provenance."""
        name, ids = _collection_name(provenance), {_point_id(value): value for value in hashes}
        with _as_sentences(self.path):
            if name not in self._collections():
                return set()
            found = self._client.retrieve(name, list(ids), with_payload=False, with_vectors=False)
        return {ids[str(point.id)] for point in found}

    def search(
        self,
        vectors: np.ndarray,
        *,
        provenance: Provenance,
        top: int = 10,
        exclude_series: str = "",
        kinds: Sequence[str] | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """The records most similar to a vector. As `EmbeddingIndex.search`."""
        from qdrant_client import models

        if top < 1:
            raise UsageError("The number of results must be at least 1.")
        queries = unit_rows(vectors)
        name = self._present(provenance)
        hidden = [_matches("series", exclude_series)] if exclude_series else []
        shown = [models.FieldCondition(key="kind", match=models.MatchAny(any=list(kinds)))] if kinds is not None else []
        condition = models.Filter(must=shown, must_not=hidden) if hidden or shown else None
        results = []
        with _as_sentences(self.path):
            held = self._client.get_collection(name).config.params.vectors.size
            if held != queries.shape[1]:
                raise other_length(queries.shape[1], held, provenance)
            for query in queries:
                points = self._client.query_points(
                    name,
                    query=query.tolist(),
                    limit=top,
                    query_filter=condition,
                    search_params=self._exactly,
                    with_payload=True,
                ).points
                results.append([Hit(float(point.score), _record(point.payload), str(point.id)) for point in points])
        return results[0] if np.ndim(vectors) == 1 else results

    def vectors(self, provenance: Provenance) -> tuple[np.ndarray, np.ndarray]:
        """Point numbers (texts) and vectors float32 (rows, length) of a provenance, all fetched from the server."""
        name = self._present(provenance)
        points = list(self._all_points(name, with_vectors=True))
        return np.array([str(point.id) for point in points]), np.array([point.vector for point in points], np.float32)

    def records(self, ids: Iterable[str] | None = None, *, series: str = "", source: str = "") -> dict[str, Record]:
        """Records by number. As `EmbeddingIndex.records`."""
        found = {}
        wanted = None if ids is None else {str(number) for number in ids}
        for name in self._collections():
            for point in self._all_points(name, condition=_condition(series=series, source=source)):
                if wanted is None or str(point.id) in wanted:
                    found[str(point.id)] = _record(point.payload)
        return found

    def spaces(self) -> list[Provenance]:
        """The provenances that have records."""
        return [space.provenance for space in self.info().spaces]

    def remove(self, *, source: str = "", series: str = "", ids: Iterable[str] = (), provenance: Provenance | None = None) -> int:
        """Remove records by one of these conditions. As `EmbeddingIndex.remove`. Empty collections stay: somebody may be adding to one."""
        from qdrant_client import models

        ids = [str(number) for number in ids]
        if sum((bool(source), bool(series), bool(ids), provenance is not None)) != 1:
            raise UsageError("Say which records to remove: by source, by series, by number or by provenance, one of these.")
        names = self._collections() if provenance is None else [_collection_name(provenance)]
        removed = 0
        with _as_sentences(self.path):
            for name in set(names) & set(self._collections()):
                if ids:
                    found = self._client.retrieve(name, ids, with_payload=False, with_vectors=False)
                else:
                    found = list(self._all_points(name, condition=_condition(series=series, source=source)))
                if found:
                    self._client.delete(name, models.PointIdsList(points=[point.id for point in found]), wait=True)
                removed += len(found)
        return removed

    def info(self) -> IndexInfo:
        """What the store holds; reads every record, without vectors."""
        spaces, records = [], []
        with _as_sentences(self.path):
            for name in self._collections():
                payloads = [point.payload for point in self._all_points(name)]
                if payloads:
                    length = self._client.get_collection(name).config.params.vectors.size
                    spaces.append(SpaceInfo(Provenance(*payloads[0]["provenance"]), len(payloads), length))
                    records += payloads
        kinds = {kind: sum(payload["kind"] == kind for payload in records) for kind in KINDS}
        different = [len({payload[name] for payload in records} - {""}) for name in ("series", "source")]
        shown = sum(bool(payload["thumbnail"]) for payload in records)
        return IndexInfo(self.path, 1, 0, len(records), tuple(spaces), {kind: n for kind, n in kinds.items() if n}, *different, shown)

    def _collections(self) -> list[str]:
        with _as_sentences(self.path):
            return sorted(found.name for found in self._client.get_collections().collections if found.name.startswith(PREFIX))

    def _present(self, provenance: Provenance) -> str:
        name = _collection_name(provenance)
        with _as_sentences(self.path):
            is_there = name in self._collections() and self._client.count(name, exact=True).count > 0
        if not is_there:
            raise other_space(provenance, self.spaces())
        return name

    def _make_collection(self, name: str, length: int, provenance: Provenance) -> None:
        from qdrant_client import models
        from qdrant_client.http.exceptions import UnexpectedResponse

        if name not in self._collections():
            try:
                self._client.create_collection(name, models.VectorParams(size=length, distance=models.Distance.COSINE))
            except (UnexpectedResponse, ValueError):
                if name not in self._collections():  # not made by somebody else a moment ago
                    raise
        held = self._client.get_collection(name).config.params.vectors.size
        if held != length:
            raise other_length(length, held, provenance)

    def _all_points(self, name: str, *, condition=None, with_vectors: bool = False) -> Iterator:
        offset = None
        while True:
            with _as_sentences(self.path):
                points, offset = self._client.scroll(
                    name, scroll_filter=condition, limit=_BATCH, offset=offset, with_payload=True, with_vectors=with_vectors
                )
            yield from points
            if offset is None:
                return


def _collection_name(provenance: Provenance) -> str:
    return PREFIX + hashlib.sha256(json.dumps(provenance.as_tuple).encode()).hexdigest()[:24]


def _point_id(content_hash: str) -> str:
    """Qdrant takes UUIDs as numbers: the first half of the hash."""
    return str(uuid.UUID(content_hash[:32]))


def _payload(record: Record, provenance: Provenance) -> dict:
    fields = {name: getattr(record, name) for name in _FIELDS}
    position = json.loads(json.dumps(record.position, default=lambda value: value.tolist()))
    thumbnail = base64.b64encode(record.thumbnail).decode()
    fields |= {"slice_index": int(record.slice_index), "position": position, "thumbnail": thumbnail}
    return {**fields, "provenance": provenance.as_tuple}


def _record(payload: dict) -> Record:
    fields = {name: payload[name] for name in _FIELDS}
    return Record(**fields, position=payload["position"], thumbnail=base64.b64decode(payload["thumbnail"]))


def _matches(name: str, value: str):
    from qdrant_client import models

    return models.FieldCondition(key=name, match=models.MatchValue(value=value))


def _condition(**wanted: str):
    """A filter for the fields that are not empty, None where all are."""
    from qdrant_client import models

    conditions = [_matches(name, value) for name, value in wanted.items() if value]
    return models.Filter(must=conditions) if conditions else None


@contextmanager
def _as_sentences(place: str) -> Iterator[None]:
    """Turn what qdrant-client and its transport raise inside the block into an IndexFault."""
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        advice = "check its key" if error.status_code in (401, 403) else "ask whoever runs it"
        sentence = f"The Qdrant server {place} refused ({error.status_code}); {advice}: what was stored is kept."
        raise IndexFault(sentence, "unreachable") from error
    except (ApiException, OSError) as error:
        raise IndexFault(f"The Qdrant server {place} does not answer; check the address and that it runs.", "unreachable") from error
    except RuntimeError as error:  # what the local mode raises for a folder that another program has open
        raise IndexFault(f"The Qdrant folder {place} cannot be used; another program may have it open.", "busy") from error
