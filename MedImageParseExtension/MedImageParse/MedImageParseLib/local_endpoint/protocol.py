"""The server's side of the wire: request bodies in, reply objects out, in the forms that the three models' endpoints use.

One server plays all three models, each at an address of its own. Where none was named, what the request holds decides: a NIfTI volume with
text is MedImageParse 3D's, a picture without text or text alone MedImageInsight's. A picture with text is a request that MedImageParse and
MedImageInsight both take, so it is refused there. The key "engine" in each reply says who really answered.

Dialects: Azure ML's `{"input_data": {"columns", "index", "data"}, "params"}` answered by a bare list, and MLflow's `{"dataframe_split":
…}` answered by `{"predictions": […]}`.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass

import numpy as np

from ..engines import default_engine
from ..engines.hosting import Host
from ..engines.interface import Answer, Facts
from ..errors import InputError, MedImageParseError, UsageError
from ..imaging.nifti import decode_nifti, encode_nifti
from ..models import LOCAL_NAMES, MODEL_NAMES, MODELS, SLICES, VECTORS, VOLUMES

MODEL_HEADER = "x-medimageparse-model"
"""Names the model at an address that does not; this project's client sends it to endpoints on the same computer."""

# What one request may cost, however small it is. A gzip or PNG may claim to hold far more than it sends.
MOST_VOLUME_BYTES = 1 << 30  # unpacked, all rows together
MOST_PIXELS = 1 << 24  # of one picture: 4096 x 4096
MOST_PIXELS_IN_SUM = 1 << 26  # of all rows
MOST_MASK_BYTES = 96 << 20  # of a reply's masks before base64: 24 prompts on 4 pictures of 1024 x 1024
MOST_ROWS, MOST_PROMPTS = 1024, 2048  # the documents name 256 and 1024 rows at most
_MOST_VALUES = 1 << 18  # commas, colons and brackets of the JSON; an image has none

_PNG, _JPEG, _GZIP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x1f\x8b"
_CLASSES = {"liver": "liver", "lung": "lung", "kidney": "kidney", "brain": "brain anatomies", "tumor": "tumor", "lesion": "other lesion"}
_NO_TEXT = "For text use a MedImageInsight endpoint: this one has no text encoder and describes images only, by the {engine}."
_PARAMS = {"image_standardization_jpeg_compression_ratio": int, "image_standardization_image_size": int, "get_scaling_factor": bool}


class BadRequest(MedImageParseError):
    """The body is not a request that a model's endpoint would take."""


class NotOffered(MedImageParseError):
    """A sound request for something that the engine does not have, or will not do; the sentence is the engine's."""


class WrongAddress(NotOffered):
    """A request that fits another model than the address's, or two models where the address names none."""


@dataclass(slots=True, frozen=True)
class _Row:
    image: bytes
    text: str


def answer_score(body: str, model: str = "", engine: Host | None = None) -> list[dict[str, object]]:
    """The reply to a body posted to Azure ML's `/score`.

    Args:
        body: JSON text.
        model: the model that the address names (a key of LOCAL_NAMES), "" where it names none.
        engine: who answers; None for the classical demo engine.

    Raises:
        BadRequest: with a sentence that says what is wrong.
        NotOffered: the engine does not have what was asked for.
        EngineError: the engine failed, has ended, or is not ready.
        WrongAddress: the request is another model's, or fits two and none was named.
    """
    request = _parse_json(body)
    if "input_data" not in request:
        hint = ' ("dataframe_split" belongs to the path /invocations)' if "dataframe_split" in request else ""
        raise BadRequest(f'The request has no "input_data"{hint}; send {{"input_data": {{"columns", "index", "data"}}}}.')
    return _answer(request["input_data"], request.get("params"), model, engine or default_engine())


def answer_invocations(body: str, model: str = "", engine: Host | None = None) -> dict[str, object]:
    """The reply to a body posted to MLflow's `/invocations`; arguments and errors as answer_score."""
    request = _parse_json(body)
    if "dataframe_split" not in request:
        raise BadRequest('The request has no "dataframe_split"; send {"dataframe_split": {"columns", "index", "data"}}.')
    table = request["dataframe_split"]
    if isinstance(table, dict) and set(table) - {"columns", "index", "data"}:
        raise BadRequest('"dataframe_split" may hold "columns", "index" and "data" only; leave the rest out.')
    return {"predictions": _answer(table, request.get("params"), model, engine or default_engine())}


def _parse_json(body: str) -> dict[str, object]:
    # Small values unfold to many times their length, so they are counted before they are read.
    if sum(body.count(mark) for mark in ",:[{") > _MOST_VALUES:
        raise BadRequest("The body holds far more values than a request needs; send fewer rows and prompts.")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON; send a JSON object.") from error
    if not isinstance(request, dict):
        raise BadRequest("The body is JSON but not an object; send a JSON object.")
    return request


