"""The key goes to the endpoint and nowhere else: not into the process list, outputs, report, audit file, profiles, scene or any text."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = "s3cr3t-Key-0123456789abcdefghij"


class _Guarded(BaseHTTPRequestHandler):
    """Wants the key, takes its time, and then answers as its server's `answer` says."""

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers.get("Authorization"))
        time.sleep(self.server.delay)
        status, reply = self.server.answer(content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.send_header("x-echo", KEY)
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_arguments):
        """Silent."""


def bright_voxels(content: dict) -> tuple[int, bytes]:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(content["input_data"]["data"][0][0])))
    labels = (np.asanyarray(image.dataobj) > 100).astype(np.uint8)
    data = base64.b64encode(nibabel.Nifti1Image(labels, np.eye(4)).to_bytes()).decode()
    return 200, json.dumps([{"nifti_file": json.dumps({"data": data}), "note": KEY}]).encode()


@pytest.fixture
def guarded():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Guarded)
    server.keys, server.delay, server.answer = [], 0.0, bright_voxels
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(60)


@pytest.fixture
def volume(tmp_path) -> Path:
    voxels = np.zeros((12, 10, 6), np.uint8)
    voxels[3:8, 2:7, 1:4] = 200
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return path


def _command(server, volume: Path, *more: str) -> list[str]:
    url = f"http://127.0.0.1:{server.server_address[1]}/score"
    return [
        sys.executable,
        str(ROOT / "scripts" / "mip.py"),
        "segment",
        str(volume),
        "--model",
        "medimageparse3d",
        "--prompt",
        "liver",
        "--endpoint",
        url,
        "--retries",
        "2",
        "--debug",
        *more,
    ]


def _everything_in(folder: Path) -> bytes:
    """All bytes of all files below, unpacked where they are gzip or have gzip inside (NRRD)."""
    found = b""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += str(path).encode() + data
            start = data.find(b"\x1f\x8b\x08")
            if start >= 0:
                found += gzip.decompress(data[start:])
    return found


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_successful_run_shows_its_key_to_nobody_but_the_endpoint(guarded, volume, tmp_path, way):
    guarded.delay = 1.5
    environment = {**os.environ, "MEDIMAGEPARSE_CONFIG_DIR": str(tmp_path / "configuration")}
    secret = tmp_path.parent / f"{tmp_path.name}.key"
    secret.write_text(KEY + "\n")
    more = ["--key-file", str(secret)] if way == "file" else []
    environment |= {"MEDIMAGEPARSE_KEY": KEY} if way == "variable" else {}
    outputs = [
        "--output",
        str(tmp_path / "o.seg.nrrd"),
        "--labels",
        str(tmp_path / "o.nii.gz"),
        "--report",
        str(tmp_path / "r.json"),
        "--picture",
        str(tmp_path / "p.png"),
    ]
    process = psutil.Popen(_command(guarded, volume, *outputs, *more), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    listed = ""
    while process.poll() is None and not guarded.keys:
        time.sleep(0.05)
    for member in [process, *process.children(recursive=True)]:
        listed += " ".join(member.cmdline())
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert guarded.keys == [f"Bearer {KEY}"]
    assert "segment" in listed and KEY not in listed
    assert KEY.encode() not in stdout + stderr
    kept = _everything_in(tmp_path)
    assert b"audit.jsonl" in kept and b"o.seg.nrrd" in kept
    assert KEY.encode() not in kept and base64.b64encode(KEY.encode()) not in kept


ECHOES = {
    "an error page": lambda _content: (500, f"<html>key {KEY} is odd</html>".encode()),
    "an error message": lambda _content: (400, json.dumps({"message": f"wrong key {KEY}"}).encode()),
    "an error with status 200": lambda _content: (200, json.dumps({"error": {"message": f"wrong key Bearer {KEY}"}}).encode()),
    "an unknown reply": lambda _content: (200, json.dumps([{"surprise": KEY}]).encode()),
    "a cell that is no payload": lambda _content: (200, json.dumps([{"nifti_file": f"no {KEY}"}]).encode()),
    "text that is no JSON": lambda _content: (200, f"[{KEY}".encode()),
}


@pytest.mark.parametrize("what", ECHOES)
def test_an_endpoint_that_repeats_the_key_does_not_get_it_into_the_sentence_the_report_or_the_traceback(guarded, volume, tmp_path, what):
    guarded.answer = ECHOES[what]
    environment = {**os.environ, "MEDIMAGEPARSE_CONFIG_DIR": str(tmp_path / "configuration"), "MEDIMAGEPARSE_KEY": KEY}
    run = subprocess.run(
        _command(guarded, volume, "--output", str(tmp_path / "o.seg.nrrd"), "--report", str(tmp_path / "r.json")),
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 3
    assert b"error: " in run.stderr
    assert KEY.encode() not in run.stdout + run.stderr + _everything_in(tmp_path)
    assert not (tmp_path / "o.seg.nrrd").exists() and (tmp_path / "r.json").exists()
