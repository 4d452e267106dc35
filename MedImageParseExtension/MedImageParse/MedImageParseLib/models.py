"""The models: one row each, and nothing else in the program compares their names.

A new model is a row here, a codec of its name in `wire/` (what it says and hears, and the probe that tests a connection), a task in
`tasks/` (arrays in, masks or vectors out), and where it can be deployed an offer in `azure/offers.py`. docs/developers.md leads through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .remedies import Sentence


@dataclass(slots=True, frozen=True)
class Model:
    """What the program needs to know of a model.

    Attributes:
        name: what a person types, and what reports and profiles keep.
        title: its name in sentences.
        takes: in plain words, for a person who chooses among models.
        task: the module of `tasks`, and the function in it, that segments with it; "" where it answers with vectors.
        whole_volumes: it takes a volume at once; otherwise single pictures, volumes slice by slice.
        ct_windows: where it was trained with windows of its own: each one's name, and the sites that it is used for, the one that shows
            most first. Empty where the sites' own windows are used (imaging.windows).
        is_repeatable: the same request may get another answer, so that a majority of several is worth asking for.
        hints: parts of an endpoint's address or deployment's name by which it is guessed at; the last row that has one wins.
        is_local: the local endpoint answers as it too (local_endpoint/protocol.py).
    """

    name: str
    title: str
    takes: str
    task: str = ""
    whole_volumes: bool = False
    ct_windows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_repeatable: bool = False
    hints: tuple[str, ...] = ()
    is_local: bool = False

    @property
    def segments(self) -> bool:
        """It answers prompts with masks; otherwise with vectors."""
        return bool(self.task)


SLICES = Model("medimageparse", "MedImageParse", "slices and 2D pictures", task="segment_slices", is_local=True)
VOLUMES = Model(
    "medimageparse3d",
    "MedImageParse 3D",
    "volumes",
    task="segment_volume",
    whole_volumes=True,
    # One image has one window, in which bone and soft tissue still are what they are beside lungs.
    ct_windows={
        "lung-3d": ("lung", "lung-3d"),
        "soft": ("abdomen", "pelvis", "liver", "colon", "pancreas", "soft"),
        "brain": ("brain",),
        "bone": ("bone",),
    },
    is_repeatable=True,
    hints=("3d",),
    is_local=True,
)
VECTORS = Model("medimageinsight", "MedImageInsight", "search", hints=("insight", "mi2"), is_local=True)

MODELS: dict[str, Model] = {model.name: model for model in (SLICES, VOLUMES, VECTORS)}
MODEL_NAMES = {model.name: model.title for model in MODELS.values()}
LOCAL_NAMES = {name: title for name, title in MODEL_NAMES.items() if MODELS[name].is_local}
# As commands offer them, and how they say which is for what.
SEGMENTING = tuple(model.name for model in sorted(MODELS.values(), key=lambda model: not model.whole_volumes) if model.segments)
WHICH_SEGMENTS = f"{MODELS[SEGMENTING[0]].takes} go to " + ", ".join(
    [SEGMENTING[0], *(f"{MODELS[name].takes} to {name}" for name in SEGMENTING[1:])]
)


def guess_model(hint: str) -> Model:
    """The model that an address or a deployment's name makes likely; MedImageParse where nothing does."""
    hint = hint.lower()
    return next((model for model in reversed(MODELS.values()) if any(part in hint for part in model.hints)), SLICES)


def does_not_segment(name: str) -> str:
    """Why a name is none that `segment` takes, and which are; "" where it is one."""
    if name in SEGMENTING:
        return ""
    listed = " or ".join(f"{each} ({MODELS[each].takes})" for each in SEGMENTING)
    return Sentence("The model '{name}' does not segment; give {listed}.", name=name, listed=listed)


def recognize_model(model_id: str) -> str:
    """Which of the models an asset in Azure is, by its name; "" where the name leaves doubt, and only a probe tells.

    MedImageParse and MedImageParse 3D differ by two characters, and a fine-tuned copy may be called anything: "3d" counts only where it
    follows the name at once; anywhere else in the name it leaves doubt.

    Args:
        model_id: `azureml://registries/azureml/models/MedImageParse/versions/17`, a workspace's
            `/subscriptions/…/models/MedImageParse3D/versions/2`, `azureml:NAME:VERSION`, or a bare name.

    Examples:
        >>> recognize_model("azureml://registries/azureml/models/MedImageParse3D/versions/6")
        'medimageparse3d'
    """
    path = re.search(r"/models/([^/]+)", model_id)
    name = path[1] if path else model_id.removeprefix("azureml:").split(":")[0]
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    before, is_parse, after = plain.partition(SLICES.name)
    is_insight = VECTORS.name in plain
    if bool(is_parse) == is_insight:
        return ""
    if is_insight:
        return VECTORS.name
    if VOLUMES.name.removeprefix(SLICES.name) == after[:2]:
        return VOLUMES.name
    return "" if any(part in before + after for part in VOLUMES.hints) else SLICES.name