def _answer(table: object, params: object, model: str, engine: Host) -> list[dict[str, object]]:
    settings = _read_params(params)
    rows = _read_rows(table)
    if not any(row.image or row.text.strip() for row in rows):
        raise BadRequest("The request holds neither an image nor text; send at least one of them.")
    if len({bool(row.image) for row in rows}) > 1:
        raise BadRequest("Some rows have an image and some have none; send images and texts in separate requests.")
    model = model or _only_model(rows, settings)
    fault = _misfit(model, rows, settings)
    if fault is not None:
        raise fault
    _check_cost(rows)
    facts = _offered(engine, model, any(row.text.strip() for row in rows))
    try:
        if not MODELS[model].segments:
            return [_describe(row, bool(settings.get("get_scaling_factor", True)), engine) for row in rows]
        replies = [_segment_picture(row, engine) for row in rows] if not MODELS[model].whole_volumes else _segment_volumes(rows, engine)
    except UsageError as refusal:
        raise NotOffered(str(refusal)) from refusal
    return [reply | {"engine": facts.shown + str(reply.get("engine", ""))} for reply in replies]


def _offered(engine: Host, model: str, has_text: bool) -> Facts:
    """What the engine is. Raises NotOffered where it does not answer as the model, or reads no text."""
    engine.wait()  # what it is, is known for certain once it is loaded
    facts = engine.facts
    if facts.models and model not in facts.models:
        served = " and ".join(MODEL_NAMES[name] for name in facts.models if name in MODEL_NAMES)
        raise NotOffered(f"The {facts.shown} answers as {served} only, not as {MODEL_NAMES[model]}; start the engine that does.")
    if not MODELS[model].segments and has_text and not facts.reads_text:
        raise NotOffered(_NO_TEXT.format(engine=facts.shown_for_vectors))
    return facts


def _only_model(rows: list[_Row], settings: dict[str, object]) -> str:
    """The one model that takes such a request."""
    faults = {name: _misfit(name, rows, settings) for name in LOCAL_NAMES}
    fits = [name for name, fault in faults.items() if fault is None]
    if len(fits) == 1:
        return fits[0]
    if fits:
        titles, addresses = " and ".join(MODEL_NAMES[name] for name in fits), " or ".join(f"/{name}/score" for name in fits)
        raise WrongAddress(f"This request fits {titles}, which answer differently; send it to {addresses}.")
    likely = VECTORS
    if any(row.text.strip() for row in rows):
        likely = SLICES if _is_picture(rows[0].image) else VOLUMES
    fault = faults[likely.name]
    assert fault is not None
    raise fault


def _misfit(model: str, rows: list[_Row], settings: dict[str, object]) -> MedImageParseError | None:
    """Why a model does not take such a request, None where it does. All rows have an image, or none has."""
    pictures = [_is_picture(row.image) for row in rows]
    if not MODELS[model].segments:
        if rows[0].image and not all(pictures):
            return BadRequest(
                "An image without text asks for a description, which needs a PNG or JPEG picture; for a volume name structures."
            )
        return None
    title = MODEL_NAMES[model]
    if not rows[0].image:
        return WrongAddress(f"{title} needs an image in each row; text alone goes to /{VECTORS.name}/score.")
    if set(settings).intersection(_PARAMS):
        return WrongAddress(f"The parameters are {VECTORS.title}'s and unknown to {title}; send them to /{VECTORS.name}/score.")
    if not all(_prompts(row) for row in rows):
        return BadRequest('A row has an image but no prompt in its text; name structures, separated by "&".')
    whole = MODELS[model].whole_volumes
    if not whole and not all(pictures):
        return WrongAddress(f"{title} takes PNG or JPEG pictures; a NIfTI volume goes to /{VOLUMES.name}/score.")
    if whole and any(pictures):
        return WrongAddress(f"{title} takes NIfTI volumes; a PNG or JPEG picture goes to /{SLICES.name}/score.")
    return None


def _check_cost(rows: list[_Row]) -> None:
    """A small request must not lead to a large reply, or to hours of work. Raises BadRequest."""
    prompts = [max(1, row.text.count("&") + 1) for row in rows]
    if len(rows) > MOST_ROWS or sum(prompts) > MOST_PROMPTS:
        raise BadRequest(f"The request has more than {MOST_ROWS} rows or {MOST_PROMPTS} prompts; send fewer at a time.")
    pixels = [_count_pixels(row.image) if _is_picture(row.image) else 0 for row in rows]
    if sum(pixels) > MOST_PIXELS_IN_SUM:
        raise BadRequest(f"The pictures have more than {MOST_PIXELS_IN_SUM:,} pixels together; send fewer at a time.")
    if sum(count * of for count, of in zip(pixels, prompts, strict=True)) > MOST_MASK_BYTES:
        raise BadRequest(f"The masks asked for would take more than {MOST_MASK_BYTES >> 20} MB; send fewer pictures or prompts at a time.")


