"""The MCP server, asked by a real client of the package `mcp`: every tool works on files inside the folders, and on nothing else."""

from __future__ import annotations

import json
import os
import sys
import zipfile

import numpy as np
import pytest
from exactness_support import ORIENTATIONS, RANGES, affine_of, write_phantom
from PIL import Image
from places import ROOT

from doubles.endpoint import EndpointDouble
from doubles.insight import Form, InsightDouble
from doubles.truth import GrayRanges
from MedImageParseLib.agents.folders import Folders
from MedImageParseLib.agents.server import build_server
from MedImageParseLib.agents.tools import Tools
from MedImageParseLib.api.embed import index_add
from MedImageParseLib.errors import InputError, MedImageParseError, UsageError
from MedImageParseLib.files.read import read_image

mcp = pytest.importorskip("mcp", reason="the package mcp is not installed")
anyio = pytest.importorskip("anyio", reason="the package anyio is not installed")
KEY = "sEcReTkEy-0123456789"
TARGET = next(iter(RANGES))


@pytest.fixture
def places(tmp_path):
    """A folder that may be used, with a volume in it, and one that may not."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    write_phantom(inside / "phantom.nii.gz", affine_of(*ORIENTATIONS[20]))
    (outside / "secret.nii.gz").write_bytes((inside / "phantom.nii.gz").read_bytes())
    os.symlink(outside / "secret.nii.gz", inside / "link.nii.gz")
    (inside / "series").mkdir()
    os.symlink(outside, inside / "series" / "more")
    (inside / "far.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = ../outside/secret.raw\n"
    )
    return inside, outside


def test_a_client_lists_and_calls_every_tool_and_is_refused_what_lies_outside(places, tmp_path):
    inside, outside = places
    double = EndpointDouble(GrayRanges(RANGES))
    told: list[tuple[float, str]] = []

    async def progress(done, total, message):
        told.append((done, message))

    async def ask(client):
        answers = {}

        async def call(name, **given):
            result = await client.call_tool(name, given, progress_callback=progress)
            return result.is_error, result.content[0].text

        answers["tools"] = (await client.list_tools()).tools
        answers["check"] = await call("check", model="medimageparse3d")
        answers["targets"] = await call("targets", modality="CT")
        answers["segment"] = await call(
            "segment", image="phantom.nii.gz", prompts=[TARGET], model="medimageparse3d", labels="labels.nii.gz"
        )
        answers["again"] = await call("segment", image="phantom.nii.gz", prompts=[TARGET], model="medimageparse3d", labels="labels.nii.gz")
        answers["evaluate"] = await call("evaluate", reference="labels.nii.gz", prediction=str(inside / "labels.nii.gz"))
        answers["search"] = await call("search", index="../outside/some.index", text="chest")
        for path in ("../outside/secret.nii.gz", str(outside / "secret.nii.gz"), "link.nii.gz", "series", "far.mhd"):
            answers[path] = await call("segment", image=path, prompts=[TARGET], model="medimageparse3d", labels="new.nii.gz")
        answers["written"] = await call(
            "segment", image="phantom.nii.gz", prompts=[TARGET], model="medimageparse3d", labels="../new.nii.gz"
        )
        return answers

    async def main(url):
        words = [str(ROOT / "scripts" / "mip.py"), "mcp", "--folder", str(inside), "--endpoint", url]
        environment = {**os.environ, "MEDIMAGEPARSE_KEY": KEY}
        server = mcp.StdioServerParameters(command=sys.executable, args=words, env=environment)
        async with mcp.Client(mcp.stdio_client(server)) as client:
            return await ask(client)

    with double.serve() as url:
        answers = anyio.run(main, url)
    assert [tool.name for tool in answers["tools"]] == ["segment", "targets", "check", "search", "evaluate"]
    described = json.dumps([tool.input_schema for tool in answers["tools"]]).lower()
    assert "key" not in described.replace("keyword", "") and "endpoint" not in described and "profile" not in described
    assert not answers["check"][0] and "MedImageParse 3D" in json.loads(answers["check"][1])["sentence"]
    assert "liver" in [each["name"] for each in json.loads(answers["targets"][1])["targets"]]
    assert not answers["segment"][0], answers["segment"]
    assert json.loads(answers["segment"][1])["prompts"][0]["found"] and (inside / "labels.nii.gz").is_file()
    assert answers["again"][0] and "exists" in answers["again"][1]
    assert not answers["evaluate"][0] and json.loads(answers["evaluate"][1])["overall"]["dice"]["mean"] == 1
    assert answers["search"][0] and "outside the folders" in answers["search"][1]
    assert KEY not in json.dumps({name: answer for name, answer in answers.items() if name != "tools"})
    for path in ("../outside/secret.nii.gz", str(outside / "secret.nii.gz"), "link.nii.gz", "series", "far.mhd"):
        assert answers[path] == (True, f"error: {path} is outside the folders that this server may use: choose a file inside them.")
    assert answers["written"][0] and "outside the folders" in answers["written"][1]
    assert not (inside / "new.nii.gz").exists() and not (tmp_path / "new.nii.gz").exists()
    assert [count for count, _message in told] and {"started", "done"} <= {message for _count, message in told}


def test_a_client_searches_an_index_by_image(places):
    inside, _outside = places
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)).save(inside / "picture.png")

    async def ask(server):
        async with mcp.Client(server) as client:
            return await client.call_tool("search", {"index": "some.index", "image": "picture.png", "top": 1})

    with InsightDouble(Form()).serve() as url:
        index_add(inside / "some.index", inside / "picture.png", endpoint=url)
        answer = anyio.run(ask, build_server(Tools(Folders([inside]), {"endpoint": url})))
    assert not answer.is_error, answer.content[0].text
    [hit] = json.loads(answer.content[0].text)["hits"]
    assert hit["name"] == "picture.png" and hit["similarity"] == pytest.approx(1, abs=1e-3)


def test_a_link_to_be_written_through_is_refused(places):
    inside, outside = places
    os.symlink(outside / "new.nii.gz", inside / "out.nii.gz")
    with pytest.raises(UsageError, match="outside the folders"):
        Folders([inside]).writable("out.nii.gz", replace=True)


def test_a_header_with_voxels_in_the_same_folder_can_be_read(places):
    inside, _outside = places
    np.zeros(8, np.uint8).tofile(inside / "near.raw")
    (inside / "near.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = near.raw\n"
    )
    assert Folders([inside]).readable("near.mhd") == os.path.realpath(inside / "near.mhd")


NRRD = "NRRD0005\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
AWAY = "../outside/secret.raw"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("long.nhdr", f"{NRRD}# {'x' * 70_000}\ndata file: {AWAY}\n\n"),
        ("lines.nhdr", f"{NRRD}{'# x' * 3 + chr(10)}data file: {AWAY}\n\n".replace("\n", "\r")),
        ("windows.nrrd", f"{NRRD}DataFile:{AWAY}\n\n".replace("\n", "\r\n")),
        ("list.nhdr", f"{NRRD}data file: LIST 3\n{AWAY}\n\n"),
        ("colon.mhd", f"{META}ElementDataFile: {AWAY}\n"),
        ("blank.mhd", f"{META}ElementDataFile {AWAY}\n"),
        ("twice.mhd", f"{META}Comment = ElementDataFile = LOCAL\nElementDataFile = {AWAY}\n"),
        ("list.mhd", f"{META}ElementDataFile = LIST 2\n{AWAY}\n"),
        ("endless.nrrd", NRRD + "# x\n" * 1_100_000),
        ("endless.mha", META + "Comment = x\n" * 400_000),
    ],
)
def test_a_header_that_names_voxels_outside_is_refused_however_it_is_written(places, name, header):
    inside, outside = places
    (outside / "secret.raw").write_bytes(bytes(range(8)))
    (inside / name).write_bytes(header.encode())
    with pytest.raises(MedImageParseError, match="outside the folders|no end"):
        Folders([inside]).readable(name)


@pytest.mark.parametrize(("name", "header"), [("a.nhdr", NRRD + "data file: {}\n\n"), ("a.mhd", META + "ElementDataFile = {}\n")])
def test_a_header_in_an_archive_brings_no_voxels_from_elsewhere(places, name, header):
    inside, outside = places
    (outside / "secret.raw").write_bytes(bytes(range(8)))
    with zipfile.ZipFile(inside / "packed.zip", "w") as archive:
        archive.writestr(name, header.format(outside / "secret.raw"))
    with pytest.raises(InputError, match="header of an image only"):
        read_image(Folders([inside]).readable("packed.zip"))


def test_a_dicomdir_is_read_with_its_folder_so_links_beside_it_are_refused(places):
    inside, _outside = places
    (inside / "series" / "DICOMDIR").write_bytes(b"x")
    with pytest.raises(UsageError, match="outside the folders"):
        Folders([inside]).readable("series/DICOMDIR")


def test_without_a_folder_nothing_starts():
    with pytest.raises(UsageError, match="--folder"):
        Folders([])
