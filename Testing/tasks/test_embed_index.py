"""Many images into an index: what is there is not sent again, what has come is kept, and the recipe and the model are never mixed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from embed_support import made_up_ct, reached
from PIL import Image
from places import LIBRARY, ROOT

from doubles.insight import Form, InsightDouble, image_vector
from MedImageParseLib import embed, index_add, index_info, index_remove, index_search
from MedImageParseLib.errors import Cancelled, EndpointError, InputError, UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.search.faults import IndexFault
from MedImageParseLib.search.index import EmbeddingIndex

DEMO = Form(engine="local demo engine, not MedImageInsight")


def records_of(path) -> list:
    with EmbeddingIndex.open(path, create=False) as index:
        return list(index.records().values())


def save_picture(path, seed: int, size: tuple[int, int] = (90, 120)) -> str:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(path)
    return str(path)


def test_each_slice_becomes_a_record_that_tells_where_it_is(tmp_path):
    volume = made_up_ct()
    with reached() as (_double, client):
        result = index_add(tmp_path / "a.index", volume, client=client)
    records = sorted(records_of(tmp_path / "a.index"), key=lambda record: record.slice_index)
    assert result.embedded == 12 and [record.slice_index for record in records] == list(range(12))
    assert {(record.kind, record.plane, record.series) for record in records} == {("slice", "axial", result.tallies[0].series)}
    assert records[0].position["spacing_mm"] == [2.0, 2.0, 2.0]
    with Image.open(io.BytesIO(records[3].thumbnail)) as thumbnail:
        assert thumbnail.size == (128, 128) and not thumbnail.info


def test_a_second_run_sends_nothing_and_a_longer_one_only_what_is_new(tmp_path):
    volume = made_up_ct()
    with reached() as (double, client):
        index_add(tmp_path / "a.index", volume, client=client, every=2)
        assert len(double.rows) == 6
        again = index_add(tmp_path / "a.index", volume, client=client)
        assert len(double.rows) == 12 and (again.embedded, again.already_there) == (6, 6)
        assert index_add(tmp_path / "a.index", volume, client=client).embedded == 0
    assert len(double.rows) == len(set(double.rows)) == 12


def test_an_endpoint_that_fails_half_way_leaves_what_came_and_the_next_run_goes_on(tmp_path):
    double = InsightDouble()
    double.fail_after = 7
    with reached(double) as (_double, client):
        first = index_add(tmp_path / "a.index", made_up_ct(), client=client, at_once=2, batch=1)
        assert "the model failed" in first.failure and first.embedded == len(double.rows) == index_info(tmp_path / "a.index").records == 7
        double.fail_after = None
        second = index_add(tmp_path / "a.index", made_up_ct(), client=client)
    assert not second.failure and (second.embedded, second.already_there) == (5, 7)
    assert len(double.rows) == len(set(double.rows)) == 12


def test_an_endpoint_that_fails_at_once_leaves_no_index_behind(tmp_path):
    double = InsightDouble()
    double.fail_after = 0
    with reached(double) as (_double, client), pytest.raises(EndpointError):
        index_add(tmp_path / "a.index", made_up_ct(), client=client)
    assert not any(tmp_path.glob("*.index*"))


def test_a_cancelled_run_keeps_what_had_come(tmp_path):
    cancellation = Cancellation()

    def progress(stage: str, done: float, total: float) -> None:
        if stage == "embedding" and done >= 3:
            cancellation.cancel()

    with reached(InsightDouble(latency_s=0.15)) as (double, client):
        with pytest.raises(Cancelled):
            index_add(tmp_path / "a.index", made_up_ct(), client=client, at_once=1, batch=1, progress=progress, cancellation=cancellation)
        kept = index_info(tmp_path / "a.index").records
        assert 3 <= kept < 12
        assert index_add(tmp_path / "a.index", made_up_ct(), client=client).already_there == kept


def test_a_killed_run_loses_nothing_that_was_stored_and_the_next_one_goes_on(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(LIBRARY)!r}, {str(ROOT / "Testing")!r}]
        from embed_support import made_up_ct
        from MedImageParseLib import index_add
        index_add(sys.argv[1], made_up_ct(24), endpoint=sys.argv[2], at_once=2, batch=1)
    """)
    )
    path = tmp_path / "a.index"
    with reached(InsightDouble(latency_s=0.1)) as (double, client):
        process = subprocess.Popen([sys.executable, str(script), str(path), client.url], env=dict(os.environ))
        try:
            deadline = time.monotonic() + 30
            while len(double.rows) < 12 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.3)
        seen = len(double.rows)
        kept = index_info(path).records
        assert 1 <= kept <= seen < 24
        double.latency_s = 0.0
        result = index_add(path, made_up_ct(24), client=client)
    assert (result.embedded, result.already_there) == (24 - kept, kept)
    assert len(double.rows) == seen + 24 - kept
    with EmbeddingIndex.open(path, create=False) as index:
        assert index.check().is_sound and index.info().records == 24


