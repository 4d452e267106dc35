"""Fine-tuned classifiers on Azure: recognized by `check`, read by `classify --tuned`."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from MedImageParseLib.cli.main import main
from MedImageParseLib.errors import ReplyError
from MedImageParseLib.wire.classification import parse_reply


@pytest.fixture
def classifier():
    """An endpoint that answers with labels and scores, the best first; what it was sent is in the list."""
    seen: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            frame = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input_data"]
            seen.append(frame)
            body = json.dumps([[{"label": "nodule", "score": 0.75}, {"label": "clear", "score": 0.25}]] * len(frame["data"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/score", seen
    server.shutdown()
    server.server_close()


def test_a_classifier_is_recognized_by_check(classifier, capsys):
    assert main(["check", "--endpoint", classifier[0]]) == 0
    assert "fine-tuned classifier of the labels nodule, clear" in capsys.readouterr().out


def test_a_classifier_is_sent_images_alone_and_its_scores_are_printed(classifier, tmp_path, capsys):
    url, seen = classifier
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "x.png")
    words = ["classify", str(tmp_path / "x.png"), "--endpoint", url, "--quiet"]
    assert main([*words, "--tuned", "--report", str(tmp_path / "r.json")]) == 0
    assert capsys.readouterr().out == "slice\tclear\tnodule\n0\t0.2500\t0.7500\nall\t0.2500\t0.7500\n"
    assert seen[0]["columns"] == ["image"] and json.loads((tmp_path / "r.json").read_text())["volume"]["best"] == "nodule"
    assert main([*words, "--tuned", "--label", "a"]) == 2 and "labels of its own" in capsys.readouterr().err
    assert main(words) == 2 and len(seen) == 1
    assert main([*words, "--label", "a", "--label", "b"]) == 3 and "ask it with `classify --tuned`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"[[]]",
        b'[[{"label": "a"}]]',
        b'[[{"label": "a", "score": NaN}]]',
        b'[[{"label": "a", "score": true}]]',
        b"<html>",
        b'[[{"label": "a", "score": 1' + b"0" * 400 + b"}]]",
    ],
)
def test_a_reply_without_labels_and_scores_is_one_sentence(body):
    with pytest.raises(ReplyError, match="no fine-tuned classifier|answered with HTML"):
        parse_reply(body, 1)
