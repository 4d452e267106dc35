"""What the Logic's tests share: a connection that answers when the test says so, a phantom, and polling."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scene_support import blob, oblique, spec

from doubles.endpoint import DirectReply, EndpointDouble
from doubles.truth import GrayRanges
from MedImageParseLib.errors import EndpointError
from MedImageParseLib.imaging.volume import Volume
from MedImageParseLib.logic.segmentation import MedImageParseLogic
from MedImageParseLib.scene import session
from MedImageParseLib.scene.segments import importSegments
from MedImageParseLib.scene.volumes import nodeFromVolume

SHAPE = (5, 20, 24)
GRAYS = {"cube": (90, 110), "bar": (190, 210)}
STAGES = ("queued", "preparing", "running", "importing")


@pytest.fixture
def scene():
    yield session.newScene()
    session.closeScene()


@pytest.fixture
def logic():
    threads = set(threading.enumerate())
    logic = MedImageParseLogic()
    yield logic
    logic.close()
    assert set(threading.enumerate()) <= threads


class HeldClient:
    """A connection without a network whose replies come when the test says so.

    Attributes:
        arrived: set when a request is out. go: let replies through (set from the start; clear it to hold them).
        failAt: number of the request (from 1) that fails.
    """

    name, dialect, body_limit = "http://127.0.0.1/score", "azureml", 100 * 2**20

    def __init__(self, truth=None, max_in_flight=1, failAt=0):
        self.double = EndpointDouble(truth or GrayRanges(GRAYS))
        self.max_in_flight, self.failAt = max_in_flight, failAt
        self.arrived, self.go, self.each = threading.Event(), threading.Event(), threading.Semaphore(0)
        self.go.set()
        self.step_by_step = False

    def send(self, body, *, progress=None, cancellation=None, max_reply_bytes=0, model="", work=0):
        assert threading.current_thread() is not threading.main_thread()
        progress("uploading", len(body), len(body))
        reply = self.double.answer(body)
        self.arrived.set()
        while not (self.each.acquire(timeout=0.005) if self.step_by_step else self.go.wait(0.005)):
            cancellation.check()
            progress("model working", 1.0, 0)
        if len(self.double.seen) == self.failAt:
            raise EndpointError("The endpoint failed.", tries=1)
        return DirectReply(reply, 1, ["request"])

    def close(self):
        raise AssertionError("a client that was handed in is not closed")


def phantom() -> np.ndarray:
    """Background 10, a cube of 100 and a bar of 200, without symmetry."""
    voxels = np.full(SHAPE, 10, np.uint8)
    voxels[1:4, 3:9, 4:12] = 100
    voxels[2:5, 12:18, 2:22] = 200
    return voxels


def ct(affine=None, voxels=None, name="CT"):
    return nodeFromVolume(Volume(phantom() if voxels is None else voxels, oblique() if affine is None else affine), name)


def poll_until(logic, condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        logic.poll()
        time.sleep(0.001)


def start(logic, node, prompts="cube & bar & unicorn", client=None, how="segmentVolume", **options):
    ended = []
    job = getattr(logic, how)(node, prompts, client=client or HeldClient(), callback=ended.append, **options)
    return job, ended


def bring_to(logic, job, client, stage):
    if stage == "queued":
        return
    client.go.clear() if stage != "importing" else client.go.set()
    poll_until(logic, lambda: job.state == stage)
    if stage == "running":
        poll_until(logic, client.arrived.is_set)


def existing_segmentation(node):
    return importSegments(None, node, [spec("mine", blob(SHAPE, 1)), spec("cube", blob(SHAPE, 2))]).segmentationNode


def segmentations(scene):
    return scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


def tall_phantom():
    """Larger slices, so that padding to the square and back costs nothing that matters."""
    voxels = np.full((5, 256, 256), 10, np.uint8)
    voxels[1:4, 60:120, 80:160] = 100
    return voxels
