"""Indexes and exported files from other people: whatever is in them, one sentence, in seconds, in bounded memory; nothing is stored."""

from __future__ import annotations

import io
import json
import random
import resource
import sqlite3
import struct
import zipfile

import numpy as np
import pytest
from search_support import SPACE, hash_of, made_up, same_record

from MedImageParseLib.errors import InputError, MedImageParseError
from MedImageParseLib.search import schema
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from MedImageParseLib.search.records import Record

WORK = {
    "info": lambda index, _folder: index.info(),
    "search": lambda index, _folder: index.search(np.ones(32), provenance=SPACE),
    "records": lambda index, _folder: index.records(),
    "studies": lambda index, _folder: index.studies(),
    "check": lambda index, _folder: index.check(),
    "export": lambda index, folder: index.export(folder / "all.npz"),
    "save": lambda index, folder: index.export(folder / "saved.npz", readable_only=True),
    "add": lambda index, _folder: index.add(made_up([1, 77]), SPACE),
    "remove": lambda index, _folder: index.remove(series="series-0"),
}
VALUES = [
    "'x'",
    "x'ff'",
    "-5",
    "0",
    "1 << 40",
    "9223372036854775807",
    "1.5",
    "zeroblob(3000000)",
    "replace(hex(zeroblob(50000)), '00', '[')",
]
COLUMNS = [
    ("spaces", ("model", "preprocessing", "length", "factor", "revision")),
    ("chunks", ("space", "count", "described", "vectors")),
    ("records", ("space", "hash", "chunk", "kind", "slice", "source", "series", "plane", "position", "added")),
    ("thumbnails", ("png",)),
]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work_through(path, folder) -> int:
    """Do all of WORK on an index; anything but a sentence escapes. Returns how many works ended in one."""
    sentences = 0
    for work in WORK.values():
        try:
            with EmbeddingIndex.open(path, create=False) as index:
                work(index, folder)
        except MedImageParseError as error:
            assert str(error) and "Traceback" not in str(error) and len(str(error)) < 600
            sentences += 1
    return sentences


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    path = tmp_path_factory.mktemp("healthy") / "a.index"
    with EmbeddingIndex.open(path) as index:
        index.add(made_up(range(25)), SPACE)
    return path


@pytest.fixture
def crafted(healthy, tmp_path):
    def craft(*statements: str):
        path = tmp_path / "crafted.index"
        path.write_bytes(healthy.read_bytes())
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return path

    return craft


@pytest.mark.parametrize(("table", "column"), [(table, column) for table, columns in COLUMNS for column in columns])
def test_any_value_in_any_column_ends_with_a_sentence(crafted, tmp_path, table, column):
    before = peak_mb()
    for value in VALUES:
        work_through(crafted(f"UPDATE {table} SET {column} = {value} WHERE id = (SELECT max(id) FROM {table})"), tmp_path)
    assert peak_mb() - before < 200


@pytest.mark.parametrize("value", ["'{'", "'[1]'", "'{\"a\":NaN}'", "replace(hex(zeroblob(50000)), '00', '[')", "cast(x'610062' as text)"])
def test_a_position_that_is_no_position_ends_with_a_sentence(crafted, tmp_path, value):
    statement = f"UPDATE texts SET text = {value} WHERE id = (SELECT position FROM records WHERE id = 3)"
    with EmbeddingIndex.open(crafted(statement)) as index, pytest.raises(IndexFault, match="record 3 is unreadable"):
        index.records()
    work_through(crafted(statement), tmp_path)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END",),
        ("CREATE VIEW more AS SELECT 1",),
        ("DROP TABLE texts", "CREATE VIEW texts AS SELECT id, load_extension('x') AS text FROM records"),
        (
            "DROP TABLE thumbnails",
            "CREATE VIEW thumbnails AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, x AS png FROM c",
        ),
        ("DROP TABLE texts",),
        ("DROP INDEX records_by_hash",),
        ("DROP TABLE texts", "CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT CHECK (load_extension('x')))"),
    ],
)
def test_tables_that_are_not_ours_to_the_letter_are_refused_before_they_are_read(crafted, statements):
    path = crafted(*statements)
    before = path.read_bytes()
    with pytest.raises(IndexFault, match="does not have the tables of an index") as caught:
        EmbeddingIndex.open(path)
    assert caught.value.code == "foreign" and path.read_bytes() == before