def _prompts(row: _Row) -> list[str]:
    return [part for part in (part.strip() for part in row.text.split("&")) if part]


def _read_params(params: object) -> dict[str, object]:
    """Known parameters with their types checked as MLflow checks them; unknown ones and what is not an object are ignored."""
    if not isinstance(params, dict):
        return {}
    for name, kind in _PARAMS.items():
        if name in params and type(params[name]) is not kind:
            raise BadRequest(f'The parameter "{name}" must be {"true or false" if kind is bool else "a whole number"}; correct it.')
    return params


def _read_rows(table: object) -> list[_Row]:
    if not isinstance(table, dict):
        raise BadRequest('The table must be an object with "columns", "index" and "data"; send it in that form.')
    columns, data = table.get("columns"), table.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        raise BadRequest('"columns" and "data" must be lists; send them as lists.')
    if "image" not in columns or "text" not in columns:
        raise BadRequest('The table must have the columns "image" and "text"; add the missing one.')
    index = table.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise BadRequest('"index" must be a list with one label for each row of "data"; correct it or leave it out.')
    if not data:
        raise BadRequest('"data" has no rows; send at least one.')
    image_at, text_at = columns.index("image"), columns.index("text")
    rows = []
    for cells in data:
        if not isinstance(cells, list) or len(cells) != len(columns):
            raise BadRequest('Each row of "data" must have one cell for each column; correct the rows.')
        rows.append(_Row(_read_image(cells[image_at]), _read_text(cells[text_at])))
    return rows


def _read_text(cell: object) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise BadRequest('A cell of "text" is not a string; send a string.')
    return cell


def _read_image(cell: object) -> bytes:
    if cell is None or cell == "":
        return b""
    if not isinstance(cell, str):
        raise BadRequest('A cell of "image" is not a string; send base64 text.')
    try:
        # Line feeds in base64 are as welcome as at the real endpoints; validation would refuse them.
        image = base64.b64decode(cell)
    except (binascii.Error, ValueError) as error:
        raise BadRequest('A cell of "image" is not base64; encode the file\'s bytes.') from error
    if not image:
        raise BadRequest('A cell of "image" is not base64 of anything; encode the file\'s bytes.')
    return image


def _segment_picture(row: _Row, engine: Host) -> dict[str, object]:
    prompts = _prompts(row)
    pixels = _open_picture(row.image)
    answer = engine.segment_image(pixels, prompts)
    masks = _stack(answer, len(prompts), pixels.shape[:2])
    inner = {"data": base64.b64encode(masks.data).decode("ascii"), "shape": list(masks.shape), "dtype": "uint8"}
    classes = [_class_of(prompt) for prompt in prompts]
    return {"image_features": json.dumps(inner), "text_features": classes, **_beside(answer, prompts)}


def _segment_volumes(rows: list[_Row], engine: Host) -> list[dict[str, object]]:
    replies: list[dict[str, object]] = []
    left = MOST_VOLUME_BYTES
    for row in rows:
        voxels, ijk_to_ras = _open_volume(row.image, left)
        left -= voxels.nbytes
        prompts = _prompts(row)
        answer = engine.segment_volume(voxels, ijk_to_ras, prompts)
        notes = [*answer.notes, *_misfit_of_values(engine.facts, voxels)]
        reply = encode_nifti(_volume_of(answer, len(prompts), voxels.shape), ijk_to_ras)
        replies.append(
            {
                "nifti_file": json.dumps({"data": base64.b64encode(reply).decode("ascii")}),
                **_beside(answer, prompts),
                **({"warnings": notes} if notes else {}),
            }
        )
    return replies


def _misfit_of_values(facts: Facts, voxels: np.ndarray) -> list[str]:
    """A warning where the values are not those that the engine wants: the masks may then mean nothing, and nobody would know why."""
    sentence = ""
    if facts.wants == "HU" and voxels.dtype == np.uint8:
        sentence = f"{facts.title or facts.name} takes Hounsfield units, and the volume came in 8 bits: leave the window automatic, or choose raw values (--window raw)."
    elif facts.wants == "8 bits" and voxels.dtype != np.uint8 and voxels.size and (voxels.min() < 0 or voxels.max() > 255):
        sentence = f"{facts.title or facts.name} takes 8 bits through a window, and other values came, which were cut off: choose another window than raw."
    return [sentence] if sentence else []


