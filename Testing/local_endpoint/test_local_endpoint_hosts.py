"""The two hosts of the demo engine's entry script: our own on the standard library, and Azure ML's real inference server."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest

from MedImageParseLib.engines.classical.engine import ENGINE_NAME
from MedImageParseLib.errors import UsageError
from MedImageParseLib.imaging.nifti import encode_nifti
from MedImageParseLib.local_endpoint import score
from MedImageParseLib.local_endpoint.limits import Budget, Limits
from MedImageParseLib.local_endpoint.server import LocalEndpoint
from MedImageParseLib.local_endpoint.server_requests import Handler

LIBRARY = Path(score.__file__).resolve().parents[2]

# The real server has no option for its address and would listen on every interface: its own constant is replaced before it starts.
_ON_LOOPBACK = """
import sys
from azureml_inference_server_http import amlserver
amlserver.DEFAULT_HOST = "127.0.0.1"
amlserver.run()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, method: str, path: str, body=None, headers=None, chunked: bool = False):
    """(status, headers with lower-case names, body) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def png(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture() -> np.ndarray:
    row, column = np.indices((120, 150))
    return np.where(np.hypot(row - 60, column - 70) < 40, 180, 5).astype(np.uint8)


def volume() -> str:
    voxels = np.full((12, 40, 44), -1000, np.int16)
    voxels[:, 8:32, 8:36] = 40
    return base64.b64encode(encode_nifti(voxels, np.diag([4.0, 4.0, 5.0, 1.0]))).decode()


def table(rows: list, columns=("image", "text"), index=None, **more) -> str:
    labels = list(range(len(rows))) if index is None else index
    return json.dumps({"input_data": {"columns": list(columns), "index": labels, "data": rows}, **more})


@pytest.fixture(scope="module")
def ours():
    with LocalEndpoint() as endpoint:
        yield endpoint.port


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    pytest.importorskip("azureml_inference_server_http", reason="azureml-inference-server-http is not installed")
    if os.name == "nt":
        pytest.skip("the loopback-only start of Azure ML's server is written for gunicorn, which Windows does not have")
    folder, port = tmp_path_factory.mktemp("azmlinfsrv"), free_port()
    environment = dict(os.environ, SERVICE_NAME=ENGINE_NAME, AML_APP_ROOT=str(folder), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-c", _ON_LOOPBACK, "--entry_script", score.__file__, "--port", str(port)]
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(port, process, folder / "log.txt")
        yield port, process
    finally:
        process.terminate()
        process.wait(20)


def wait_until_healthy(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        try:
            if ask(port, "GET", "/")[0] == 200:
                return
        except OSError:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace")[-2000:])


JSON = {"Content-Type": "application/json"}
PARSE = JSON | {"x-medimageparse-model": "medimageparse"}  # as this project's client names the model to a server on the same computer
LONG = "x" * 101
REQUESTS = {
    "health": ("GET", "/", None, {}),
    "a picture": ("POST", "/score", table([[png(picture()), "object & unicorn"]]), PARSE),
    "two pictures": ("POST", "/score", table([[png(picture()), "object"], [png(picture().T), "unicorn & object"]]), PARSE),
    "a picture with text that fits two models": ("POST", "/score", table([[png(picture()), "object"]], params={}), JSON),
    "a volume for a model that takes pictures": ("POST", "/score", table([[volume(), "body"]]), PARSE),
    "a volume": ("POST", "/score", table([[volume(), "body & unicorn"]]), JSON),
    "a description": ("POST", "/score", table([[png(picture()), ""]], params={"get_scaling_factor": True}), JSON),
    "columns the other way round": ("POST", "/score", table([["object", png(picture())]], columns=("text", "image")), PARSE),
    "identifiers": ("POST", "/score", table([[png(picture()), ""]]), JSON | {"x-ms-client-request-id": "mine", "x-request-id": "theirs"}),
    "an old identifier": ("POST", "/score", table([[png(picture()), ""]]), JSON | {"x-ms-request-id": "old"}),
    "no content type": ("POST", "/score", table([[png(picture()), ""]]), {}),
    "text for a vector": ("POST", "/score", table([["", "pneumonia"]]), JSON),
    "text as a boolean's name": ("POST", "/score", table([[png(picture()), ""]], params={"get_scaling_factor": "true"}), JSON),
    "no JSON": ("POST", "/score", "hello", JSON),
    "a JSON list": ("POST", "/score", "[1]", JSON),
    "an empty body": ("POST", "/score", "", JSON),
    "no input_data": ("POST", "/score", json.dumps({"dataframe_split": {}}), JSON),
    "no text column": ("POST", "/score", table([[png(picture())]], columns=("image",)), JSON),
    "an index of another length": ("POST", "/score", table([["", "x"]], index=[0, 1]), JSON),
    "an index that is a number": ("POST", "/score", table([["", "x"]], index=1), JSON),
    "no prompt": ("POST", "/score", table([[volume(), " & "]]), JSON),
    "a text file": ("POST", "/score", table([[base64.b64encode(b"not an image at all").decode(), "liver"]]), JSON),
    "a damaged picture": ("POST", "/score", table([[png(picture())[:200], "object"]]), PARSE),
    "a truncated volume": ("POST", "/score", table([[volume()[:400], "body"]]), JSON),
    "a form": ("POST", "/score", "a=1", {"Content-Type": "application/x-www-form-urlencoded"}),
    "not UTF-8": ("POST", "/score", b"\xff\xfe{}", JSON),
    "gzip content": ("POST", "/score", gzip.compress(b"{}", mtime=0), JSON | {"Content-Encoding": "gzip"}),
    "a query": ("GET", "/score?a=1", None, {}),
    "options": ("OPTIONS", "/score", None, {}),
    "unknown path": ("GET", "/nowhere", None, {}),
    "post to an unknown path": ("POST", "/v1/score", "{}", JSON),
    "put": ("PUT", "/score", "{}", JSON),
    "delete health": ("DELETE", "/", None, {}),
    "an identifier too long": ("POST", "/score", "{}", JSON | {"x-ms-client-request-id": LONG}),
    "a request identifier too long": ("POST", "/score", "{}", JSON | {"x-request-id": LONG}),
}
ECHOED = {"identifiers": ("x-request-id", "x-ms-request-id"), "an old identifier": ("x-ms-request-id",)}
KEY_HEADERS = ("content-type", "connection", "x-ms-run-function-failed", "x-ms-client-request-id")


@pytest.mark.parametrize("name", REQUESTS)
def test_both_hosts_answer_alike(name, ours, real):
    mine, theirs = ask(ours, *REQUESTS[name]), ask(real[0], *REQUESTS[name])
    assert (mine[0], mine[2]) == (theirs[0], theirs[2])
    assert {key: mine[1].get(key) for key in KEY_HEADERS} == {key: theirs[1].get(key) for key in KEY_HEADERS}
    for key in ("x-request-id", "x-ms-request-id", "x-ms-run-fn-exec-ms", "x-ms-server-version"):
        assert (key in mine[1]) == (key in theirs[1]), key
    for key in ECHOED.get(name, ()):
        assert mine[1][key] == theirs[1][key] != ""


def test_the_swagger_of_both_hosts_names_the_demo_engine(ours, real):
    for port in (ours, real[0]):
        status, _headers, body = ask(port, "GET", "/swagger.json")
        assert status == 200 and json.loads(body)["info"]["title"] == ENGINE_NAME


def test_text_is_refused_with_the_reason_by_both_hosts(ours, real):
    for port in (ours, real[0]):
        status, _headers, body = ask(port, "POST", "/score", table([["", "pneumonia"]]), JSON)
        assert status == 400 and "no text encoder" in json.loads(body)["message"]


def test_neither_host_listens_beyond_loopback(ours, real):
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    master = psutil.Process(real[1].pid)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (psutil.Process(), master, *master.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in (ours, real[0])
    }
    assert listening == {("127.0.0.1", ours), ("127.0.0.1", real[0])}


def test_mlflow_form_is_answered_with_predictions(ours):
    body = json.dumps({"dataframe_split": json.loads(table([[png(picture()), "object"]]))["input_data"]})
    status, headers, reply = ask(ours, "POST", "/medimageparse/invocations", body, JSON)
    assert status == 200 and headers["content-type"] == "application/json"
    inner = json.loads(json.loads(reply)["predictions"][0]["image_features"])
    assert inner["shape"] == [1, 120, 150] and inner["dtype"] == "uint8"


@pytest.mark.parametrize(
    "body, said",
    [
        (table([["", "x"]]), "dataframe_split"),
        (json.dumps({"dataframe_split": {"columns": ["image", "text"], "data": [["", "x"]], "extra": 1}}), "may hold"),
        (json.dumps({"dataframe_split": {"columns": ["image", "text"], "data": [["", "pneumonia"]]}}), "no text encoder"),
        ("nonsense", "JSON"),
    ],
)
def test_mlflow_form_refuses_with_a_code_and_a_sentence(ours, body, said):
    status, _headers, reply = ask(ours, "POST", "/invocations", body, JSON)
    assert status == 400
    assert json.loads(reply)["error_code"] == "BAD_REQUEST" and said in json.loads(reply)["message"]


def test_mlflow_routes_are_there(ours):
    assert [ask(ours, "GET", path)[0] for path in ("/ping", "/health", "/version")] == [200, 200, 200]
    assert ask(ours, "POST", "/invocations", "{}", {"Content-Type": "text/plain"})[0] == 415


def test_a_chunked_upload_is_read_whole(ours):
    body = table([[png(picture()), "object"]]).encode()
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    status, _headers, reply = ask(ours, "POST", "/score", pieces, PARSE | {"Transfer-Encoding": "chunked"}, chunked=True)
    assert status == 200 and reply == ask(ours, "POST", "/medimageparse/score", body, JSON)[2]


def test_a_body_over_the_limit_gets_413_and_the_next_request_is_served():
    with LocalEndpoint(body_limit=50_000) as endpoint:
        assert ask(endpoint.port, "POST", "/score", b"x" * 50_001, JSON)[0] == 413
        pieces = iter([b"x" * 30_000] * 2)
        assert ask(endpoint.port, "POST", "/score", pieces, JSON | {"Transfer-Encoding": "chunked"}, chunked=True)[0] == 413
        assert ask(endpoint.port, "GET", "/")[0] == 200


def test_a_client_that_asks_first_is_told_before_it_sends_too_much():
    with LocalEndpoint(body_limit=1000) as endpoint, socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ") and answer.count(b"HTTP/1.1") == 1


def test_no_query_header_or_body_reaches_the_log(ours, caplog):
    caplog.set_level("DEBUG")
    ask(ours, "POST", "/score?patient=Doe", table([["Doe", "Doe"]]), JSON | {"Authorization": "Bearer Doe", "x-request-id": "Doe"})
    ask(ours, "GET", "/nowhere?patient=Doe")
    assert "POST /score 500" in caplog.text and "GET /nowhere 404" in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize("path", ["/score", "/medimageparse3d/score", "/medimageparse/score"])
def test_a_request_that_fails_leaves_a_line_in_the_log_that_says_why(ours, caplog, path):
    caplog.set_level("WARNING")
    assert ask(ours, "POST", path, table([[base64.b64encode(b"no image of Doe").decode(), "liver"]]), JSON)[0] in (400, 500)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and lines[0].startswith(f"POST {path} ") and "NIfTI" in lines[0] and "Doe" not in lines[0]


FROM_A_PAGE = {
    "an origin": {"Origin": "https://example.org"},
    "a local origin": {"Origin": "http://127.0.0.1:5001"},
    "an opaque origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "a picture in a page": {"Sec-Fetch-Site": "cross-site"},
    "another name": {"Host": "attacker.example"},
    "another name with our port": {"Host": "attacker.example:5001"},
    "a name that begins like ours": {"Host": "127.0.0.1.attacker.example"},
    "a name that ends like ours": {"Host": "attacker-localhost"},
    "another address": {"Host": "192.168.1.7"},
    "no name": {"Host": ""},
    "a user in front": {"Host": "localhost@attacker.example"},
    "two names": {"Host": "localhost, attacker.example"},
}


@pytest.mark.parametrize("name", FROM_A_PAGE)
@pytest.mark.parametrize("method, path", [("POST", "/score"), ("POST", "/medimageinsight/score"), ("GET", "/"), ("OPTIONS", "/score")])
def test_a_page_in_a_browser_is_refused(ours, name, method, path):
    body = table([[png(picture()), ""]]) if method == "POST" else None
    status, headers, reply = ask(ours, method, path, body, (JSON if body else {}) | FROM_A_PAGE[name])
    assert status == 403 and json.loads(reply)["message"].endswith(".")
    assert not [header for header in headers if header.startswith("access-control")]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:5001", "127.0.0.1:80", "[::1]:5001", "localhost."])
def test_this_computers_own_names_are_answered(ours, host):
    assert ask(ours, "GET", "/", headers={"Host": host})[0] == 200


def test_a_whole_url_in_the_first_line_is_held_to_the_same_rule(ours):
    assert ask(ours, "GET", "http://attacker.example/", headers={"Host": "127.0.0.1"})[0] == 403
    assert ask(ours, "GET", f"http://127.0.0.1:{ours}/", headers={"Host": "127.0.0.1"})[0] == 200


def raw(port: int, sent: bytes, seconds: float = 20.0) -> bytes:
    """What comes back for bytes that are no library's, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