def test_nothing_in_an_index_is_trusted(healthy):
    with EmbeddingIndex.open(healthy) as index:
        assert index._connection.execute("PRAGMA trusted_schema").fetchone()[0] == 0


def test_a_reading_that_never_ends_meets_a_deadline(healthy, monkeypatch):
    monkeypatch.setattr(schema, "LEAST_SECONDS", 0.2)
    with (
        EmbeddingIndex.open(healthy) as index,
        pytest.raises(IndexFault, match="far longer to read than its size"),
        index.reading() as inside,
    ):
        inside.execute("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c").fetchall()


def test_any_bytes_changed_anywhere_end_with_a_sentence(healthy, tmp_path):
    whole = healthy.read_bytes()
    chance = random.Random(4)
    sentences = 0
    for _ in range(60):
        data = bytearray(whole)
        start = chance.choice([0, chance.randrange(len(data))])
        for _ in range(chance.randrange(1, 40)):
            data[(start + chance.randrange(300)) % len(data)] = chance.randrange(256)
        path = tmp_path / "changed.index"
        path.write_bytes(data)
        sentences += work_through(path, tmp_path)
    assert sentences  # some of the damage was met


# --- exported files ---


def as_json(value: object) -> np.ndarray:
    return np.frombuffer(value if isinstance(value, bytes) else json.dumps(value).encode(), np.uint8)


ROW = [hash_of(1), "slice", "/x", "s", "axial", 3, {"name": "n"}, "2026"]


def export_of(**changes: object) -> bytes:
    """A small export, by NumPy, with some of its arrays exchanged (None: left out)."""
    arrays: dict = {
        "format": np.array("medimageparse index 1"), "spaces": as_json([["medimageinsight", "", "", "w"]]),
        "vectors_0": np.ones((1, 4), np.float32), "records_0": as_json([ROW]), "thumbnails_0": np.zeros(0, np.uint8),
        "thumbnail_ends_0": np.array([0]),
    } | changes  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return file.getvalue()


def with_raw(name: str, content: bytes) -> bytes:
    """The same with the bytes of one array exchanged."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(export_of())) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, content if entry == f"{name}.npy" else old.read(entry))
    return file.getvalue()


def promising(shape: tuple, kind: str = "<f4") -> bytes:
    """The header of an array that promises much, and nothing behind it."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def row_with(place: int, value: object) -> np.ndarray:
    return as_json([[*ROW[:place], value, *ROW[place + 1 :]]])


