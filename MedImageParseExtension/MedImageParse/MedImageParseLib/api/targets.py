"""What can be asked for: the targets of the model cards, with codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from ..errors import UsageError
from ..models import MODELS, does_not_segment
from ..prompts import catalogue
from ..prompts.presets import presets as known_presets
from ..prompts.sites import dicom_modality, modality_of
from .calls import in_sentences

# Modalities (DICOM codes, GM is microscopy) that only one of the models takes, by the model cards.
_ONLY_2D = {"DX", "OPT", "OP", "DMS", "ES", "SM"}
_ONLY_3D = {"GM"}


@in_sentences
def targets(modality: str = "", model: str = "") -> list[dict]:
    """The known targets, alphabetically. Anything else may be asked for as well.

    Args:
        modality: only those that the model cards recommend for it: a DICOM code (CT, MR, US, …) or its usual name (X-ray, pathology).
        model: only those of "medimageparse3d" (volumes) or "medimageparse" (slices and 2D pictures).

    Returns:
        for each target `name`, `aliases`, `modalities` (DICOM codes), `inside` (targets that contain it), and `terminology`: its codes by
        role, each with scheme, value and meaning.

    Raises:
        UsageError: an unknown modality or model.

    Examples:
        >>> [each["terminology"]["type"]["value"] for each in targets("CT") if each["name"] == "liver"]
        ['10200004']
    """
    _check_model(model)
    known = {one for target in catalogue.targets() for one in target.modalities}
    code = dicom_modality(modality) if modality else ""
    asked = code if code in known else modality_of(modality) or code
    if asked and asked not in known:
        raise UsageError(
            "No target is known for the modality '{modality}'; give one of {listed}.", modality=modality, listed=", ".join(sorted(known))
        )
    excluded = (_ONLY_2D if MODELS[model].whole_volumes else _ONLY_3D) if model else set()
    return [
        _entry(target) for target in sorted(catalogue.targets(), key=lambda each: each.name) if _fits(target.modalities, asked, excluded)
    ]


@in_sentences
def presets(model: str = "") -> list[dict]:
    """The named lists of prompts that `segment` and `batch` take as `preset`: those that come with the program, then your own.

    Args:
        model: only those that fit "medimageparse3d" or "medimageparse"; "" for all.

    Returns:
        for each preset `name`, `title`, `model` ("" for any), `modality`, `prompts`, and `is_own`.

    Raises:
        UsageError: an unknown model, or your own file of presets cannot be used.

    Examples:
        >>> len(next(each["prompts"] for each in presets() if each["name"] == "abdomen-15"))
        15
    """
    _check_model(model)
    return [{**asdict(preset), "prompts": list(preset.prompts)} for preset in known_presets(model).values()]


def _check_model(model: str) -> None:
    if model and (why := does_not_segment(model)):
        raise UsageError(why)


def _fits(modalities: Iterable[str], asked: str, excluded: set[str]) -> bool:
    left = set(modalities) - excluded
    return asked in left if asked else bool(left)


def _entry(target: catalogue.Target) -> dict:
    return {
        "name": target.name,
        "aliases": list(target.aliases),
        "modalities": list(target.modalities),
        "inside": list(target.inside),
        "terminology": {role: dict(zip(("scheme", "value", "meaning"), code)) for role, code in target.codes.items()},
    }
