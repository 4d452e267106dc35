"""Hosts doubles/published_model.py on the real servers, on loopback: `mlflow models serve` and azureml-inference-server-http.

`python published_servers.py save FOLDER KIND…` saves models, each in a folder of its kind; the rest is used by the tests. The Azure server has no option for its
address and would listen on every interface: its own constant is replaced before it starts.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("medimageparse", "medimageparse3d", "medimageinsight")
ENTRY = """
import json, os
import mlflow, pandas as pd

def init():
    global model
    model = mlflow.pyfunc.load_model(os.environ["PUBLISHED_MODEL_FOLDER"])

def run(raw):
    body = json.loads(raw)
    frame = pd.DataFrame(body["input_data"]["data"], columns=body["input_data"]["columns"], index=body["input_data"].get("index"))
    return model.predict(frame, params=body.get("params") or None)
"""

ON_LOOPBACK = """
import sys
from azureml_inference_server_http import amlserver
amlserver.DEFAULT_HOST = "127.0.0.1"
amlserver.run()
"""


def save(folder: str, kind: str) -> None:
    """Save the model of one kind with its published signature (azureml-assets, MLmodel files)."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    required = kind != "medimageinsight"
    inputs = Schema([ColSpec("binary", "image", required=required), ColSpec("string", "text", required=required)])
    params = (
        None
        if required
        else ParamSchema(
            [
                ParamSpec("image_standardization_jpeg_compression_ratio", "integer", 75),
                ParamSpec("image_standardization_image_size", "integer", 512),
                ParamSpec("get_scaling_factor", "boolean", True),
            ]
        )
    )
    note = Path(folder).with_suffix(".kind")
    note.write_text(kind)
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(HERE / "published_model.py"),
        artifacts={"kind": str(note)},
        signature=ModelSignature(inputs=inputs, params=params),
        pip_requirements=[],
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(host: str, model: Path, work: Path):
    """Yields the scoring URL of `model` on the real server `host`: "mlflow" or "azureml"."""
    port = free_port()
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PUBLISHED_MODEL_FOLDER": str(model)}
    if host == "mlflow":
        command = [
            str(scripts / "mlflow"),
            "models",
            "serve",
            "-m",
            str(model),
            "--env-manager",
            "local",
            "-p",
            str(port),
            "-h",
            "127.0.0.1",
        ]
        health, path = "/ping", "/invocations"
    else:
        entry = work / f"entry_{port}.py"
        entry.write_text(ENTRY)
        command = [sys.executable, "-c", ON_LOOPBACK, "--entry_script", str(entry), "--port", str(port)]
        health, path = "/", "/score"
    with running(command, environment, work, f"http://127.0.0.1:{port}{health}"):
        yield f"http://127.0.0.1:{port}{path}"


@contextmanager
def running(command: list[str], environment: dict[str, str], work: Path, health: str):
    """A server while the block runs, once the URL `health` answers; its words go to a file in `work`."""
    with open(work / f"{health.split(':')[2].split('/')[0]}.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=work, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_healthy(process, health)
        yield
    finally:
        _end(process)


def _wait_until_healthy(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it answered")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server did not come up in 120 seconds")


def _end(process: subprocess.Popen) -> None:
    import psutil

    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for member in family:
        try:
            member.terminate()
        except psutil.NoSuchProcess:
            continue
    _gone, alive = psutil.wait_procs(family, timeout=5)
    for member in alive:
        member.kill()
    process.wait(timeout=10)


if __name__ == "__main__":
    for each in sys.argv[3:]:
        save(str(Path(sys.argv[2]) / each), each)