DEEP = b"[" * 100_000
BAD = {
    "no spaces": export_of(spaces=None),
    "a space of five": export_of(spaces=as_json([["a"] * 5])),
    "a space of numbers": export_of(spaces=as_json([[1, 2, 3, 4]])),
    "spaces in an object": export_of(spaces=as_json({"a": 1})),
    "deep spaces": export_of(spaces=as_json(DEEP)),
    "deep records": export_of(records_0=as_json(DEEP)),
    "a huge number": export_of(records_0=as_json(b"[" + b"9" * 5000 + b"]")),
    **{f"slice {value}": export_of(records_0=row_with(5, value)) for value in (2**70, "3", 1.5, None, -(2**63), True)},
    **{f"source {value}": export_of(records_0=row_with(2, value)) for value in (5, None, ["a"], "a\0b")},
    **{f"hash {value}": export_of(records_0=row_with(0, value)) for value in (5, "A" * 64, "\u0661" * 64, "a" * 63)},
    **{f"position {value}": export_of(records_0=row_with(6, value)) for value in ("x", [1], {"a": float("nan")})},
    "deep position": export_of(records_0=as_json(json.dumps([ROW]).replace('{"name": "n"}', "[" * 800 + "]" * 800).encode())),
    "kind": export_of(records_0=row_with(1, "film")),
    "a short record": export_of(records_0=as_json([ROW[:5]])),
    "no numbers": export_of(vectors_0=np.full((1, 4), np.nan, np.float32)),
    "zero": export_of(vectors_0=np.zeros((1, 4), np.float32)),
    "letters": export_of(vectors_0=np.array([["a"]])),
    "objects": export_of(vectors_0=np.array([[{}]], object)),
    "complex": export_of(vectors_0=np.ones((1, 4), np.complex64)),
    "three axes": export_of(vectors_0=np.ones((1, 2, 2), np.float32)),
    "no axis": export_of(vectors_0=np.float32(1)),
    "no length": export_of(vectors_0=np.ones((1, 0), np.float32)),
    "overflow": export_of(vectors_0=np.full((1, 4), 1e300)),
    "terabytes": with_raw("vectors_0", promising((10**9, 1024))),
    "more than there are bytes": with_raw("vectors_0", promising((2**62, 4))),
    "less than nothing": with_raw("vectors_0", promising((-1, 4))),
    "a deep header": with_raw("vectors_0", b"\x93NUMPY\2\0" + (200_000).to_bytes(4, "little") + b"(" * 200_000),
    "a short deep header": with_raw("vectors_0", b"\x93NUMPY\2\0" + (3000).to_bytes(4, "little") + b"(" * 3000),
    "records of gigabytes": with_raw("records_0", promising((10**11,), "|u1")),
    "zeros without end": lambda: with_raw("thumbnails_0", promising((2**27,), "|u1") + bytes(2**27)),
    **{f"ends {value}": export_of(thumbnail_ends_0=np.array([value])) for value in (-5, 1.5, "a", 10**9)},
    "a list of formats": export_of(format=np.array(["a"])),
    "a pickle": export_of(format=np.array({"a": 1}, object)),
    "half a zip": b"PK\3\4junk",
    "an array": promising((2,)),
    "nothing": b"",
    "factors": export_of(factors=as_json([float("inf")])),
    "too few factors": export_of(factors=as_json([])),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_an_export_that_was_made_up_is_one_sentence_and_nothing_of_it_is_stored(tmp_path, name):
    content = BAD[name]
    (tmp_path / "all.npz").write_bytes(content() if callable(content) else content)
    before = peak_mb()
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        with pytest.raises(InputError) as caught:
            index.import_(tmp_path / "all.npz")
        assert index.info().records == 0
    assert "all.npz" in str(caught.value) or "vector" in str(caught.value)
    assert peak_mb() - before < 150


def test_an_export_with_one_bad_space_stores_nothing_of_the_good_one(tmp_path):
    both = as_json([["medimageinsight", "", "", "w"], ["medimageinsight", "", "", "v"]])
    second = {"vectors_1": np.ones((1, 4), np.float32), "records_1": row_with(5, "3"), "thumbnails_1": np.zeros(0, np.uint8)}
    (tmp_path / "all.npz").write_bytes(export_of(spaces=both, thumbnail_ends_1=np.array([0]), **second))
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        with pytest.raises(InputError, match="slice index is not a whole number"):
            index.import_(tmp_path / "all.npz")
        assert index.info().records == 0


def test_an_export_of_an_older_version_is_still_read(tmp_path):
    (tmp_path / "all.npz").write_bytes(export_of())
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        assert index.import_(tmp_path / "all.npz") == 1
        (record,) = index.records().values()
        assert same_record(record, Record(hash_of(1), "slice", "/x", "s", "axial", 3, {"name": "n"}, added="2026"))


def test_any_bytes_of_an_export_changed_end_with_a_sentence_or_a_sound_index(tmp_path):
    with EmbeddingIndex.open(tmp_path / "whole.index") as index:
        index.add(made_up(range(5), length=4), SPACE)
        index.export(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    chance = random.Random(9)
    for turn in range(80):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "all.npz").write_bytes(data)
        with EmbeddingIndex.open(tmp_path / f"{turn}.index") as index:
            try:
                index.import_(tmp_path / "all.npz")
            except InputError:
                assert index.info().records == 0
            assert index.check().is_sound
