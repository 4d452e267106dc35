"""MedImageParse 3D: a .nii.gz volume with "A & B" prompts out; a NIfTI of labels or probabilities back.

Reply row: {"nifti_file": <{"data": base64 of a gzip or plain NIfTI}>}, where the NIfTI is
* an integer labelmap, value k = k-th prompt (also stored as float with whole values), or
* float probabilities of the only prompt (3D), or of each prompt on the last axis (4D), or masks likewise;
or, as in 2D, {"image_features": <{"data", "shape": [prompts, k, j, i], "dtype"}>}.
The affine of a reply is not looked at: voxels go back onto the grid that was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError, ReplyError
from ..imaging.nifti import NiftiReader, encode_nifti
from ..imaging.volume import CroppedMask, bounding_box, three
from ..remedies import Sentence
from .envelope import Rows, Said, build_body, decode_array, decode_base64, enough_memory, open_cell, parse_rows, quote, reply_limit

_WIDEST = 8  # bytes a voxel: float64, as numpy makes probabilities
_PROBE_KJI = (8, 64, 64)
_HEADER = 64 * 1024  # bytes of a NIfTI's header and extensions


@dataclass(slots=True)
class VolumeReply:
    """The masks of one volume, on the grid that was sent.

    Attributes:
        masks: one CroppedMask a prompt, in the order of the prompts; empty where the structure was not found.
        probabilities: one float32 kji array in 0..1 a prompt where the reply carries them and they were asked for, else None.
        form: how the reply came, for the report.
        engine: what a local endpoint calls its engine, "" otherwise.
        warnings: sentences.
        full_scale: value that stands for certainty in a 4D reply, 1 or 255; None for labels.
        said: what a local engine says beside the masks.
    """

    masks: list[CroppedMask]
    probabilities: list[np.ndarray] | None
    form: str
    engine: str
    warnings: list[str] = field(default_factory=list)
    full_scale: float | None = None
    said: Said = field(default_factory=Said)


def build_request(nifti: bytes, text: str, dialect: str) -> bytes:
    """One request with one volume (more in a request is not documented)."""
    return build_body([(nifti, text)], dialect)


def largest_reply(prompts: int, shape_kji: tuple[int, int, int]) -> int:
    """Bytes that the reply to such a request can need: one volume a prompt, in the widest type, not compressed.

    Args:
        prompts: how many are sent.
        shape_kji: shape of the volume that is sent.
    """
    return reply_limit(_HEADER + prompts * shape_kji[0] * shape_kji[1] * shape_kji[2] * _WIDEST)


@enough_memory()
def parse_reply(body: bytes, prompts: int, shape_kji: tuple[int, int, int], keep_probabilities: bool = False) -> VolumeReply:
    """The masks in a reply.

    Args:
        body: bytes of the reply, JSON.
        prompts: how many were sent.
        shape_kji: shape of the volume that was sent.
        keep_probabilities: also return the full probability volumes, where there are any.

    Raises:
        ReplyError: none of the documented forms, or it does not fit what was sent.
    """
    rows = parse_rows(body, 1)
    row = rows.rows[0]
    if "nifti_file" in row:
        inner, inner_form = open_cell(row["nifti_file"], "nifti_file")
        return _parse_nifti(inner, f"{rows.form}; nifti_file as {inner_form}", rows, prompts, shape_kji, keep_probabilities)
    if "image_features" in row and isinstance(row["image_features"], (str, dict)):
        inner, inner_form = open_cell(row["image_features"], "image_features")
        return _parse_array(inner, f"{rows.form}; image_features as {inner_form}", rows, prompts, shape_kji, keep_probabilities)
    raise ReplyError("The reply has no nifti_file; another model may be behind this URL: {row}", row=quote(row), code="wrong-model")


def build_probe(dialect: str) -> bytes:
    """A tiny request that tests a connection: a made-up volume of eight slices, one prompt."""
    _, row, column = np.mgrid[: _PROBE_KJI[0], : _PROBE_KJI[1], : _PROBE_KJI[2]]
    disk = (row - _PROBE_KJI[1] // 2) ** 2 + (column - _PROBE_KJI[2] // 2) ** 2 < (_PROBE_KJI[1] // 3) ** 2
    nifti = encode_nifti(np.where(disk, 128, 0).astype(np.uint8), np.diag([5.0, 5.0, 5.0, 1.0]))
    return build_request(nifti, "liver", dialect)


def recognize_probe(body: bytes) -> tuple[str, str]:
    """How a reply to a probe came, and of which local engine ("" otherwise), as `medimageparse.recognize_probe`.

    Raises:
        ReplyError: it is none of this model's forms.
    """
    masks = parse_reply(body, 1, _PROBE_KJI)
    return masks.form, masks.engine


def _parse_nifti(inner: dict, form: str, rows: Rows, prompts: int, shape_kji: tuple[int, int, int], keep: bool) -> VolumeReply:
    data = decode_base64(inner["data"], "nifti_file")
    try:
        reader = NiftiReader(data, strict=True)
        header = reader.header
        axes = _axes(header.shape_ijk[2::-1], shape_kji)
        stacked = len(header.shape_ijk) == 4 or (header.rank == 4 and prompts == 1)
        if len(header.shape_ijk) > 4 or header.channels > 1 or (stacked and header.volumes != prompts):
            raise ReplyError(
                "The reply's NIfTI has the shape {times} where {times2} was sent with {prompts} prompts.",
                times=_times(header.shape_ijk),
                times2=_times(shape_kji[::-1]),
                prompts=prompts,
                code="reply-shape",
            )
        volumes = map(lambda volume: _scaled(volume.transpose(axes), header.slope, header.intercept), reader.volumes())
        form += "; gzip NIfTI" if header.is_gzip else "; plain NIfTI"
        warnings = (
            []
            if axes == (0, 1, 2)
            else [Sentence("The reply's axes were permuted ({shape_ijk}); they were put right.", shape_ijk=_times(header.shape_ijk[:3]))]
        )
        reply = _from_stack(volumes, prompts, keep, header.dtype) if stacked else _from_volume(volumes, prompts, keep)
    except InputError as error:
        raise ReplyError("The reply's nifti_file cannot be read: {error}", error=error, code="reply-form") from error
    reply.form, reply.engine, reply.said = f"{form}{reply.form}", rows.engine, Said.of(rows.rows[0], prompts)
    reply.warnings = warnings + reply.warnings
    return reply


def _parse_array(inner: dict, form: str, rows: Rows, prompts: int, shape_kji: tuple[int, int, int], keep: bool) -> VolumeReply:
    declared = inner.get("shape")
    given: list = declared if isinstance(declared, list) else []
    axes = (0, 1, 2)
    if len(given) == 4 and given[0] == prompts and all(type(size) is int for size in given):
        axes = _axes(tuple(given[1:]), shape_kji)
        stack = decode_array(inner, "image_features", tuple(given))
    else:
        stack = decode_array(inner, "image_features", (prompts, *shape_kji))
    reply = _from_stack((volume.transpose(axes) for volume in stack), prompts, keep, stack.dtype)
    reply.form, reply.engine, reply.said = f"{form}{reply.form}", rows.engine, Said.of(rows.rows[0], prompts)
    if axes != (0, 1, 2):
        reply.warnings.insert(0, Sentence("The reply's axes were permuted ({given}); they were put right.", given=_times(given[1:])))
    return reply


def _axes(have: tuple[int, ...], sent: tuple[int, ...]) -> tuple[int, int, int]:
    """How to transpose the reply's array so that it fits; both shapes in kji order. Raises ReplyError where that is not certain."""
    if have == sent:
        return (0, 1, 2)
    if sorted(have) != sorted(sent):
        raise ReplyError(
            "The reply has the shape {times} where {times2} was sent.",
            times=_times(have[::-1]),
            times2=_times(sent[::-1]),
            code="reply-shape",
        )
    if len(set(sent)) < 3:
        raise ReplyError(
            "The reply's shape {times} is a permutation of {times2} that can be read in more than one way.",
            times=_times(have[::-1]),
            times2=_times(sent[::-1]),
            code="reply-shape",
        )
    return three(have.index(size) for size in sent)  # all sizes differ, so a size names its axis


