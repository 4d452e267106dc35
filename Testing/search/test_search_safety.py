"""What is stored stays stored: kill, full disk, two writers, damage, newer and foreign files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from search_support import SPACE, hash_of, in_child, made_up, same_record, unit_vectors

from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex

PAGE = 65536

ADD_FOREVER = """
import sys
from MedImageParseLib.search.index import EmbeddingIndex
from search_support import SPACE, made_up
first = int(sys.argv[2])
ready = [made_up(range(n, n + 40), length=1024, thumbnail_bytes=3000) for n in range(first, first + 2000, 40)]
with EmbeddingIndex.open(sys.argv[1]) as index:
    print("ready", flush=True)
    for n, records in zip(range(first, first + 2000, 40), ready):
        index.add(records, SPACE)
        print(n + 40, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_kill_in_the_middle_of_adding_loses_nothing_that_was_stored(tmp_path):
    path, first = tmp_path / "a.index", 0
    for turn in range(4):
        child = in_child(ADD_FOREVER, path, first)
        assert child.stdout.readline() == "ready\n"
        told = [child.stdout.readline() for _ in range(1 + turn)]
        delay = random.Random(turn).uniform(0.0, 0.02)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=delay)
        child.kill()
        rest, _ = child.communicate()
        stored = int((told + rest.split("\n")[:-1])[-1])
        with EmbeddingIndex.open(path) as index:
            report = index.check()
            assert report.is_sound and report.records >= stored and report.records % 40 == 0
            known = index.has([hash_of(number) for number in range(stored)], SPACE)
            assert len(known) == stored
            first = report.records


def test_a_kill_while_pages_are_being_written_is_undone_by_the_next_to_open(tmp_path):
    path = tmp_path / "a.index"
    with EmbeddingIndex.open(path) as index:
        index.add(made_up(range(200), length=1024), SPACE)
    code = """
import os, signal, sys
from MedImageParseLib.search import rows
from MedImageParseLib.search.index import EmbeddingIndex
from search_support import SPACE, made_up
index = EmbeddingIndex.open(sys.argv[1])
index._connection.execute("PRAGMA cache_size = 4")  # pages go to the file long before the transaction ends
def insert_and_die(*arguments, insert=rows._insert_vector, calls=[]):
    calls.append(insert(*arguments))
    if len(calls) == 400:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]
rows._insert_vector = insert_and_die
index.add(made_up(range(1000, 2000), length=1024), SPACE)
"""
    child = in_child(code, path)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{path}-journal") > 0
    with EmbeddingIndex.open(path) as index:
        assert index.info().records == 200 and index.check().is_sound
        assert index.add(made_up(range(1000, 1100), length=1024), SPACE) == 100
    assert not os.path.exists(f"{path}-journal")


def test_two_programs_may_add_to_one_index_at_the_same_time(tmp_path):
    path = tmp_path / "a.index"
    code = """
import sys
from MedImageParseLib.search.index import EmbeddingIndex
from search_support import SPACE, made_up
first, last = int(sys.argv[2]), int(sys.argv[3])
with EmbeddingIndex.open(sys.argv[1]) as index:
    print(sum(index.add(made_up(range(n, n + 20)), SPACE) for n in range(first, last, 20)))
"""
    children = [in_child(code, path, 0, 600), in_child(code, path, 300, 900)]
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert sum(int(out) for out, _ in outputs) == 900
    with EmbeddingIndex.open(path) as index:
        assert index.check().is_sound
        assert index.has([hash_of(number) for number in range(900)], SPACE) == {hash_of(number) for number in range(900)}


