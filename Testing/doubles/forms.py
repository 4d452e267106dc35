"""Every form in which the published models' replies are documented to come, written with json, gzip and nibabel only.

Masks come in as the truth has them: volumes in nibabel's i, j, k order, pictures as rows and columns; bool, or float in 0..1.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np

WRONG_AFFINE = np.array([[0.0, 2.5, 0.0, -700.0], [-0.3, 0.0, 9.0, 4000.0], [0.0, -1.0, 0.5, 33.0], [0.0, 0.0, 0.0, 1.0]])


@dataclass(slots=True, frozen=True)
class Form:
    """One way to write a reply.

    Attributes:
        inner: "json", "repr" or "object": how the cell holds its dictionary.
        outer: "own" (a list for Azure ML, {"predictions": …} for MLflow), "list" or "predictions".
        values: pictures and stacks: "probabilities" (0..255), "masks" (0/1) or "fractions" (floats 0..1).
        volume: "labels" (one 3D labelmap), "single" (3D fractions of the only prompt), "stack" (4D NIfTI, prompts last) or
            "image_features" (4D array: prompt, k, j, i).
        dtype: of labels.
        packed: gzip or plain NIfTI.
        axes: order in which the sent i, j, k come back.
        affine: "own" or "wrong".
        broken_lines: base64 with a line break every 76 letters.
        classes: "list" or "repr" of text_features.
    """

    inner: str = "json"
    outer: str = "own"
    values: str = "probabilities"
    volume: str = "labels"
    dtype: str = "uint8"
    packed: bool = True
    axes: tuple[int, int, int] = (0, 1, 2)
    affine: str = "own"
    broken_lines: bool = False
    classes: str = "list"


_PLAIN = Form()
PICTURE_FORMS = {
    f"{inner} {values} {outer}": replace(_PLAIN, inner=inner, values=values, outer=outer)
    for inner in ("json", "repr", "object") for values in ("probabilities", "masks", "fractions") for outer in ("list", "predictions")
} | {"broken lines": replace(_PLAIN, broken_lines=True), "repr classes": replace(_PLAIN, classes="repr")}  # fmt: skip
_CONTENTS = {
    **{
        f"{dtype} labels": Form(dtype=dtype)
        for dtype in ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64")
    },
    "wrong affine": Form(affine="wrong"),
    "plain labels": Form(packed=False),
    "broken lines": Form(broken_lines=True),
    "fractions 4D": Form(volume="stack", values="fractions"),
    "masks 4D": Form(volume="stack", values="masks"),
    "plain probabilities 4D": Form(volume="stack", values="probabilities", packed=False),
    "image_features fractions": Form(volume="image_features", values="fractions"),
    "image_features probabilities": Form(volume="image_features", values="probabilities"),
    "image_features masks": Form(volume="image_features", values="masks"),
}
_WRAPPINGS = {
    f"{inner} {outer}": {"inner": inner, "outer": outer} for inner in ("json", "repr", "object") for outer in ("list", "predictions")
}
VOLUME_FORMS = _CONTENTS | {
    f"{name} {wrapping}": replace(_CONTENTS[name], **fields)
    for name in ("uint8 labels", "fractions 4D", "image_features masks") for wrapping, fields in _WRAPPINGS.items()
}  # fmt: skip


def picture_row(masks: list[np.ndarray], form: Form) -> dict:
    """The row of one picture: image_features (prompts, rows, columns) and text_features."""
    maps = _valued(np.stack(masks), form.values)
    classes = ["other organ"] * len(masks)
    return {
        "image_features": _cell(_array(maps, form), form),
        "text_features": repr(classes) if form.classes == "repr" else classes,
    }


def volume_row(masks: list[np.ndarray], affine: np.ndarray, form: Form) -> dict:
    """The row of one volume; masks in i, j, k order."""
    masks = [mask.transpose(form.axes) for mask in masks]
    if form.volume == "image_features":
        stack = _valued(np.stack([mask.transpose(2, 1, 0) for mask in masks]), form.values)
        return {"image_features": _cell(_array(stack, form), form), "text_features": ["other organ"] * len(masks)}
    if form.volume == "labels":
        voxels = np.zeros(masks[0].shape, form.dtype)
        for number, mask in enumerate(masks, start=1):
            voxels[mask >= 0.5] = number
    elif form.volume == "single":
        (mask,) = masks
        voxels = _valued(mask, "fractions")
    else:
        voxels = np.stack([_valued(mask, form.values) for mask in masks], axis=-1)
    data = nifti_bytes(voxels, WRONG_AFFINE if form.affine == "wrong" else affine)
    return {"nifti_file": _cell({"data": _base64(gzip.compress(data, 1) if form.packed else data, form)}, form)}


def nifti_bytes(voxels: np.ndarray, affine: np.ndarray) -> bytes:
    """A plain NIfTI-1 file, as nibabel writes it."""
    return nib.Nifti1Image(voxels, affine, dtype=voxels.dtype).to_bytes()


def wrap(rows: list[dict], form: Form, dialect: str) -> bytes:
    """The body of a reply."""
    bare = form.outer == "list" or (form.outer == "own" and dialect == "azureml")
    return json.dumps(rows if bare else {"predictions": rows}).encode()


def _valued(mask: np.ndarray, values: str) -> np.ndarray:
    if values == "masks":
        return (mask >= 0.5 if mask.dtype != np.bool_ else mask).astype(np.uint8)
    if mask.dtype == np.bool_:  # the two values of the type that goes out, as hundreds of squares are made
        inside, outside = (np.uint8(237), np.uint8(10)) if values == "probabilities" else (np.float32(0.93), np.float32(0.04))
        return np.where(mask, inside, outside)
    share = mask.astype(np.float32)
    return np.rint(share * 255).astype(np.uint8) if values == "probabilities" else share


def _array(array: np.ndarray, form: Form) -> dict:
    return {"data": _base64(np.ascontiguousarray(array).tobytes(), form), "shape": list(array.shape), "dtype": array.dtype.name}


def _base64(data: bytes, form: Form) -> str:
    return (base64.encodebytes if form.broken_lines else base64.b64encode)(data).decode()


def _cell(inner: dict, form: Form) -> object:
    return {"json": json.dumps, "repr": repr, "object": lambda value: value}[form.inner](inner)