def test_vectors_of_a_local_engine_and_of_the_model_stay_apart(tmp_path):
    path = tmp_path / "a.index"
    with reached(DEMO) as (demo, client):
        index_add(path, made_up_ct(4), client=client)
        index_add(path, made_up_ct(4), client=client)
        assert len(demo.rows) == 5  # one made-up picture asks who answers
    with reached() as (real, client):
        assert index_add(path, made_up_ct(4), client=client).embedded == 4
        assert {space.provenance.engine: space.records for space in index_info(path).spaces} == {DEMO.engine: 4, "": 4}
        found = index_search(path, image=made_up_ct(4), slices="2", client=client)
    assert len(found.hits) == 4 and found.provenance.engine == ""


def test_another_deployment_cannot_search_what_this_one_indexed(tmp_path):
    with reached(deployment="blue") as (_double, client):
        index_add(tmp_path / "a.index", made_up_ct(3), client=client)
    with reached(deployment="green") as (double, client), pytest.raises(IndexFault, match="blue"):
        index_search(tmp_path / "a.index", image=made_up_ct(3), slices="1", client=client)
    assert double.requests == []


def test_a_query_is_made_by_the_recipe_of_the_index(tmp_path):
    with reached() as (double, client):
        index_add(tmp_path / "a.index", made_up_ct(), client=client, window="-160,240", fit="stretch")
        found = index_search(tmp_path / "a.index", image=made_up_ct(), slices="5", client=client, top=1)
    assert found.hits[0].similarity == pytest.approx(1.0, abs=1e-6) and found.hits[0].record.slice_index == 5
    assert len(double.rows) == 12  # the very same picture, which the index holds: it is not sent again


def test_an_index_of_two_recipes_is_never_searched_in_one_go(tmp_path):
    path = tmp_path / "a.index"
    with reached() as (_double, client):
        index_add(path, made_up_ct(6), client=client)
        index_add(path, made_up_ct(3), client=client, window="lung")
        found = index_search(path, image=made_up_ct(6), slices="1", client=client)
        assert len(found.hits) == 6 and "never mixed" in found.report["warnings"][0]
        other = index_info(path).spaces[1].provenance.preprocessing
        assert "window=lung" in other
        assert len(index_search(path, image=made_up_ct(6), slices="1", recipe=other, client=client).hits) == 3


def test_similarities_are_the_cosines_of_the_vectors_that_the_endpoint_gave(tmp_path):
    double = InsightDouble()
    double.keep = True
    with reached(double) as (_double, client):
        index_add(tmp_path / "a.index", made_up_ct(8), client=client, slices="0:7")
        pngs = list(double.pictures)
        found = index_search(tmp_path / "a.index", image=made_up_ct(8), slices="7", client=client)
    query = np.array(image_vector(double.pictures[-1]))
    expected = sorted((float(query @ np.array(image_vector(png))) for png in pngs), reverse=True)
    assert [hit.similarity for hit in found.hits] == pytest.approx(expected, abs=1e-5)


def test_a_text_finds_images_and_shares_no_request_with_them(tmp_path):
    with reached() as (double, client):
        index_add(tmp_path / "a.index", made_up_ct(5), client=client)
        found = index_search(tmp_path / "a.index", text="computed tomography abdomen liver", client=client, top=3)
    assert len(found.hits) == 3 and double.texts == ["computed tomography abdomen liver"]
    assert [kind for kind, _rows in double.requests].count("text") == 1