def test_an_open_index_sees_what_another_program_adds_and_removes(tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index") as one, EmbeddingIndex.open(tmp_path / "a.index") as other:
        one.add(made_up(range(50)), SPACE)
        assert len(other.vectors(SPACE)[0]) == 50
        one.add(made_up(range(50, 80)), SPACE)
        one.remove(series="series-2")
        assert len(other.vectors(SPACE)[0]) == 70
        query = made_up([75])[0].vector
        assert other.search(query, provenance=SPACE, top=1)[0].record.content_hash == hash_of(75)


def test_a_writer_that_never_finishes_gives_a_sentence(tmp_path):
    path = tmp_path / "a.index"
    with EmbeddingIndex.open(path, wait_s=0.1) as index:
        index.add(made_up(range(5)), SPACE)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(IndexFault, match="in use by another program"):
            index.add(made_up(range(5, 9)), SPACE)
        assert len(index.search(unit_vectors(1, 32)[0], provenance=SPACE)) == 5
        blocker.close()
        assert index.add(made_up(range(5, 9)), SPACE) == 4


FILL = """
import resource, sys
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from search_support import SPACE, made_up
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
stored = 0
with EmbeddingIndex.open(sys.argv[1]) as index:
    try:
        for n in range(0, 4000, 100):
            stored += index.add(made_up(range(n, n + 100), length=1024), SPACE)
    except IndexFault as fault:
        print(stored, fault.code, index.info().records, len(index.search(made_up([7], length=1024)[0].vector, provenance=SPACE)), fault)
"""


def _check_after_filling(path, output):
    stored, kind, held, hits, sentence = output.split(maxsplit=4)
    assert kind == "full" and stored == held and hits == "10" and "what was stored is kept" in sentence
    with EmbeddingIndex.open(path) as index:
        assert index.check().is_sound and index.info().records == int(stored) >= 100
    return int(stored)


def test_a_file_size_limit_gives_a_sentence_and_the_next_run_goes_on(tmp_path):
    path = tmp_path / "a.index"
    child = in_child(FILL, path, 3_000_000)
    output, errors = child.communicate()
    assert child.returncode == 0, errors
    stored = _check_after_filling(path, output)
    with EmbeddingIndex.open(path) as index:
        assert index.add(made_up(range(stored + 100), length=1024), SPACE) == 100


def test_a_full_disk_gives_a_sentence_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    try:
        child = in_child(FILL, disk / "a.index")
        output, errors = child.communicate()
        assert child.returncode == 0, errors
        _check_after_filling(disk / "a.index", output)
        with EmbeddingIndex.open(disk / "a.index") as index:
            held = index.info().records
            with pytest.raises(IndexFault, match="no room on the disk"):
                index.add(made_up(range(held, held + 100), length=1024), SPACE)
            subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
            assert index.add(made_up(range(held + 100), length=1024), SPACE) == 100 and index.check().is_sound
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_database_that_may_not_grow_gives_a_sentence(tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index") as index:
        index.add(made_up(range(100), length=1024), SPACE)
        pages = index._connection.execute("PRAGMA page_count").fetchone()[0]
        index._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(IndexFault, match="no room on the disk") as caught:
            index.add(made_up(range(100, 400), length=1024), SPACE)
        assert caught.value.code == "full" and index.info().records == 100 and index.check().is_sound


# Blocks of vectors, short ones: every page is damaged in turn.
RECORDS, LENGTH = 300, 256


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    path = tmp_path_factory.mktemp("healthy") / "a.index"
    with EmbeddingIndex.open(path) as index:
        index.add(made_up(range(RECORDS), length=LENGTH, thumbnail_bytes=800), SPACE)
    return path


@pytest.mark.parametrize(("content", "step"), [("noise", 1), ("zeros", 4)])
def test_whichever_page_is_damaged_the_rest_can_be_read_and_saved(healthy, tmp_path, content, step):
    whole = healthy.read_bytes()
    originals = {record.content_hash: record for record in made_up(range(RECORDS), length=LENGTH, thumbnail_bytes=800)}
    lost = []
    for page in range(1, len(whole) // PAGE, step):
        filling = random.Random(page).randbytes(PAGE) if content == "noise" else bytes(PAGE)
        path = tmp_path / "damaged.index"
        path.write_bytes(whole[: page * PAGE] + filling + whole[(page + 1) * PAGE :])
        before = path.read_bytes()
        with EmbeddingIndex.open(path) as index:
            report = index.check()
            assert not report.is_sound and "is damaged" in report.sentence and "export" in report.sentence
            saved = index.export(tmp_path / "saved.npz", readable_only=True)
            assert saved == report.readable
        assert path.read_bytes() == before
        with EmbeddingIndex.open(tmp_path / "new.index") as fresh:
            assert fresh.import_(tmp_path / "saved.npz") == saved
            assert fresh.check().is_sound
            for record, vector in fresh.rows_of(SPACE) if saved else ():
                assert np.array_equal(vector, originals[record.content_hash].vector)
                if not report.incomplete:
                    assert same_record(record, originals[record.content_hash])
        (tmp_path / "new.index").unlink()
        lost.append(RECORDS - saved)
    # The one page that leads to all blocks of vectors takes all with it; any other at most one block.
    assert sorted(lost)[-2] <= 128 and lost.count(RECORDS) <= 1 and lost.count(0) >= 2


def test_a_damaged_index_is_searched_right_or_not_at_all(healthy, tmp_path):
    whole, refused = healthy.read_bytes(), 0
    query = made_up([123], length=LENGTH)[0].vector
    for page in range(1, len(whole) // PAGE):
        path = tmp_path / "damaged.index"
        path.write_bytes(whole[: page * PAGE] + random.Random(page).randbytes(PAGE) + whole[(page + 1) * PAGE :])
        with EmbeddingIndex.open(path) as index:
            try:
                hit = index.search(query, provenance=SPACE, top=1)[0]
                assert hit.record.content_hash == hash_of(123) and hit.similarity == pytest.approx(1.0, abs=1e-6)
            except IndexFault as fault:
                refused += 1
                assert fault.code == "damaged" or "empty" in str(fault), fault
    assert refused > 10


def test_one_flipped_bit_in_a_vector_is_found(healthy, tmp_path):
    data = bytearray(healthy.read_bytes())
    place = data.find(made_up([200], length=LENGTH)[0].vector[40:80].tobytes())
    data[place + 3] ^= 0x10
    path = tmp_path / "a.index"
    path.write_bytes(data)
    with EmbeddingIndex.open(path) as index:
        with pytest.raises(IndexFault, match="do not match their checksums"):
            index.vectors(SPACE)
        report = index.check()
        assert (
            report.unreadable == (201,)
            and report.readable == RECORDS - 1
            and f"1 of {RECORDS} records cannot be read (numbers 201)" in report.sentence
        )


def test_an_index_of_a_newer_version_is_left_untouched(healthy, tmp_path):
    path = tmp_path / "newer.index"
    shutil.copy(healthy, path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(IndexFault, match="made by a newer version .*format 4; this one reads up to 3.*not touched") as caught:
        EmbeddingIndex.open(path)
    assert caught.value.code == "newer" and path.read_bytes() == before and os.listdir(tmp_path) == ["newer.index"]


def test_a_file_that_is_no_index_is_left_untouched(tmp_path):
    note, database = tmp_path / "notes.txt", tmp_path / "other.db"
    note.write_text("These are notes.\n" * 20)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE patients (name TEXT)")
    connection.close()
    for path, words in ((note, "not an index"), (database, "another program")):
        before = path.read_bytes()
        with pytest.raises(IndexFault, match=words):
            EmbeddingIndex.open(path)
        assert path.read_bytes() == before


def test_a_missing_index_is_made_only_where_that_is_wanted(tmp_path):
    with pytest.raises(IndexFault, match="There is no index at"):
        EmbeddingIndex.open(tmp_path / "a.index", create=False)
    with pytest.raises(IndexFault, match="folder for it does not exist"):
        EmbeddingIndex.open(tmp_path / "nowhere" / "a.index")
    with pytest.raises(IndexFault):
        EmbeddingIndex.open(tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_index_cut_short_says_that_it_is_damaged(healthy, tmp_path):
    path = tmp_path / "a.index"
    for size in (50, 99, 3000, PAGE, 20 * PAGE):
        path.write_bytes(healthy.read_bytes()[:size])
        with pytest.raises(IndexFault, match="damaged|not an index"), EmbeddingIndex.open(path) as index:
            index.vectors(SPACE)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_new_index_is_readable_by_its_owner_only(tmp_path):
    with EmbeddingIndex.open(tmp_path / "a.index"):
        assert (tmp_path / "a.index").stat().st_mode & 0o777 == 0o600


def test_a_closed_index_says_so(tmp_path):
    index = EmbeddingIndex.open(tmp_path / "a.index")
    index.close()
    index.close()
    with pytest.raises(IndexFault, match="is closed"):
        index.info()


def test_a_read_only_index_is_searched_but_not_changed(healthy):
    code = """
import os, sys
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex
from search_support import SPACE, made_up
query = made_up([5], length=256)
if os.geteuid() == 0:  # root may write anything
    os.setgid(65534)
    os.setuid(65534)
with EmbeddingIndex.open(sys.argv[1]) as index:
    print(len(index.search(query[0].vector, provenance=SPACE)))
    try:
        index.add(made_up([1000], length=256), SPACE)
    except IndexFault as fault:
        print(fault.code)
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.index"
        shutil.copy(healthy, path)
        path.chmod(0o444)
        os.chmod(folder, 0o555)
        child = in_child(code, path)
        output, errors = child.communicate()
        os.chmod(folder, 0o755)
    assert output.split() == ["10", "read-only"], errors