@pytest.mark.parametrize(
    "headers",
    [b"Content-Length: -5", b"Content-Length: " + b"9" * 5000, b"Content-Length: \xb2", b"Content-Length: 1e3", b"Content-Length: +7"]
    + [b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{}" for size in (b"-5", b"+2", b"0x2", b"1_0", b"9" * 300, b"")],
)
def test_lengths_that_are_none_are_answered_with_a_status_and_not_with_silence(ours, headers):
    # Without waiting for the end: the endpoint gives a refused client a second to read.
    with socket.create_connection(("127.0.0.1", ours), timeout=20) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n")
        with connection.makefile("rb") as answer:
            head = list(iter(answer.readline, b"\r\n"))
    assert head[0].startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
    assert b"connection: close\r\n" in [line.lower() for line in head], "what follows would be read as another request"


def test_a_body_in_the_smallest_chunks_takes_no_more_memory_than_its_bytes():
    body, rest = [], [2**18]

    class Chunks(Handler):
        def __init__(self):
            self.headers = {"Transfer-Encoding": "chunked"}
            self.server = types.SimpleNamespace(limits=Limits(), bodies=Budget(2**30))
            self._taken = 0
            self.rfile = io.BufferedReader(io.BytesIO(b"2\r\nab\r\n" * rest[0] + b"0\r\n\r\n"))

    handler = Chunks()
    tracemalloc.start()
    body.append(handler._read_body())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body == [b"ab" * rest[0]] and peak < 8 * len(body[0])


@pytest.mark.parametrize("target", [b"http://[::1/score", b"/a[b]//[c", b"//[::1/score"])
def test_a_target_that_is_no_address_is_refused_with_a_status(ours, target):
    assert raw(ours, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 "))


def test_an_identifier_that_is_echoed_stays_one_header(ours):
    sent = b"GET / HTTP/1.1\r\nHost: localhost\r\nx-request-id: a\r\n b\x1b[31m\r\n\r\n"
    lines = raw(ours, sent).split(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(b":" in line for line in lines[1:]) and not any(b"\x1b" in line for line in lines)


def test_connections_beyond_the_bound_are_told_to_wait_and_room_comes_back():
    with LocalEndpoint(limits=Limits(connections=3, header_s=30)) as endpoint, contextlib.ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=20))
            connection.sendall(b"GET / HTT")
        assert any(raw(endpoint.port, b"").startswith(b"HTTP/1.1 429 ") for _ in range(20))
        before = threading.active_count()
        for _ in range(20):
            raw(endpoint.port, b"")
        assert threading.active_count() <= before
        held.close()
        for _ in range(200):
            with contextlib.suppress(OSError):
                if ask(endpoint.port, "GET", "/")[0] == 200:
                    return
            time.sleep(0.05)
    raise AssertionError("no room came back")


def test_requests_that_do_not_end_are_ended():
    with LocalEndpoint(limits=Limits(header_s=0.5, body_s=0.5)) as endpoint:
        assert raw(endpoint.port, b"GET / HTT") == b""
        assert raw(endpoint.port, b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab").startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as slow:
            with pytest.raises(OSError):  # a byte now and then does not put it off
                for _ in range(600):
                    slow.sendall(b"x")
                    time.sleep(0.05)
        assert ask(endpoint.port, "GET", "/")[0] == 200


def test_bodies_under_way_are_bounded_together_and_the_bytes_are_given_back():
    with LocalEndpoint(body_limit=60_000, limits=Limits(bodies_bytes=100_000)) as endpoint:
        head = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
        for pause in range(1, 11):  # on a busy computer the endpoint may see the second one first, and refuse the one that is to be held
            with socket.create_connection(("127.0.0.1", endpoint.port), timeout=20) as held:
                held.sendall(head + b"x" * 59_000)
                time.sleep(0.1 * pause)
                if (answer := raw(endpoint.port, head + b"x" * 60_000)).startswith(b"HTTP/1.1 429 "):
                    break
        assert answer.startswith(b"HTTP/1.1 429 ")
        for _ in range(200):
            if (answer := raw(endpoint.port, head + b"x" * 60_000)).startswith(b"HTTP/1.1 500 "):
                break
            time.sleep(0.05)
        assert answer.startswith(b"HTTP/1.1 500 ")  # read whole: it is no JSON


def test_a_taken_port_is_told_in_a_sentence(ours):
    with pytest.raises(UsageError, match=rf"Port {ours} is taken"):
        LocalEndpoint(port=ours).start()


def test_an_endpoint_starts_again_after_it_was_stopped():
    endpoint = LocalEndpoint()
    for _ in range(2):
        endpoint.start()
        assert ask(endpoint.port, "GET", "/")[0] == 200
        port = endpoint.port
        endpoint.stop()
        with pytest.raises(OSError):
            ask(port, "GET", "/")


def test_the_process_prints_its_url_and_ends_with_the_program_that_started_it():
    starter = (
        "import subprocess, sys, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'MedImageParseLib.local_endpoint', '--parent-pid', str(os.getpid())],"
        " stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline().strip(), flush=True)\n"
        "sys.stdin.readline()\n"
        "os._exit(0)\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(LIBRARY))
    process = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    url = process.stdout.readline().strip()
    port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/score"))
    assert ask(port, "GET", "/")[2] == b"Healthy"
    process.communicate("done\n", timeout=20)
    with pytest.raises(OSError):
        for _ in range(100):
            ask(port, "GET", "/")
            time.sleep(0.1)


def test_the_command_says_in_one_sentence_that_its_port_is_taken(ours):
    environment = dict(os.environ, PYTHONPATH=str(LIBRARY))
    command = [sys.executable, "-m", "MedImageParseLib.local_endpoint", "--port", str(ours)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: Port") and len(done.stderr.strip().splitlines()) == 1


def test_an_interrupt_while_a_connection_is_taken_ends_the_server_and_is_not_lost(monkeypatch):

    from MedImageParseLib.local_endpoint import server

    host = server._open(0, Limits())
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        thread.join(10)  # its place is free again before the interrupt comes
        raise KeyboardInterrupt

    with socket.create_connection(("127.0.0.1", host.server_port)) as client:
        client.shutdown(socket.SHUT_WR)
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            host.handle_request()
    monkeypatch.undo()
    host.server_close()
