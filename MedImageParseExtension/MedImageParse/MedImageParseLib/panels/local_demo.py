"""The local endpoint as a process of its own, run by Slicer's own Python: nothing is installed. The demo engine answers, or one that was added.

It listens on this computer only, on a port that the system chooses, and ends with Slicer, also after a crash (it watches its parent).

The sample: a made-up CT, made on this computer. Nothing is downloaded and no patient is in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..engines.classical.phantom import make_phantom
from ..engines.store import Added, engines_folder
from ..imaging.volume import Volume
from ..program import python_executable
from ..scene.volumes import nodeFromVolume
from .widgets import ifNotDestroyed

_STOP_MS = 2000
_KEPT_BYTES, _LONGEST_LINE = 4096, 200  # of what it writes to its standard error
_LIBRARY = Path(__file__).resolve().parents[1]


class DemoProcess:
    """Starts and ends the demo endpoint.

    Args:
        onChange: called when it has become ready, has ended, or could not be started.

    Attributes:
        engine: who answers, where it is not the demo engine; None where it is.
        url: where it answers, "" while it does not.
        fault: a sentence on why it is not running, "" where nothing went wrong.
    """

    def __init__(self, onChange: Callable[[], object]):
        self._listeners = [onChange]
        self._process: Any = None
        self._heard = self._errors = b""
        self.engine: Added | None = None
        self.url = ""
        self.fault = ""

    def listen(self, onChange: Callable[[], object]) -> None:
        """Tell somebody else too."""
        self._listeners.append(onChange)

    @property
    def isStarted(self) -> bool:
        """Asked to run, and not ended since; ready as soon as `url` is there."""
        return self._process is not None

    def start(self, engine: Added | None = None) -> None:
        """Start it; returns at once.

        Args:
            engine: who is to answer; None for the demo engine.
        """
        if self._process is not None:
            return
        self.engine = engine
        self.url, self.fault, self._heard, self._errors = "", "", b"", b""
        process = qt.QProcess()
        environment = qt.QProcessEnvironment.systemEnvironment()
        others = environment.value("PYTHONPATH", "")
        environment.insert("PYTHONPATH", os.pathsep.join(filter(None, (str(_LIBRARY.parent), others))))
        environment.insert("MEDIMAGEPARSE_ENGINES_DIR", str(engines_folder()))  # which follows Slicer's own settings here
        environment.remove("MEDIMAGEPARSE_KEY")  # it has no use for it
        process.setProcessEnvironment(environment)
        process.connect("readyReadStandardError()", self._listenToErrors)
        process.connect("readyReadStandardOutput()", self._listen)
        process.connect("finished(int,QProcess::ExitStatus)", self._ended)
        process.connect("errorOccurred(QProcess::ProcessError)", self._failed)
        self._process = process
        words = ["-m", f"{_LIBRARY.name}.local_endpoint", "--port", "0", "--parent-pid", str(os.getpid())]
        process.start(python_executable(), words + (["--engine", engine.name] if engine is not None else []))

    def stop(self) -> None:
        """End it, and wait until it is gone. Safe to call at any time."""
        process, self._process = self._process, None
        self.url = self.fault = ""
        if process is None:
            return
        with ifNotDestroyed():  # Qt ends what it destroys
            process.disconnect("finished(int,QProcess::ExitStatus)", self._ended)
            process.disconnect("errorOccurred(QProcess::ProcessError)", self._failed)
            process.disconnect("readyReadStandardOutput()", self._listen)
            process.disconnect("readyReadStandardError()", self._listenToErrors)
            process.kill()  # it keeps no state, and on Windows nothing gentler reaches a program without a window
            process.waitForFinished(_STOP_MS)

    def _listen(self) -> None:
        if self._process is None:
            return
        self._heard += _bytes(self._process.readAllStandardOutput())
        line, newline, _rest = self._heard.partition(b"\n")
        if newline and not self.url:
            self.url = line.decode("ascii", "replace").strip()
            self.tell()

    def _listenToErrors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + _bytes(self._process.readAllStandardError()))[-_KEPT_BYTES:]

    def _lastWords(self) -> str:
        """The last line that it wrote to its standard error, "" where there is none."""
        self._listenToErrors()
        lines = [line.strip() for line in self._errors.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:_LONGEST_LINE] if lines else ""

    def _failed(self, *_error: object) -> None:
        if self._process is not None and not self.url:
            self._gone(_("The local demo could not be started; see the log for details."))

    def _ended(self, *_status: object) -> None:
        if self._process is not None:
            last = self._lastWords()
            if last:
                self._gone(_("The local demo has stopped ({reason}); start it again.").format(reason=last))
            else:
                self._gone(_("The local demo has stopped; start it again."))

    def _gone(self, sentence: str) -> None:
        process, self._process = self._process, None
        self.url, self.fault = "", sentence
        # Not dropped within its own signal: the object must outlive the call that it is in.
        qt.QTimer.singleShot(0, process.deleteLater)
        self.tell()

    def tell(self) -> None:
        """Tell everybody that something about it has changed."""
        for listener in list(self._listeners):
            listener()


def _bytes(data: Any) -> bytes:
    """What a QByteArray holds, whichever way the Qt binding hands it out."""
    content = data.data() if hasattr(data, "data") else data
    return content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content)


NAME = "SampleCT"
PROMPTS = "lungs\nbones\nunicorn"  # the last is not in it: that is a result too


def makeSample() -> Volume:
    """The sample's voxels. Takes some seconds and touches no scene: good for a worker."""
    phantom = make_phantom()
    return Volume(phantom.voxels, phantom.ijk_to_ras, modality="CT")


def showSample(volume: Volume) -> Any:
    """Put the sample into the scene and into the slice views.

    Returns:
        the volume node.
    """
    node = nodeFromVolume(volume, slicer.mrmlScene.GenerateUniqueName(NAME))
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def loadSample(*_source: object) -> Any:
    """Both at once, for the Sample Data module and for scripts. Returns the volume node."""
    return showSample(makeSample())


# A real CT that anybody may have, as its project keeps it for its own tests (Apache-2.0): it is fetched only when a person asks for it, and
# Slicer compares it with this checksum.
REAL_NAME = "AbdomenCT"
_REAL_URL = "https://github.com/wasserth/TotalSegmentator/raw/master/tests/reference_files/example_ct_sm.nii.gz"
_REAL_CHECKSUM = "SHA256:e50c00b2914e2cac0aaee8e7f3b5f57d44d9f21bfd5c0577271c54c0cb49e9fb"


def registerInSampleData() -> None:
    """Offer the synthetic sample, and a real CT of the tutorial, in Slicer's Sample Data module."""
    try:
        import SampleData
    except ImportError:
        return  # a Slicer built without that module
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    icons = _LIBRARY.parent / "Resources" / "Icons"
    register(
        category="MedImageParse",
        sampleName=NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=loadSample,
        thumbnailFileName=str(icons / f"{NAME}.png"),
    )
    register(
        category="MedImageParse",
        sampleName=REAL_NAME,
        uris=_REAL_URL,
        fileNames=f"{REAL_NAME}.nii.gz",
        nodeNames=REAL_NAME,
        checksums=_REAL_CHECKSUM,
        thumbnailFileName=str(icons / f"{REAL_NAME}.png"),
    )