def _beside(answer: Answer, prompts: list[str]) -> dict[str, object]:
    """What goes with the masks: nothing where the engine says nothing. "engine" is what follows the engine's own name."""
    more: dict[str, object] = {}
    if any(value is not None for value in answer.existence):
        more["existence"] = list(answer.existence)
    if any(answer.reasons):
        more["reasons"] = list(answer.reasons)
    others = dict.fromkeys(f"{prompt} found by {name}" for prompt, name in zip(prompts, answer.found_by) if name)
    if others:
        more["engine"] = "".join(f"; {other}" for other in others)
    return more


def _volume_of(answer: Answer, prompts: int, shape: tuple[int, ...]) -> np.ndarray:
    """A labelmap where the masks allow it; else one volume a prompt, 0 to 255, in 4D: overlapping masks and probabilities stay what they are."""
    if answer.labels is not None:
        return answer.labels
    masks = answer.masks
    labels = np.zeros(shape, np.uint8 if prompts <= 255 else np.uint16)
    for value, mask in enumerate(masks, start=1):
        if mask is None:
            continue
        if mask.dtype != bool or labels[mask].any():
            break
        labels[mask] = value
    else:
        return labels
    if prompts * labels.size > MOST_VOLUME_BYTES:
        raise NotOffered("The masks overlap, and one volume for each prompt would be too large for a reply; send fewer prompts at a time.")
    stack = _stack(answer, prompts, shape)
    # Three columns of uint8 would pass for the colors of a volume.
    return stack.astype(np.int16) if shape[-1] == 3 else stack


def _stack(answer: Answer, prompts: int, shape: tuple[int, ...]) -> np.ndarray:
    """One array a prompt, uint8: 0 outside, 255 inside, probabilities between."""
    stack = np.zeros((prompts, *shape), np.uint8)
    for index in range(prompts):
        mask = answer.labels == index + 1 if answer.labels is not None else answer.masks[index]
        if mask is not None:
            stack[index] = _in_255(mask) if mask.dtype.kind == "f" else mask * np.uint8(255)
    return stack


def _in_255(probabilities: np.ndarray) -> np.ndarray:
    """0..1 as 0..255, uint8. Never 1: maps that go no further are read as masks 0 and 1."""
    whole = np.rint(probabilities * np.float32(255)).astype(np.uint8)
    whole[whole == 1] = 0
    return whole


def _describe(row: _Row, with_scaling_factor: bool, engine: Host) -> dict[str, object]:
    reply: dict[str, object] = {}
    if row.image:
        reply["image_features"] = [_vector(engine.embed_image(_open_picture(row.image)))]
    if row.text.strip():
        reply["text_features"] = _vector(engine.embed_text(row.text))
    if with_scaling_factor and engine.facts.scaling_factor is not None:
        reply["scaling_factor"] = engine.facts.scaling_factor
    return reply | {"engine": engine.facts.shown_for_vectors}


def _vector(values: np.ndarray) -> list[float]:
    return values.astype(float).tolist()


def _class_of(prompt: str) -> str:
    """The class among the real model's sixteen that a prompt belongs to."""
    words = prompt.lower().split()
    return next((name for word, name in _CLASSES.items() if any(w.startswith(word) for w in words)), "other organ")


def _is_picture(image: bytes) -> bool:
    return image.startswith((_PNG, _JPEG))


_DAMAGED = "The picture cannot be read: its PNG or JPEG data is damaged; encode it again."


def _count_pixels(image: bytes) -> int:
    """Rows times columns after the header; nothing is unpacked."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG")) as picture:
            pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        pixels = MOST_PIXELS + 1
    except (OSError, ValueError, SyntaxError) as error:
        raise BadRequest(_DAMAGED) from error
    if pixels > MOST_PIXELS:
        raise BadRequest("The picture has too many pixels for the demo engine; send 1024x1024.")
    return pixels


def _open_picture(image: bytes) -> np.ndarray:
    """uint8 (rows, columns) or (rows, columns, 3)."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "JPEG")) as picture:
            if picture.mode.startswith("I"):
                raise BadRequest("The picture has 16 bits a pixel; send 8 bits.")
            return np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadRequest(_DAMAGED) from error


def _open_volume(image: bytes, max_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in kji order and the affine, mm."""
    if not image.startswith(_GZIP) and image[344:347] not in (b"n+1", b"ni1") and image[4:7] != b"n+2":
        raise BadRequest("The image is neither PNG, JPEG nor NIfTI; send a PNG picture or a .nii.gz volume.")
    try:
        nifti = decode_nifti(image, max_bytes=max_bytes)
    except InputError as error:
        raise BadRequest(f"The volume cannot be read: {error}") from error
    voxels = nifti.voxels
    if voxels.ndim == 4 and voxels.shape[0] == 1:
        voxels = voxels[0]
    if voxels.ndim != 3:
        raise BadRequest("The NIfTI file does not hold one volume of three dimensions; send one volume at a time.")
    return voxels, nifti.ijk_to_ras