def test_whole_volumes_are_indexed_and_searched_by_their_pooled_vectors(tmp_path):
    volumes = [made_up_ct(5), made_up_ct(9), Volume(made_up_ct(7).voxels[:, ::-1].copy(), np.diag([2.0, 2.0, 2.0, 1.0]), "CT")]
    with reached() as (double, client):
        result = index_add(tmp_path / "a.index", volumes, client=client, pool="mean")
        sent = len(double.rows)
        assert index_add(tmp_path / "a.index", volumes, client=client, pool="mean").already_there == 3
        assert result.embedded == 3 and sent == len(double.rows) == 21
        found = index_search(tmp_path / "a.index", image=volumes[1], client=client)
    assert [hit.record.kind for hit in found.hits] == ["volume"] * 3
    assert found.hits[0].record.series == result.tallies[1].series and found.hits[0].similarity == pytest.approx(1.0, abs=1e-5)


def test_names_paths_and_thumbnails_can_be_left_out(tmp_path):
    name = save_picture(tmp_path / "Doe_John.png", 1)
    with reached() as (_double, client):
        index_add(tmp_path / "a.index", name, client=client, paths=False, thumbnails=False)
    (record,) = records_of(tmp_path / "a.index")
    assert record.source == "" and record.thumbnail == b"" and b"Doe" not in (tmp_path / "a.index").read_bytes()


def test_a_folder_stands_for_the_images_in_it_and_a_damaged_one_costs_only_itself(tmp_path):
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    save_picture(folder / "a.png", 1)
    save_picture(folder / "below" / "b.png", 2)
    (folder / "c.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("nothing to see")
    with reached() as (_double, client):
        result = index_add(tmp_path / "a.index", folder, client=client)
    assert result.embedded == 2 and "c.png" in result.failure and "1 of 3 inputs" in result.failure
    assert sorted(record.position["name"] for record in records_of(tmp_path / "a.index")) == ["a.png", "b.png"]


def test_a_missing_or_damaged_only_input_is_its_own_error(tmp_path):
    with reached() as (double, client):
        with pytest.raises(InputError, match="no file or folder"):
            index_add(tmp_path / "a.index", [save_picture(tmp_path / "a.png", 1), tmp_path / "absent.png"], client=client)
        (tmp_path / "b.png").write_bytes(b"no picture")
        with pytest.raises(InputError, match="b.png"):
            index_add(tmp_path / "a.index", tmp_path / "b.png", client=client)
    assert double.requests == [] and not (tmp_path / "a.index").exists()


def test_a_removed_file_is_embedded_again(tmp_path):
    names = [save_picture(tmp_path / f"{number}.png", number) for number in range(3)]
    with reached() as (double, client):
        index_add(tmp_path / "a.index", names, client=client)
        assert index_remove(tmp_path / "a.index", source=names[1]) == 1
        assert index_add(tmp_path / "a.index", names, client=client).embedded == 1
    assert len(double.rows) == 4


def test_a_query_without_its_slice_is_refused(tmp_path):
    with reached() as (double, client):
        index_add(tmp_path / "a.index", made_up_ct(3), client=client)
        sent = len(double.requests)
        with pytest.raises(UsageError, match="0 to 2"):
            index_search(tmp_path / "a.index", image=made_up_ct(3), client=client)
    assert len(double.requests) == sent


def test_embed_keeps_the_order_of_inputs_and_slices_and_copies(tmp_path):
    twice = made_up_ct(4)
    twice.voxels[2] = twice.voxels[1]
    picture = Volume(np.random.default_rng(0).integers(0, 255, (1, 60, 60), dtype=np.uint8), is_picture=True)
    with reached(InsightDouble(latency_s=0.002)) as (_double, client):
        result = embed([picture, twice], client=client, at_once=4, batch=1, output=tmp_path / "v.npz")
    assert [record.slice_index for record in result.records] == [-1, 0, 1, 2, 3]
    assert np.array_equal(result.vectors[2], result.vectors[3])
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert np.array_equal(file["vectors"], result.vectors) and file["slice"].tolist() == [-1, 0, 1, 2, 3]
        assert str(file["preprocessing"]) == result.provenance.preprocessing and float(file["scaling_factor"]) == 4.513362
