"""`batch` on the command line: what it does, what it refuses, and how it ends."""

from __future__ import annotations

import csv
import errno
import json
import signal
import time

import numpy as np
import pytest
from batch_support import CountingDouble, batch_words, lines_of, start, write_case

from MedImageParseLib.api.batch import batch
from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import UsageError


@pytest.fixture
def double():
    made = CountingDouble()
    with made.serve() as made.url:
        yield made


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        write_case(tmp_path / "images" / f"c{number}.nii.gz", number)
    return tmp_path


def run(capsys, words) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(words)
    return status, *capsys.readouterr()


def error_of(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in err, err
    return lines[0]


def test_every_kind_of_result_is_written_and_the_account_names_it(folder, double, capsys):
    words = batch_words(folder, double.url, "--write", "seg,labels,masks,picture,statistics", "--report", str(folder / "r.json"))
    status, out, err = run(capsys, [*words, "--quiet"])
    assert (status, err) == (0, "") and out.startswith("3 cases: 3 done; 3 requests")
    assert out.splitlines()[1:] == [str(folder / "out" / name) for name in ("batch.jsonl", "batch.csv")]
    entry = lines_of(folder / "out")["c1"]
    names = ["c1.seg.nrrd", "c1_labels.nii.gz", "c1.png", "c1_statistics.csv", "c1_masks"]
    assert sorted(entry["outputs"]) == sorted(str(folder / "out" / name) for name in names)
    assert sorted(path.name for path in (folder / "out" / "c1_masks").iterdir()) == ["liver.nii.gz", "spleen.nii.gz"]
    assert (entry["state"], entry["kind"], entry["error"], len(entry["request_ids"])) == ("done", None, None, 1)
    assert entry["seconds"] > 0 and entry["bytes_sent"] == len(double.seen[0].body) and len(entry["fingerprint"]) == 32
    rows = list(csv.DictReader((folder / "out" / "batch.csv").open()))
    liver = next(row for row in rows if (row["id"], row["name"]) == ("c1", "liver"))
    assert [liver[name] for name in ("found", "voxels", "volume_ml", "mean", "sd")] == ["1", "60", "0.12", "100.0", "0.0"]
    report = json.loads((folder / "r.json").read_text())
    assert report["cases"] == {"total": 3, "done": 3, "failed": 0, "done_before": 0, "failed_before": 0, "requests": 3}
    assert report["outputs"] == out.splitlines()[1:] and report["bytes_sent"] == sum(len(seen.body) for seen in double.seen)


def test_a_dry_run_counts_what_the_real_run_sends_and_leaves_nothing(folder, double, capsys):
    (folder / "images" / "bad.nii.gz").write_bytes(b"no image")
    words = batch_words(folder, double.url, "--group", "each")
    status, out, err = run(capsys, [*words, "--dry-run"])
    assert status == 0 and "4 cases, 4 to do, 1 of them unreadable: 6 requests" in out and "bad.nii.gz" in err
    assert not double.seen and not (folder / "out").exists()
    status, out, _err = run(capsys, words)
    assert status == 4 and "6 requests" in out and len(double.seen) == 6


def test_the_second_run_does_only_what_changed(folder, double, capsys):
    words = batch_words(folder, double.url)
    assert run(capsys, words)[0] == 0 and len(double.seen) == 3
    write_case(folder / "images" / "c1.nii.gz", 41)
    write_case(folder / "images" / "new.nii.gz", 42)
    status, out, _err = run(capsys, words)
    assert status == 0 and "4 done (2 before)" in out and len(double.seen) == 5
    assert run(capsys, [*words, "--redo", "all"])[0] == 0 and len(double.seen) == 9
    assert run(capsys, [*words, "--window", "0,255"])[0] == 0 and len(double.seen) == 13
    (folder / "out" / "c0.seg.nrrd").unlink()
    assert "4 before" in run(capsys, [*words, "--window", "0,255"])[1]
    assert "3 before" in run(capsys, [*words, "--window", "0,255", "--redo", "changed"])[1] and (folder / "out" / "c0.seg.nrrd").exists()


def test_a_case_in_which_nothing_was_found_is_not_sent_again_for_its_missing_masks(folder, double, capsys):
    words = [word if word != "liver & spleen" else "unicorn" for word in batch_words(folder, double.url, "--write", "masks")]
    assert run(capsys, words)[0] == 0 and len(double.seen) == 3
    assert run(capsys, [*words, "--redo", "changed"])[0] == 0 and len(double.seen) == 3


@pytest.mark.parametrize("place", ["append_line", "write_atomically"])
def test_an_account_that_cannot_be_written_after_requests_is_exit_4(folder, double, capsys, monkeypatch, place):
    from MedImageParseLib.cohort import manifest

    def full(path, *_arguments):
        raise (
            OSError(errno.ENOSPC, "No space left on device")
            if place == "append_line"
            else UsageError("The file batch.csv cannot be written.")
        )

    monkeypatch.setattr(manifest, place, full)
    status, _out, err = run(capsys, batch_words(folder, double.url))
    assert status == 4 and "cannot be written" in error_of(err) and double.seen


def test_an_error_of_the_sending_process_names_the_command_that_was_started(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/mip.py"])
    status, _out, err = run(capsys, batch_words(folder, "http://127.0.0.1:9/score", "--retries", "1"))
    assert status == 3 and "`mip.py serve`" in error_of(err)


def test_a_table_gives_each_case_its_own_prompt_and_keeps_its_reference(folder, double, capsys):
    table = folder / "images" / "cases.csv"
    table.write_text("image,id,prompt,reference\nc0.nii.gz,first,spleen,ref.nii.gz\nc1.nii.gz,,,\n")
    words = batch_words(folder, double.url)
    words[1] = str(table)
    assert run(capsys, words)[0] == 0
    assert sorted(seen.texts[0] for seen in double.seen) == ["liver & spleen", "spleen"]
    entries = lines_of(folder / "out")
    assert set(entries) == {"first", "c1"} and entries["first"]["reference"] == str(folder / "images" / "ref.nii.gz")
    without = [word for word in words if word not in ("--prompt", "liver & spleen")]
    status, _out, err = run(capsys, without)
    assert status == 2 and "c1" in error_of(err)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--write", "seg,pdf"], "pdf"),
        (["--at-once", "0"], "1 to 64"),
        (["--shard", "3/2"], "K/N"),
        (["--window", "nonsense"], "window"),
        (["--slices", "all"], "medimageparse"),
        (["--prompt", "liver"], "twice"),
        (["--output-dir", "ABSENT/out"], "does not exist"),
        (["--output-dir", "FILE"], "is a file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_usage_is_told_before_anything_is_sent_or_written(folder, double, capsys, more, said):
    places = {"ABSENT/out": str(folder / "absent" / "out"), "FILE": str(folder / "images" / "c0.nii.gz")}
    status, out, err = run(capsys, batch_words(folder, double.url, *(places.get(word, word) for word in more)))
    assert status == 2 and said in error_of(err) and out == ""
    assert not double.seen and not (folder / "out").exists()


def test_results_that_would_replace_what_is_read_are_refused(folder, double, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "c0_labels.nii.gz").hardlink_to(folder / "images" / "c0.nii.gz")
    before = (folder / "images" / "c0.nii.gz").read_bytes()
    status, _out, err = run(capsys, batch_words(folder, double.url, "--write", "labels"))
    assert status == 2 and "would replace" in error_of(err) and not double.seen
    assert (folder / "images" / "c0.nii.gz").read_bytes() == before


def test_five_failures_of_the_endpoint_in_a_row_stop_the_run_with_one_sentence(folder, double, capsys):
    for number in range(3, 20):
        write_case(folder / "images" / f"c{number}.nii.gz", number)
    double.tamper = lambda _reply: (400, "application/json", b'{"message": "this model takes no such thing"}')
    words = batch_words(folder, double.url, "--at-once", "1")
    status, out, err = run(capsys, words)
    assert status == 3 and "5 cases in a row" in error_of(err) and "0 done" in out
    assert 5 <= len(double.seen) <= 8  # those too that were on their way or ready in the sender when the fifth failure came back
    sent = len(double.seen)
    double.tamper = None
    status, out, _err = run(capsys, [*words, "--redo", "failed"])
    assert status == 0 and "20 done" in out and len(double.seen) == sent + 20


def test_ctrl_c_ends_with_130_and_keeps_what_is_done(folder, double):
    for number in range(3, 30):
        write_case(folder / "images" / f"c{number}.nii.gz", number)
    double.pause = lambda: time.sleep(0.05)
    process = start(batch_words(folder, double.url, "--at-once", "2"))
    until = time.monotonic() + 30
    while len(double.seen) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "error: Cancelled." in err
    states = [entry["state"] for entry in lines_of(folder / "out").values()]
    assert 2 <= states.count("done") < 30 and states.count("failed") == 0
    assert (folder / "out" / "batch.csv").exists()


def test_shards_do_all_cases_between_them_into_one_account(folder, double, capsys):
    for number in (1, 2):
        assert run(capsys, batch_words(folder, double.url, "--shard", f"{number}/2"))[0] == 0
    assert set(lines_of(folder / "out")) == {"c0", "c1", "c2"} and len(double.seen) == 3
    assert len(list(csv.DictReader((folder / "out" / "batch.csv").open()))) == 6


def test_repeated_runs_of_one_case_are_sent_that_often(folder, double, capsys):
    assert run(capsys, batch_words(folder, double.url, "--repeat", "3"))[0] == 0
    assert set(double.on_the_wire().values()) == {3} and len(double.seen) == 9


def test_a_python_call_takes_a_connection_of_its_own_and_gives_the_account(folder):
    double = CountingDouble()
    result = batch(
        folder / "images",
        "liver",
        model="medimageparse3d",
        output_dir=folder / "out",
        client=double.client(),
        slabs="none",
        write=["labels"],
    )
    assert result.exit_status == 0 and [entry["prompts"][0]["voxels"] for entry in result.entries()] == [60] * 3
    with pytest.raises(UsageError, match="output-dir"):
        batch(folder / "images", "liver", model="medimageparse3d", client=double.client())
    assert np.all([seen.texts == ["liver"] for seen in double.seen])


def test_a_bids_data_set_gets_its_results_among_the_derivatives(tmp_path, double, capsys):
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    write_case(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz", 1)
    words = ["batch", str(tmp_path), "--endpoint", double.url, "--model", "medimageparse3d", "--prompt", "liver", "--slabs", "none"]
    assert run(capsys, words)[0] == 0
    results = tmp_path / "derivatives" / "medimageparse"
    assert (results / "sub-01" / "anat" / "sub-01_T1w.seg.nrrd").exists()
    assert json.loads((results / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert "1 before" in run(capsys, words)[1]


@pytest.mark.parametrize("given", ["images", "images/*.nii.gz"])
def test_results_among_the_images_are_no_cases_of_the_next_run(folder, double, capsys, given):
    words = ["batch", str(folder / given), *batch_words(folder, double.url, "--write", "labels,masks,picture")[2:]]
    words[words.index("--output-dir") + 1] = str(folder / "images")
    assert run(capsys, words)[0] == 0 and (folder / "images" / "c0_labels.nii.gz").exists()
    status, out, _err = run(capsys, words)
    assert status == 0 and out.startswith("3 cases: 3 done (3 before); 0 requests") and len(double.seen) == 3


def test_results_beside_the_images_are_no_cases_even_after_a_run_that_was_killed_before_its_line(folder, double, capsys):
    words = batch_words(folder, double.url, "--write", "labels,picture")
    words[words.index("--output-dir") + 1] = str(folder / "images")
    assert run(capsys, words)[0] == 0
    account = folder / "images" / "batch.jsonl"
    account.write_text("".join(line for line in account.read_text().splitlines(True) if '"c1"' not in line))
    (folder / "images" / ".batch" / "replies" / "c1").mkdir(parents=True)  # as a run that was killed while it wrote c1 leaves it
    status, out, _err = run(capsys, words)
    assert status == 0 and out.startswith("3 cases: 3 done (2 before)") and len(double.seen) == 4


def test_replies_that_a_killed_run_left_behind_go_with_the_next_run(folder, double, capsys):
    words = batch_words(folder, double.url)
    assert run(capsys, words)[0] == 0
    left = folder / "out" / ".batch" / "replies" / "c1"  # as where a run is killed between a case's line and its tidying up
    left.mkdir(parents=True)
    (left / "0123.lock").touch()
    assert run(capsys, words)[0] == 0 and not left.exists() and len(double.seen) == 3
