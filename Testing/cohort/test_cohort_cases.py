"""Which cases a batch has, and what its account says of them."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from cli_support import write_dicom

from MedImageParseLib.cohort.cases import Case, content_digest, content_state, find_cases, shard_of
from MedImageParseLib.cohort.manifest import Manifest, fingerprint
from MedImageParseLib.errors import InputError, UsageError


def touch(path, content: bytes = b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ids(*inputs, **more) -> list[str]:
    return [case.id for case in find_cases(inputs, **more).cases]


def test_a_folder_gives_each_image_and_each_series_and_nothing_of_the_results(tmp_path):
    for name in ("a.nii.gz", "sub/a.NRRD", "sub/b.seg.nrrd", "notes.txt", ".hidden.nii", "out/a_labels.nii.gz"):
        touch(tmp_path / name)
    (tmp_path / "DOE_JOHN").mkdir()
    for number, series in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        write_dicom(tmp_path / "DOE_JOHN" / f"{number}.dcm", series, number)
    found = find_cases([tmp_path], output_dir=tmp_path / "out").cases
    series = [case for case in found if case.series]
    assert [case.id for case in found if not case.series] == ["a", "sub_a"]
    assert sorted(case.series for case in series) == ["1.2.3", "1.2.4"] and all(case.id.startswith("series-") for case in series)
    assert not any("DOE" in case.id or "1.2.3" in case.id for case in found)


def test_patterns_files_and_standard_input_name_cases_and_a_pattern_that_fits_nothing_is_an_error(tmp_path):
    for name in ("x1.nii", "x2.nii", "y.mha"):
        touch(tmp_path / name)
    assert ids(tmp_path / "x*.nii", tmp_path / "y.mha") == ["x1", "x2", "y"]
    assert ids("-", lines=[f"{tmp_path}/y.mha\n", "\n", f"{tmp_path}/missing.nii\n"]) == ["y", "missing"]
    with pytest.raises(InputError, match="pattern"):
        find_cases([tmp_path / "z*.nii"])
    with pytest.raises(InputError, match="no file"):
        find_cases([tmp_path / "z.nii"])
    with pytest.raises(UsageError, match="at least one image"):
        find_cases([])


@pytest.mark.parametrize("kind", ["comma", "semicolon", "json"])
def test_a_table_names_images_beside_itself_and_says_what_it_does_not_know(tmp_path, kind):
    rows = [
        {"image": "i/1.nii", "id": "one", "prompt": "liver & spleen", "reference": "r.nii", "age": "9"},
        {"image": "i/2.nii", "frame": "1"},
    ]
    if kind == "json":
        path = touch(tmp_path / "cases.json", json.dumps({"cases": rows}).encode())
    else:
        sign = "," if kind == "comma" else ";"
        lines = [["image", "ID", "prompt", "reference", "age", "frame"], ["i/1.nii", "one", "liver & spleen", "r.nii", "9", ""]]
        lines.append(["i/2.nii", "", "", "", "", "1"])
        path = touch(tmp_path / "cases.csv", ("\ufeff" + "\n".join(sign.join(line) for line in lines)).encode())
    found = find_cases([path])
    assert found.cases == [
        Case("one", str(tmp_path / "i/1.nii"), "liver & spleen", reference=str(tmp_path / "r.nii")),
        Case("2", str(tmp_path / "i/2.nii"), frame=1),
    ]
    assert len(found.warnings) == 1 and "age" in found.warnings[0]


@pytest.mark.parametrize(
    "content",
    [
        "picture\na.nii\n", "image,id\n,1\n", "image\n", "image,frame\na.nii,first\n", "image,frame\na.nii,\u00b2\n", "image\na\0b.nii\n",
        f"image\n{'n' * 300}.nii\n", f"image,reference\na.nii,{'n' * 300}.nii\n",
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, content):
    with pytest.raises(InputError, match="cases.csv"):
        find_cases([touch(tmp_path / "cases.csv", content.encode())])


def test_names_that_would_be_one_on_some_file_system_are_refused(tmp_path):
    one, other = touch(tmp_path / "a" / "CT.nii"), touch(tmp_path / "b" / "ct.nii.gz")
    with pytest.raises(UsageError, match="CT.nii and .*ct.nii.gz"):
        find_cases([one, other])
    assert ids(tmp_path) == ["a_CT", "b_ct"]


def test_a_bids_data_set_gives_the_volumes_of_its_subjects(tmp_path):
    touch(tmp_path / "dataset_description.json", b"{}")
    for name in ("anat/sub-01_T1w.nii.gz", "anat/sub-01_dseg.nii.gz", "func/sub-01_bold.nii.gz", "ct/sub-01_ct.nii.gz"):
        touch(tmp_path / "sub-01" / name)
    touch(tmp_path / "derivatives" / "other" / "sub-01_T1w.nii.gz")
    found = find_cases([tmp_path])
    assert found.bids_root == tmp_path
    assert [(case.id, case.place, case.modality) for case in found.cases] == [
        ("sub-01_T1w", "sub-01/anat", "MR"),
        ("sub-01_ct", "sub-01/ct", "CT"),
    ]


def test_shards_are_disjoint_and_together_everything(tmp_path):
    cases = [Case(str(number), "") for number in range(10)]
    parts = [shard_of(cases, f"{number}/3") for number in (1, 2, 3)]
    assert sorted((one for part in parts for one in part), key=lambda case: int(case.id)) == cases and max(map(len, parts)) == 4
    for wrong in ("0/3", "4/3", "x", "1/"):
        with pytest.raises(UsageError, match="K/N"):
            shard_of(cases, wrong)


def test_a_fingerprint_changes_with_content_prompts_options_endpoint_and_version_and_nothing_else(tmp_path):
    common = ("c", ["liver"], {"window": "auto", "group": "auto"}, "http://a/score", "1")
    other = [("d", *common[1:]), ("c", ["spleen"], *common[2:]), (*common[:2], {"window": "raw"}, *common[3:])]
    other += [(*common[:3], "http://b/score", "1"), (*common[:4], "2")]
    assert len({fingerprint(*each) for each in (common, *other)}) == 6
    assert fingerprint(*common) == fingerprint("c", ["liver"], {"group": "auto", "window": "auto"}, *common[3:])
    folder = tmp_path / "a"
    touch(folder / "1.dcm", b"one"), touch(folder / "2.dcm", b"two")
    shutil.copytree(folder, tmp_path / "b")
    assert content_digest(folder) == content_digest(tmp_path / "b") != content_digest(folder / "1.dcm")
    before = content_state(folder)
    touch(folder / "2.dcm", b"TWO!")
    assert content_digest(folder) != content_digest(tmp_path / "b") and content_state(folder) != before


def test_the_last_line_of_a_case_counts_and_a_torn_line_is_passed_over(tmp_path):
    manifest = Manifest(tmp_path / "out")
    with manifest.held():
        manifest.append({"id": "a", "state": "failed", "fingerprint": "1"})
        manifest.append({"id": "b", "state": "done", "fingerprint": "1", "outputs": ["b.png"]})
        with open(manifest.path, "a") as file:
            file.write('{"id": "c", "state": "do')
        manifest.append({"id": "a", "state": "done", "fingerprint": "2"})
    again = Manifest(tmp_path / "out")
    assert {name: entry["fingerprint"] for name, entry in again.entries.items()} == {"a": "2", "b": "1"}
    due = {redo: [name for name in "abc" if again.is_due(name, "1", redo)] for redo in ("", "changed", "all")}
    assert due == {"": ["a", "c"], "changed": ["a", "b", "c"], "all": ["a", "b", "c"]}


def test_failed_cases_are_done_again_on_demand_only(tmp_path):
    manifest = Manifest(tmp_path / "out")
    with manifest.held():
        for name, state in (("a", "failed"), ("b", "done"), ("c", "skipped")):
            manifest.append({"id": name, "state": state, "fingerprint": "1"})
    assert [name for name in "abc" if manifest.is_due(name, "1")] == ["c"]
    assert [name for name in "abc" if manifest.is_due(name, "1", "failed")] == ["a", "c"]


def test_a_second_run_in_a_folder_is_refused_and_shards_share_it(tmp_path):
    with Manifest(tmp_path / "out").held():
        for shard in ("", "1/2"):
            with pytest.raises(UsageError, match="Another run"), Manifest(tmp_path / "out").held(shard):
                pass
    with Manifest(tmp_path / "out").held("1/2"), Manifest(tmp_path / "out").held("2/2"):
        with pytest.raises(UsageError, match="Another run"), Manifest(tmp_path / "out").held("1/2"):
            pass
        Manifest(tmp_path / "out").append({"id": "a", "state": "done"})
    assert list(Manifest(tmp_path / "out").entries) == ["a"]


def test_the_table_has_a_row_a_case_and_prompt_and_no_formula(tmp_path):
    manifest = Manifest(tmp_path / "out")
    prompts = [{"text": "=liver", "name": "liver", "found": True, "voxels": 5, "volume_ml": 0.5, "mean": 60.5, "sd": 0.0}]
    prompts.append({"text": "spleen", "name": "spleen", "found": False, "voxels": 0, "volume_ml": 0.0, "mean": None, "sd": None})
    with manifest.held():
        manifest.append({"id": "a", "state": "done", "prompts": prompts})
        manifest.append({"id": "b", "state": "failed", "error": "The file b is damaged."})
        rows = list(csv.DictReader(manifest.write_table().open()))
    assert [(row["id"], row["name"], row["found"], row["voxels"], row["mean"]) for row in rows] == [
        ("a", "liver", "1", "5", "60.5"),
        ("a", "spleen", "0", "0", ""),
        ("b", "", "", "", ""),
    ]
    assert rows[0]["prompt"] == "'=liver" and rows[2]["error"] == "The file b is damaged."
