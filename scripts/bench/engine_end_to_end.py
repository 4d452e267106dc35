"""A local engine from end to end: its server, and this program's client, on our own server and on Azure ML's own (azmlinfsrv).

    python3 scripts/bench/engine_end_to_end.py biomedparse --prompt liver --prompt spleen
    python3 scripts/bench/engine_end_to_end.py FILE.py:Class --host own

For a person who has the weights: `engine add` first. Volumes that are oblique, tall, of one slice and not square come back on their own grid,
the same request gets the same answer, and two slabs equal the whole bit for bit; pictures come back on their pixels, vectors have the length 1.
Each line says what was looked at and how long it took; the exit status is 1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "MedImageParseExtension" / "MedImageParse"), str(ROOT / "Testing")]

from doubles import published_servers
from MedImageParseLib import Volume, check, classify, embed, segment
from MedImageParseLib.engines.contract import VOLUMES, made_up_voxels
from MedImageParseLib.engines.interface import Facts
from MedImageParseLib.engines.store import find_engine
from MedImageParseLib.local_endpoint import score
from MedImageParseLib.local_endpoint.server import LocalEndpoint

_PATIENCE_S = 3600.0


@contextmanager
def own(engine: str) -> Iterator[Callable[[str], str]]:
    """Our own server. Gives the address of a model."""
    host = find_engine(engine, patience_s=_PATIENCE_S, on_change=lambda sentence: print(f"engine: {sentence}"))
    with LocalEndpoint(engine=host) as endpoint:
        host.wait()
        yield endpoint.url_of


@contextmanager
def azureml(engine: str) -> Iterator[Callable[[str], str]]:
    """Azure ML's own server with our entry script, on loopback."""
    port = published_servers.free_port()
    command = [sys.executable, "-c", published_servers.ON_LOOPBACK, "--entry_script", score.__file__, "--port", str(port)]
    environment = {**os.environ, "MEDIMAGEPARSE_ENGINE": engine}
    with (
        tempfile.TemporaryDirectory() as folder,
        published_servers.running(command, environment, Path(folder), f"http://127.0.0.1:{port}/"),
    ):
        yield lambda _model: f"http://127.0.0.1:{port}/score"


class Findings:
    """Prints what was looked at; counts what is not as it should be."""

    def __init__(self) -> None:
        self.missed = 0

    def look(self, what: str, question: Callable[[], bool]) -> None:
        """Ask one question, and print its answer and its time."""
        began = time.perf_counter()
        try:
            fault = "" if question() else "not as it should be"
        except Exception as error:
            fault = str(error)
        self.missed += bool(fault)
        print(f"{'NO' if fault else 'ok'}  {what}, {time.perf_counter() - began:.1f} s{f': {fault}' if fault else ''}", flush=True)


def look_at(facts: Facts, url_of: Callable[[str], str], prompts: list[str], window: str, findings: Findings) -> None:
    """Ask the engine behind a server as its models are asked."""
    models = facts.models
    if "medimageparse3d" in models:
        address, model = url_of("medimageparse3d"), "medimageparse3d"

        def masks(volume: Volume, slabs: str = "none") -> np.ndarray:
            result = segment(
                volume, prompts, model=model, endpoint=address, window=window, slabs=slabs, group="together", timeout=_PATIENCE_S
            )
            assert result.report["engine"], "the reply does not name the engine"
            print(f"    {[int(prompt.mask.count) for prompt in result.prompts]} voxels; window: {result.report['window']}")
            return np.stack([prompt.array for prompt in result.prompts])

        for title, (shape, dtype, matrix) in VOLUMES.items():
            volume = Volume(made_up_voxels(shape, dtype), matrix)
            findings.look(f"{title} comes back on its grid", lambda volume=volume: masks(volume).shape[1:] == volume.voxels.shape)
        tall = Volume(made_up_voxels((12, 40, 32), np.int16), np.diag([-1.0, -1.0, 3.0, 1.0]))
        whole: list[np.ndarray] = []
        findings.look("a volume of twelve slices", lambda: whole.append(masks(tall)) is None)
        findings.look("the same request has the same answer", lambda: np.array_equal(masks(tall), whole[0]))
        findings.look("two slabs equal the whole, bit for bit", lambda: np.array_equal(masks(tall, "2"), whole[0]))
    if "medimageparse" in models:
        picture = Volume(made_up_voxels((30, 52, 3), np.uint8)[None], is_picture=True)

        def on_pixels() -> bool:
            found = segment(picture, prompts, model="medimageparse", endpoint=url_of("medimageparse"), timeout=_PATIENCE_S)
            return all(prompt.array.shape[:3] == (1, 30, 52) for prompt in found.prompts)

        findings.look("a picture in color comes back on its pixels", on_pixels)
    if "medimageinsight" in models:
        picture = Volume(made_up_voxels((48, 48), np.uint8)[None], is_picture=True)

        def vectors() -> bool:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "vectors.npz"
                embed(picture, endpoint=url_of("medimageinsight"), output=file, timeout=_PATIENCE_S)
                return bool(np.allclose(np.linalg.norm(np.load(file)["vectors"], axis=1), 1, atol=1e-3))

        findings.look("a picture has a vector of length 1", vectors)
        if facts.reads_text:
            labels = ["chest x-ray pneumonia", "brain MR tumor"]
            findings.look(
                "a picture is compared with texts",
                lambda: classify(picture, label=labels, endpoint=url_of("medimageinsight"), timeout=_PATIENCE_S) is not None,
            )
    findings.look("the check names it", lambda: print(f"    {check(model=models[0], endpoint=url_of(models[0])).sentence}") is None)


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("engine", metavar="NAME|FILE.py:Class", help="an engine that was added, classical, or a class of your own")
    parser.add_argument("--prompt", action="append", default=[], help="what to ask for (default: liver and spleen)")
    parser.add_argument("--host", action="append", default=[], choices=("own", "azureml"), help="which servers (default: both)")
    parser.add_argument("--window", default="auto", help="as of segment")
    options = parser.parse_args()
    findings = Findings()
    host = find_engine(options.engine, patience_s=_PATIENCE_S)
    host.start().wait()
    facts = host.facts
    print(facts.shown)
    host.stop()
    for name in options.host or ("own", "azureml"):
        print(f"{name}:")
        with {"own": own, "azureml": azureml}[name](options.engine) as url_of:
            look_at(facts, url_of, options.prompt or ["liver", "spleen"], options.window, findings)
    return 1 if findings.missed else 0


if __name__ == "__main__":
    sys.exit(main())