def _scaled(volume: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return volume if (slope, intercept) == (1.0, 0.0) else volume * np.float32(slope) + np.float32(intercept)


def _from_volume(volumes: Iterable[np.ndarray], prompts: int, keep: bool) -> VolumeReply:
    """A 3D reply: labels, or probabilities of the only prompt."""
    (volume,) = tuple(volumes)
    warnings: list[str] = []
    if volume.dtype.kind == "f":
        volume = _without_nan(volume, warnings)
        if not all(np.array_equal(plane, np.rint(plane)) for plane in volume):
            return _single_probability(volume, prompts, keep, warnings)
    inside = bounding_box(volume)
    if inside is None:
        return VolumeReply([CroppedMask.empty(three(volume.shape))] * prompts, None, "; integer labelmap", "", warnings)
    part = volume[inside]
    if part.min() < 0 or part.max() > prompts:
        strange = np.unique(part[(part < 0) | (part > prompts)])
        listed = ", ".join(f"{value:g}" for value in strange[:5]) + (Sentence(" and more") if strange.size > 5 else "")
        warnings.append(
            Sentence(
                "The reply held labels beyond the {prompts} prompts ({listed}); they count as background.", prompts=prompts, listed=listed
            )
        )
        part = np.where((part < 0) | (part > prompts), 0, part)
    return VolumeReply(_label_masks(part, inside, three(volume.shape), prompts), None, "; integer labelmap", "", warnings)


def _label_masks(part: np.ndarray, inside: tuple[slice, ...], shape: tuple[int, int, int], prompts: int) -> list[CroppedMask]:
    """Each label's mask. Its slices first, then its box within them: no array of the whole size is made, however many labels there are."""
    starts = [box.start for box in inside]
    slices: dict[int, list[int]] = {}
    for k, plane in enumerate(part):
        counts = np.bincount(plane.ravel().astype(np.intp, copy=False), minlength=prompts + 1)
        for label in np.flatnonzero(counts[1:]) + 1:
            slices.setdefault(int(label), []).append(k)
    masks = []
    for number in range(1, prompts + 1):
        if number not in slices:
            masks.append(CroppedMask.empty(shape))
            continue
        first, last = slices[number][0], slices[number][-1]
        shadow = np.zeros(part.shape[1:], bool)
        for k in slices[number]:
            shadow |= part[k] == number
        rows, columns = bounding_box(shadow) or (slice(0), slice(0))
        voxels = (part[first : last + 1, rows, columns] == number).view(np.uint8)
        masks.append(CroppedMask(shape, (starts[0] + first, starts[1] + rows.start, starts[2] + columns.start), voxels))
    return masks


def _single_probability(volume: np.ndarray, prompts: int, keep: bool, warnings: list[str]) -> VolumeReply:
    if prompts != 1 or float(volume.max()) > 1 or float(volume.min()) < 0:
        raise ReplyError(
            "The reply's NIfTI is 3D with values between {min:g} and {max:g} that are neither whole labels nor the probabilities of one prompt ({prompts} were sent); send the prompts one by one.",
            min=volume.min(),
            max=volume.max(),
            prompts=prompts,
            code="reply-form",
        )
    kept = [volume.astype(np.float32)] if keep else None
    return VolumeReply([CroppedMask.from_full(volume >= 0.5)], kept, "; float probabilities 0..1, 3D", "", warnings)


def _from_stack(volumes: Iterable[np.ndarray], prompts: int, keep: bool, dtype: np.dtype) -> VolumeReply:
    """A 4D reply: one volume a prompt. Each is cut to what can be inside before the next is read."""
    warnings: list[str] = []
    parts: list[tuple[tuple[int, int, int], tuple[slice, ...] | None, np.ndarray]] = []
    kept: list[np.ndarray] = []
    largest, whole = 0.0, True
    for volume in volumes:
        volume = _without_nan(volume, warnings) if volume.dtype.kind == "f" else volume
        shape = three(volume.shape)
        largest = max(largest, float(volume.max()))
        if volume.dtype.kind == "f" and whole:
            whole = all(np.array_equal(plane, np.rint(plane)) for plane in volume)
        # Whatever the scale turns out to be, nothing below a half (floats) or 1 (whole numbers) can be inside.
        box = bounding_box(volume >= 0.5 if volume.dtype.kind == "f" else volume > 0 if volume.dtype.kind == "i" else volume)
        parts.append((shape, box, np.ascontiguousarray(volume[box]) if box else np.zeros((0, 0, 0), np.uint8)))
        if keep:
            kept.append(volume.astype(np.float32))
        del volume  # before the next one is unpacked, so that only one stands in memory
    full_scale = 1.0 if largest <= 1 else 255.0
    threshold = 128 if full_scale == 255 else 0.5
    masks = [
        CroppedMask(shape, three(s.start for s in box), (part >= threshold).view(np.uint8)).trimmed() if box else CroppedMask.empty(shape)
        for shape, box, part in parts
    ]
    is_mask = whole and largest <= 1
    kind = "all zero" if largest == 0 else "masks 0/1" if is_mask else f"probabilities 0..{full_scale:g}"
    form = f"; {dtype.name} {kind}, 4D"
    probabilities = [volume / np.float32(full_scale) for volume in kept] if keep and not is_mask else None
    return VolumeReply(masks, probabilities, form, "", warnings, full_scale)


def _without_nan(volume: np.ndarray, warnings: list[str]) -> np.ndarray:
    if all(np.isfinite(plane).all() for plane in volume):
        return volume
    sentence = "The reply held values that are no numbers (NaN); they count as background."
    if sentence not in warnings:
        warnings.append(sentence)
    return np.where(np.isfinite(volume), volume, 0).astype(volume.dtype)


def _times(shape: Iterable[int]) -> str:
    return "x".join(str(int(size)) for size in shape)
