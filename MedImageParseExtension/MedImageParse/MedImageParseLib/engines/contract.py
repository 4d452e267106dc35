"""What every engine is held to: `engine check NAME` asks it these questions, and so may a test of your own engine.

>>> from MedImageParseLib.engines import default_engine
>>> from MedImageParseLib.engines.contract import check_engine
>>> all(finding.is_met for finding in check_engine(default_engine().start()))
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import MedImageParseError
from ..models import LOCAL_NAMES, MODELS
from .hosting import Host
from .interface import Answer

UNKNOWN = "a structure that nobody knows"
PROMPTS = ("liver", UNKNOWN)


@dataclass(slots=True, frozen=True)
class Finding:
    """One demand.

    Attributes:
        demand: what an engine must do, as a sentence's beginning.
        fault: why it is not met; "" where it is.
    """

    demand: str
    fault: str = ""

    @property
    def is_met(self) -> bool:
        return not self.fault


def _oblique() -> np.ndarray:
    turn, tilt = np.deg2rad(20), np.deg2rad(-15)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([0.9, 1.1, 4.0])
    matrix[:3, 3] = (-30, 12, 5)
    return matrix


_FLIPPED = np.diag([-1.0, -1.0, 3.0, 1.0])
VOLUMES: dict[str, tuple[tuple[int, int, int], type, np.ndarray]] = {
    "an oblique volume": ((3, 24, 20), np.int16, _oblique()),
    "a tall volume": ((6, 7, 5), np.int16, _FLIPPED),
    "a volume of one slice": ((1, 18, 16), np.float32, np.eye(4)),
    "a volume that is not square, three columns wide": ((2, 26, 3), np.uint8, _FLIPPED),
}
"""What volumes are asked about: size (slices, rows, columns), kind of number, and matrix from i, j, k to RAS in mm."""
_PICTURES: dict[str, tuple[int, ...]] = {
    "a gray picture": (48, 48),
    "a picture in color that is not square": (30, 52, 3),
    "a picture of one row": (1, 40),
}


def made_up_voxels(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A made-up scan: a bright body with a brighter part, and noise; HU for whole numbers of 16 bits, 0..255 otherwise.

    Args:
        shape: (slices, rows, columns), or (rows, columns[, 3]) of a picture.
        dtype: kind of number.
    """
    place = np.indices(shape[:2] if len(shape) == 3 and shape[2] == 3 and dtype is not np.int16 and shape[0] > 2 else shape)
    middle = [(size - 1) / 2 for size in place.shape[1:]]
    away = sum(((axis - at) / max(1.0, at)) ** 2 for axis, at in zip(place, middle))
    random = np.random.default_rng(7)
    hu = np.where(away < 0.8, 50.0, -1000.0) + np.where(away < 0.2, 70.0, 0.0) + random.normal(0, 8, away.shape)
    values = hu if np.dtype(dtype) == np.int16 else np.clip((hu + 160) / 400 * 255, 0, 255)
    values = values if values.shape == shape else np.repeat(values[..., None], 3, axis=-1)
    return values.astype(dtype)


def check_engine(engine: Host, tell: Callable[[Finding], object] = lambda _finding: None) -> list[Finding]:
    """Hold an engine to the contract.

    Args:
        engine: started; it may still be loading, which is waited for.
        tell: called with each finding.

    Returns:
        one finding a demand; those of models that it does not answer as are left out.
    """
    engine.wait()
    findings = []
    for demand, question in _demands(engine):
        try:
            finding = Finding(demand, question())
        except MedImageParseError as error:
            finding = Finding(demand, str(error))
        except Exception as error:  # an engine in this process may raise anything
            finding = Finding(demand, f"It raised {type(error).__name__}: {error}")
        findings.append(finding)
        tell(finding)
    return findings


def _demands(engine: Host) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "can be asked, and says what it is", partial(_says_what_it_is, engine)
    models = [MODELS[name] for name in engine.facts.models if name in MODELS]
    if any(model.whole_volumes for model in models):
        for title, (shape, dtype, matrix) in VOLUMES.items():
            yield f"takes {title}", partial(_takes_volume, engine, made_up_voxels(shape, dtype), matrix)
        yield "finds nothing it does not know", partial(_knows_its_limits, engine)
        yield "takes no prompt for no work", partial(_takes_no_prompt, engine)
        if engine.facts.is_repeatable:
            yield "answers the same request the same way", partial(_repeats, engine)
        if engine.facts.is_slice_by_slice:
            yield "finds in two slabs what it finds in the whole", partial(_slabs, engine)
    if any(model.segments and not model.whole_volumes for model in models):
        for title, size in _PICTURES.items():
            yield f"takes {title}", partial(_takes_picture, engine, made_up_voxels(size, np.uint8))
    if any(not model.segments for model in models):
        yield "describes pictures by vectors of length 1", partial(_describes, engine)
        if engine.facts.reads_text:
            yield "describes texts in the same space", partial(_describes_texts, engine)


