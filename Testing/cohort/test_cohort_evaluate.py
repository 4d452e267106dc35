"""`evaluate` from files: what pairs up, under which names, and what the tables say."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pytest

from MedImageParseLib.api.evaluate import evaluate
from MedImageParseLib.cli.main import main
from MedImageParseLib.cohort.manifest import Manifest, results_in
from MedImageParseLib.errors import InputError, UsageError

AFFINE = np.array([[-2.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]])
NAMES = {1: "liver", 2: "kidney_left", 3: "spleen"}


def write(path, labels_kji: np.ndarray, affine=AFFINE) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels_kji.transpose(2, 1, 0).astype(np.uint8), affine), path)


def body(shift: int = 0) -> np.ndarray:
    labels = np.zeros((8, 20, 24), np.uint8)
    labels[1:6, 2:12, 2 + shift : 12 + shift] = 1
    labels[1:5, 14:18, 3:9] = 2
    return labels


def names_file(folder) -> str:
    (folder / "names.json").write_text(json.dumps({str(value): name for value, name in NAMES.items()}))
    return str(folder / "names.json")


@pytest.fixture
def cohort(tmp_path):
    """Three cases; the third has no prediction."""
    for number, shift in enumerate((0, 2, 4), start=1):
        write(tmp_path / "truth" / f"case{number}_labels.nii.gz", body())
        if number < 3:
            write(tmp_path / "made" / f"case{number}.nii.gz", body(shift))
    names_file(tmp_path)
    return tmp_path


def test_folders_pair_up_by_name_and_means_are_those_of_the_cases(cohort):
    result = evaluate(cohort / "truth", cohort / "made", names=cohort / "names.json")
    structures = result.report["structures"]
    assert structures["liver"]["dice"]["mean"] == pytest.approx((1 + 0.8) / 2)
    assert structures["kidney_left"]["dice"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "cases": 2}
    assert structures["spleen"]["presence"] == {"TP": 0, "FP": 0, "FN": 0, "TN": 2} and structures["spleen"]["dice"]["mean"] is None
    assert result.failure == "1 of 3 cases could not be measured"
    assert [case["failure"] for case in result.report["cases"]] == [None, None, "case3_labels has no prediction."]


def test_the_command_writes_table_csv_and_picture_and_says_what_is_missing(cohort, capsys):
    words = ["evaluate", "--reference", str(cohort / "truth"), "--prediction", str(cohort / "made"), "--names", str(cohort / "names.json")]
    files = [str(cohort / name) for name in ("o.csv", "o.md", "o.png", "o.json")]
    status = main([*words, "--csv", files[0], "--table", files[1], "--picture", files[2], "--report", files[3]])
    out, err = capsys.readouterr()
    assert status == 4 and err.splitlines()[-1].startswith("error: ") and "1 of 3" in err
    assert out.splitlines()[-3:] == files[:3]
    table = (cohort / "o.md").read_text()
    assert "| liver | 2 | 90.00" in table and "97.71" in table and "Tolerance of the surface Dice (NSD): 2 mm" in table
    with open(files[0], newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["case"], row["structure"]) for row in rows[:4]] == [("case1_labels", name) for name in (*NAMES.values(), "all")]
    assert float(rows[4]["dice"]) == pytest.approx(0.8) and rows[-1]["failure"] == "case3_labels has no prediction."
    assert (cohort / "o.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((cohort / "o.json").read_text())["overall"]["dice"]["cases"] == 2


def test_other_grids_are_refused_unless_resampled(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 4.0  # two voxels
    write(tmp_path / "truth.nii.gz", body(2))
    write(tmp_path / "made.nii.gz", body(), moved)
    with pytest.raises(InputError, match="--resample"):
        evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz")
    flipped = AFFINE.copy()
    flipped[:3, 3] += flipped[:3, 0] * 23
    flipped[:3, 0] *= -1
    write(tmp_path / "flipped.nii.gz", body(2)[:, :, ::-1], flipped)
    assert evaluate(tmp_path / "truth.nii.gz", tmp_path / "flipped.nii.gz", resample=True).report["overall"]["dice"]["mean"] == 1.0
    result = evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz", resample=True).report
    assert result["structures"]["label 1"]["dice"]["mean"] < 1.0


def test_a_slicer_segmentation_with_overlaps_is_measured_segment_by_segment(tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from MedImageParseLib.files.segmentation import write_segmentation
    from MedImageParseLib.imaging.volume import CroppedMask, Volume
    from MedImageParseLib.scene.segments import SegmentSpec

    labels = body()
    volume = Volume(labels.astype(np.int16), AFFINE)
    whole = CroppedMask.from_full(labels > 0)
    specs = [SegmentSpec("Left kidney", CroppedMask.from_full(labels == 2), (0, 1, 0), ""), SegmentSpec("liver", whole, (1, 0, 0), "")]
    write_segmentation(tmp_path / "made.seg.nrrd", volume, specs)
    write(tmp_path / "truth.nii.gz", labels)
    report = evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.seg.nrrd", names=names_file(tmp_path)).report
    assert report["structures"]["kidney_left"]["dice"]["mean"] == 1.0
    assert report["structures"]["liver"]["dice"]["mean"] == pytest.approx(2 * 500 / (500 + 596))


def test_folders_of_masks_pair_up_as_cases_of_their_own(tmp_path):
    for side, shift in (("truth", 0), ("made", 2)):
        (tmp_path / side).mkdir()
        for value, name in ((1, "liver"), (2, "left kidney")):
            write(tmp_path / side / "case1" / f"{name}.nii.gz", body(shift) == value)
    report = evaluate(tmp_path / "truth", tmp_path / "made").report
    assert report["structures"]["liver"]["dice"]["mean"] == pytest.approx(0.8)


def test_a_batchs_account_gives_names_and_images_and_only_its_prompts_count(cohort):
    entries = [
        {"id": f"case{number}", "input": str(cohort / f"case{number}.nii.gz"), "state": "done", "outputs": [f"case{number}_labels.nii.gz"],
         "prompts": [{"label": 1, "name": "liver"}], "engine": "a test", "modality": "CT"}
        for number in (1, 2)
    ]  # fmt: skip
    for number in (1, 2):
        write(cohort / "out" / f"case{number}_labels.nii.gz", body(2 * number - 2) == 1)
    (cohort / "out" / "batch.jsonl").write_text("\n".join(map(json.dumps, entries)) + '\n{"id": "case')
    result = evaluate(cohort / "truth", cohort / "out" / "batch.jsonl", names=cohort / "names.json")
    assert list(result.report["structures"]) == ["liver"]
    assert result.report["structures"]["liver"]["dice"]["mean"] == pytest.approx(0.9)
    assert "a test" in result.table


@pytest.mark.parametrize(
    "strange",
    [
        {"outputs": 5}, {"outputs": {"a": 1}}, {"outputs": [1, None, "a\0b", ["x"]]}, {"prompts": "liver"}, {"prompts": [1, "x"]},
        {"prompts": [{"label": "x", "name": "liver", "voxels": "=1+1", "mean": [1]}]}, {"input": ["x"]}, {"error": ["=1"]}, {"state": ["done"]},
    ],
)  # fmt: skip
def test_an_account_that_somebody_else_wrote_is_read_as_far_as_it_makes_sense(cohort, strange):
    good = {"id": "case1", "state": "done", "outputs": ["case1_labels.nii.gz"], "prompts": [{"label": 1, "name": "liver"}]}
    lines = [json.dumps(good), json.dumps(good | {"id": "case2"} | strange), "[" * 5000, "5"]
    write(cohort / "out" / "case1_labels.nii.gz", body() == 1)
    (cohort / "out" / "batch.jsonl").write_text("\n".join(lines))
    assert str(cohort / "out" / "case1_labels.nii.gz") in results_in(cohort / "out")
    assert "=1" not in Manifest(cohort / "out").write_table().read_text().replace("'=1", "")
    assert "liver" in evaluate(cohort / "truth", cohort / "out" / "batch.jsonl", names=cohort / "names.json").report["structures"]


def test_labels_without_names_are_compared_by_value_and_half_known_names_are_asked_for(tmp_path):
    write(tmp_path / "truth.nii.gz", body())
    write(tmp_path / "made.nii.gz", body(2))
    assert evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz").report["structures"]["label 1"]["dice"]["mean"] == pytest.approx(
        0.8
    )
    (tmp_path / "truth.json").write_text(json.dumps({"1": "liver", "2": "spleen"}))
    with pytest.raises(InputError, match="--names"):
        evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz")


def test_objects_are_counted_where_the_references_labels_are_objects(tmp_path):
    objects = np.zeros((8, 20, 24), np.uint8)
    objects[1:3, 2:6, 2:6], objects[5:7, 2:6, 2:6], objects[1:3, 12:16, 2:6] = 1, 2, 3
    write(tmp_path / "truth.nii.gz", objects)
    write(tmp_path / "made.nii.gz", (objects > 1))
    for protocol in ("plain", "cvpr25"):
        report = evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz", protocol=protocol, instances=True).report
        assert report["cases"][0]["instance_f1"] == pytest.approx(0.8, abs=1e-4) and report["cases"][0]["dsc_tp"] == 1.0


def test_protocol_cvpr25_has_one_number_a_case_and_the_published_ones_beside_it(cohort):
    result = evaluate(cohort / "truth", cohort / "made", names=cohort / "names.json", protocol="cvpr25")
    assert [case["dice"] for case in result.report["cases"]] == [1.0, 0.9, None]
    assert "| published, CT |  | 0.8512 | 0.8965 | 0.5119 | 0.6749 |" in result.table


def test_protocol_amos_averages_structures_over_cases_and_names_the_published_average(cohort):
    result = evaluate(cohort / "truth", cohort / "made", names=cohort / "names.json", protocol="amos")
    assert result.report["overall"]["dice"]["mean"] == pytest.approx((0.9 + 1.0) / 2)
    assert "90.00 | 84.94 |" in result.table and "prostate/uterus" in result.table


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"protocol": "mine"}, "plain, cvpr25 or amos"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"csv": "truth/case1_labels.nii.gz"}, "must end with"),
        ({"csv": "o.csv", "table": "missing/o.md"}, "does not exist"),
    ],
)
def test_bad_usage_is_one_sentence_before_anything_is_written(cohort, monkeypatch, options, sentence):
    monkeypatch.chdir(cohort)
    before = sorted(cohort.rglob("*"))
    with pytest.raises(UsageError, match=sentence):
        evaluate("truth", "made", names="names.json", **options)
    assert sorted(cohort.rglob("*")) == before


def test_a_reference_that_fits_two_predictions_is_refused(cohort):
    write(cohort / "made" / "case1_labels.nii.gz", body())
    write(cohort / "made" / "case1_seg.nii.gz", body())
    (cohort / "truth" / "case1_labels.nii.gz").rename(cohort / "truth" / "case1.nii.gz")
    (cohort / "made" / "case1.nii.gz").unlink()
    with pytest.raises(UsageError, match="fits several predictions"):
        evaluate(cohort / "truth", cohort / "made", names=cohort / "names.json")


def test_a_ct_in_place_of_a_labelmap_is_told_at_once(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(-1000, 1000, dtype=np.int16).reshape(10, 10, 20), AFFINE), tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match="below 0, as a CT does"):
        evaluate(tmp_path / "ct.nii.gz", tmp_path / "ct.nii.gz")


def test_a_damaged_prediction_is_one_failed_case_and_not_the_end(cohort):
    (cohort / "made" / "case1.nii.gz").write_bytes(b"no image")
    result = evaluate(cohort / "truth", cohort / "made", names=cohort / "names.json")
    assert result.failure.startswith("2 of 3") and "Not measured" in " ".join(result.report["warnings"])
    assert result.report["kind"] == "input"
    assert result.report["structures"]["liver"]["dice"]["mean"] == pytest.approx(0.8)


def test_tables_cannot_be_broken_by_names(tmp_path):
    write(tmp_path / "truth.nii.gz", body())
    (tmp_path / "truth.json").write_text(json.dumps({"1": "=cmd|' /C'!A1", "2": "a|b"}))
    (tmp_path / "made.json").write_text((tmp_path / "truth.json").read_text())
    write(tmp_path / "made.nii.gz", body())
    result = evaluate(tmp_path / "truth.nii.gz", tmp_path / "made.nii.gz", csv=tmp_path / "o.csv")
    assert "| a/b |" in result.table and ",'=cmd" in (tmp_path / "o.csv").read_text()
