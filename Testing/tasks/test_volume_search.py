"""Whole volumes found in an index of slices, against computations of its own; what the index holds is not sent again."""

from __future__ import annotations

import numpy as np
import pytest
from embed_support import made_up_ct, reached

from MedImageParseLib import index_add, index_search
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.search.index import EmbeddingIndex


def turned(volume: Volume) -> Volume:
    """Another body: the block on the other side, brighter."""
    voxels = np.ascontiguousarray(volume.voxels[:, :, ::-1]) // 2
    return Volume(voxels, volume.ijk_to_ras, volume.modality)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """(index with two volumes, the query, a client, the double); the query is like the first volume."""
    path = tmp_path_factory.mktemp("volumes") / "a.index"
    with reached() as (double, client):
        index_add(path, [made_up_ct(6), turned(made_up_ct(6))], client=client)
        query = Volume(made_up_ct(6).voxels[:5] + np.int16(20), made_up_ct(6).ijk_to_ras, "CT")
        yield path, query, client, double


def vectors(path):
    """The query's are not in the index: those of each series, (slices, length), in slice order."""
    with EmbeddingIndex.open(path) as index:
        (space,) = index.spaces()
        ids, held = index.vectors(space)
        records = index.records(ids.tolist())
    found = {}
    for number, vector in zip(ids.tolist(), held):
        found.setdefault(records[number].series, []).append(vector)
    return {series: np.array(own) for series, own in found.items()}


@pytest.mark.parametrize("way", ["vote", "mean", "statistics"])
def test_volumes_are_ranked_as_an_independent_computation_says(volumes, way):
    from MedImageParseLib import embed

    path, query, client, _double = volumes
    asked = np.stack([record.vector for record in embed(query, client=client).records])
    truth = {}
    for series, own in vectors(path).items():
        near = (asked @ own.T).max(axis=1)
        if way == "vote":
            truth[series] = near.mean()
        elif way == "mean":
            a, b = asked.mean(axis=0), own.mean(axis=0)
            truth[series] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        else:
            a, b = (
                np.concatenate([v.mean(0), v.std(0, ddof=1), v.min(0), *np.percentile(v, (25, 50, 75), axis=0), v.max(0)])
                for v in (asked, own)
            )
            truth[series] = 1 / (1 + np.linalg.norm(a - b))
    found = index_search(path, image=query, volumes=way, client=client)
    assert [hit.record.series for hit in found.hits] == sorted(truth, key=truth.get, reverse=True)
    assert [hit.similarity for hit in found.hits] == pytest.approx(sorted(truth.values(), reverse=True), abs=1e-5)
    assert found.report["volumes"] == {"by": way, "compared": 2}
    if way == "vote":
        assert [hit["votes"] for hit in found.report["hits"]] == [1.0, 0.0]


def test_slices_that_the_index_holds_are_not_sent_again(volumes):
    path, _query, client, double = volumes
    before = len(double.rows)
    found = index_search(path, image=made_up_ct(6), slices="2", client=client, top=1)
    assert len(double.rows) == before and found.hits[0].record.slice_index == 2 and found.hits[0].similarity == pytest.approx(1, abs=1e-6)
    index_search(path, image=made_up_ct(7), volumes="vote", client=client)
    assert len(double.rows) == before + 1  # only the seventh slice


def test_a_volume_can_be_left_out_of_its_own_answer(volumes):
    path, _query, client, _double = volumes
    (hit,) = index_search(path, image=made_up_ct(6), volumes="mean", other_volumes=True, client=client).hits
    assert hit.similarity < 0.999


def test_whole_volumes_need_a_volume_to_ask_with(volumes, capsys):
    path, _query, client, _double = volumes
    with pytest.raises(UsageError, match="name one as the image"):
        index_search(path, text="liver", volumes="vote", client=client)
    assert main(["index", "search", str(path), "--text", "liver", "--volumes", "nearest", "--endpoint", "http://127.0.0.1:9/score"]) == 2
    assert "vote" in capsys.readouterr().err