def _says_what_it_is(engine: Host) -> str:
    facts = engine.facts
    unknown = [name for name in facts.models if name not in LOCAL_NAMES]
    if unknown or not facts.models:
        return f"Its models must be among {', '.join(LOCAL_NAMES)}."
    if facts.wants not in ("any", "HU", "8 bits"):
        return 'What it wants must be "any", "HU" or "8 bits".'
    return "" if facts.name and facts.licence else "It must have a name and a licence."


def _fault(answer: Answer, shape: tuple[int, ...], prompts: int) -> str:
    arrays = [answer.labels] if answer.labels is not None else [mask for mask in answer.masks if mask is not None]
    if any(tuple(array.shape) != tuple(shape) for array in arrays):
        return f"A mask has not the shape {shape} of the image."
    if answer.labels is not None and (answer.labels.dtype.kind not in "iu" or answer.labels.min() < 0 or answer.labels.max() > prompts):
        return f"Its labels are not whole numbers from 0 to {prompts}."
    if any(value is not None and not 0 <= value <= 1 for value in answer.existence):
        return "An existence score lies outside 0 to 1."
    return ""


def _takes_volume(engine: Host, voxels: np.ndarray, matrix: np.ndarray) -> str:
    return _fault(engine.segment_volume(voxels, matrix, PROMPTS), voxels.shape, len(PROMPTS))


def _takes_picture(engine: Host, pixels: np.ndarray) -> str:
    return _fault(engine.segment_image(pixels, PROMPTS), pixels.shape[:2], len(PROMPTS))


def _knows_its_limits(engine: Host) -> str:
    answer = engine.segment_volume(np.zeros((2, 12, 14), np.int16), np.eye(4), [UNKNOWN])
    return _fault(answer, (2, 12, 14), 1)


def _takes_no_prompt(engine: Host) -> str:
    answer = engine.segment_volume(made_up_voxels((1, 8, 9), np.int16), np.eye(4), [])
    return "It returned masks although nothing was asked for." if len(answer.masks) else ""


def _full(answer: Answer, shape: tuple[int, ...], prompts: int) -> np.ndarray:
    """Every prompt's mask, whatever the form."""
    if answer.labels is not None:
        return np.array([answer.labels == value for value in range(1, prompts + 1)])
    return np.array([np.zeros(shape, bool) if mask is None else mask for mask in answer.masks])


def _repeats(engine: Host) -> str:
    shape, dtype, matrix = VOLUMES["an oblique volume"]
    first, second = (_full(engine.segment_volume(made_up_voxels(shape, dtype), matrix, PROMPTS), shape, 2) for _time in range(2))
    return "" if np.array_equal(first, second) else "The second answer differs from the first."


def _slabs(engine: Host) -> str:
    shape, dtype, matrix = VOLUMES["a tall volume"]
    voxels = made_up_voxels(shape, dtype)
    whole = _full(engine.segment_volume(voxels.copy(), matrix, PROMPTS), shape, 2)
    cut = shape[0] // 2
    lower = matrix.copy()
    lower[:3, 3] += matrix[:3, 2] * cut
    parts = [
        _full(engine.segment_volume(part.copy(), place, PROMPTS), part.shape, 2)
        for part, place in ((voxels[:cut], matrix), (voxels[cut:], lower))
    ]
    return "" if np.array_equal(whole, np.concatenate(parts, axis=1)) else "Two slabs do not add up to the whole."


def _describes(engine: Host) -> str:
    pictures = [made_up_voxels((48, 48), np.uint8), made_up_voxels((30, 52, 3), np.uint8)]
    first, second = (engine.embed_image(picture) for picture in pictures)
    if first.shape != second.shape:
        return "Vectors of two pictures differ in length."
    return _not_of_length_one(first, second) or (
        "" if np.allclose(first, engine.embed_image(pictures[0])) else "The same picture got two vectors."
    )


def _describes_texts(engine: Host) -> str:
    image, text = engine.embed_image(made_up_voxels((48, 48), np.uint8)), engine.embed_text("chest x-ray pneumonia")
    other = engine.embed_text("brain MR tumor")
    if image.shape != text.shape:
        return "Vectors of texts and of pictures differ in length."
    return _not_of_length_one(text, other) or ("" if not np.allclose(text, other) else "Two texts have the same vector.")


def _not_of_length_one(*vectors: np.ndarray) -> str:
    return "" if all(abs(float(np.linalg.norm(vector)) - 1) < 1e-3 for vector in vectors) else "A vector's length is not 1."
