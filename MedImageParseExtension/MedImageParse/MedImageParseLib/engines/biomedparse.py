"""BiomedParse v2 as an engine: the authors' own code and weights, which the person brings. Nothing of either is in this package.

What is not as their sample does it, and why: their sample embeds seventeen class names in 1,360 sentences at each request, which takes two
minutes on a CPU and which the 3D network does not use; it takes the CLIP tokenizer from a hub, where the wheel of open-clip-torch has the
vocabulary; it picks the axis to slice along by the volume's shape, where the volumes that come here lie in slices already; and its attention
draws at random at each call, where here the draws are the same for every slice (option seed), so that the same request has the same answer.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError
from ..progress import Progress
from .interface import Answer, Engine, Need
from .torches import choose_device, device_name, fill, read_state

_SIDE = 512  # pixels of a slice as the network takes it
_AT_ONCE = 8  # slices whose maps are enlarged together
_LOWEST, _HIGHEST = 0, 255
_PREDICTOR = "sem_seg_head.predictor."


class BiomedParse(Engine):
    """BiomedParse v2, volumes and pictures."""

    name = "biomedparse"
    title = "BiomedParse"
    version = "2"
    licence = "CC-BY-NC-SA-4.0"
    models = ("medimageparse3d", "medimageparse")
    wants = "8 bits"
    finds = "what MedImageParse 3D's card lists, in CT, MR, ultrasound, PET and microscopy; pictures with the weights for volumes"
    seconds_a_slice = 9.0  # on the processor; measured with the authors' network on two cores
    requirements = (
        "torch==2.13.0",
        "torchvision==0.28.0",
        "transformers==5.24.0",
        "timm==1.0.31",
        "open-clip-torch==3.3.0",
        "hydra-core==1.3.8",
        "fvcore==0.1.5.post20221221",
        "safetensors>=0.4,<1",
        "numpy>=1.26,<3",
        "pillow>=10,<14",
    )
    needs = {  # noqa: RUF012 (a mapping that nobody changes)
        "repo": Need("your checkout of github.com/microsoft/BiomedParse, branch v2", "folder", True),
        "checkpoint": Need("your copy of biomedparse_v2.ckpt from huggingface.co/microsoft/BiomedParse", "file", True, True),
        "tokenizer": Need("a folder with CLIP's tokenizer; without it the vocabulary of open-clip-torch is taken", "folder"),
        "device": Need("cpu, cuda or cuda:1; the best there is without it"),
        "seed": Need("of the attention's random draws, 0 without it"),
        "threshold": Need("how sure the model must be that a structure is in a slice, 0.5 without it"),
        "trust": Need("yes where the checkpoint may run code of its own while it is read"),
    }
    terms = "The weights of BiomedParse are under CC-BY-NC-SA-4.0, for non-commercial use, and not for use in care of patients"

    def load(self, progress: Progress) -> None:
        """See Engine."""
        progress("importing torch", 0, 0)
        import torch

        repo = Path(self.options["repo"])
        if not (repo / "configs" / "model" / "biomedparse_3D.yaml").is_file():
            raise UsageError("The checkout of BiomedParse has no configs/model/biomedparse_3D.yaml: check out its branch v2.")
        self._seed = _number(self.options.get("seed", "0"), "seed", int)
        self._threshold = _number(self.options.get("threshold", "0.5"), "threshold", float)
        where = choose_device(self.options.get("device", ""))
        sys.path.insert(0, str(repo))  # the authors' modules are named src, utils and inference
        progress("building the network", 0, 0)
        self._network = self._built(repo)
        progress("reading the checkpoint", 0, 0)
        state = read_state(self.options["checkpoint"], is_trusted=self.options.get("trust", "") == "yes")
        refuse_v1(state, Path(self.options["checkpoint"]).name)
        fill(self._network, state, "BiomedParse v2", progress)
        self._network.to(where).eval()
        # Each slice meets the same random numbers, wherever in the volume it lies.
        self._network.backbone.register_forward_pre_hook(lambda *_call: torch.manual_seed(self._seed) and None)
        self._where, self.device = where, device_name(where)
        if where != "cpu":
            self.seconds_a_slice = 0.0  # not measured

    def _built(self, repo: Path) -> Any:
        """The authors' network from their own configuration, with a tokenizer that is on this computer."""
        import hydra
        from omegaconf import OmegaConf

        with hydra.initialize_config_dir(version_base=None, config_dir=str(repo / "configs" / "model")):
            configuration = hydra.compose(config_name="biomedparse_3D")
        encoder = configuration.sem_seg_head.predictor.language_encoder
        OmegaConf.set_struct(configuration, False)
        encoder.tokenizer = {"_target_": f"{__name__}.clip_tokenizer", "folder": self.options.get("tokenizer", "")}
        network = hydra.utils.instantiate(configuration, _convert_="object")
        network.sem_seg_head.predictor.language_encoder.get_text_embeddings = lambda *_class_names, **_how: None
        return network

    def segment_volume(self, voxels_kji: np.ndarray, ijk_to_ras: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine. One labelmap, as the authors merge it: where prompts compete the likeliest has the voxel."""
        if not prompts:
            return Answer()
        import torch
        from inference import merge_multiclass_masks, postprocess  # the authors'
        from utils import pad_and_resize, process_output  # the authors'

        texts = _texts(prompts)
        slices = np.clip(np.nan_to_num(voxels_kji.astype(np.float32)), _LOWEST, _HIGHEST).round().astype(np.uint8)
        squares, padding, side = pad_and_resize(slices, _SIDE)
        image = squares.to(self._where).int().unsqueeze(0)
        with torch.no_grad():
            said = self._network({"image": image, "text": [texts]}, mode="eval", slice_batch_size=1)["predictions"]
            maps, existence = said["pred_gmasks"], said["object_existence"]
            labels = np.zeros(voxels_kji.shape, np.uint8 if len(prompts) <= 255 else np.uint16)
            ids = list(range(1, len(prompts) + 1))
            for start in range(0, maps.shape[1], _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                large = _enlarged(maps[:, part].float(), _SIDE)
                kept = postprocess(large, existence[:, part].float(), threshold=self._threshold)
                merged = merge_multiclass_masks(kept, ids)
                labels[part] = process_output(merged, padding, side, 0)
        scores = existence.float().sigmoid().amax(dim=1).cpu().tolist()
        return Answer(labels=labels, existence=scores, reasons=self._reasons(scores))

    def segment_image(self, pixels: np.ndarray, prompts: Sequence[str]) -> Answer:
        """See Engine. Probabilities, a map a prompt; prompts do not compete."""
        if not prompts:
            return Answer()
        import torch

        channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        two = self._for_pictures()
        if two is None and len(channels) == 3:  # the network for volumes takes one channel
            channels = np.rint(np.tensordot([0.299, 0.587, 0.114], channels, 1)).astype(np.uint8)[None]
        image, (top, left), side = _squared(channels)
        text = _texts(prompts)
        with torch.no_grad():
            tensor = torch.nn.functional.interpolate(
                torch.from_numpy(image).unsqueeze(0).to(self._where).float(), size=(_SIDE, _SIDE), mode="bicubic", align_corners=False
            )
            if two is not None:
                said = two(self._network, {"image": tensor, "text": [text]})["predictions"]
                maps = said["pred_gmasks"][:, 0]
            else:
                said = self._network({"image": tensor, "text": [text]}, mode="eval", slice_batch_size=1)["predictions"]
                maps = said["pred_gmasks"][:, 0]
            existence = said["object_existence"].reshape(-1).float().sigmoid()
            large = _enlarged(maps[:, None].float(), side)[:, 0]
            rows, columns = pixels.shape[:2]
            likely = large[:, top : top + rows, left : left + columns].sigmoid() * (existence > self._threshold)[:, None, None]
            scores = existence.cpu().tolist()
            return Answer(list(likely.cpu().numpy().astype(np.float32)), scores, self._reasons(scores))

    def _for_pictures(self) -> Any:
        """The authors' way with pictures in color, where their checkout has one: a function of the network and its input."""
        try:
            from src.model.biomedparse_2D import BiomedParseModel  # the authors'
        except ImportError:
            return None
        return BiomedParseModel.forward_eval

    def _reasons(self, scores: Sequence[float]) -> list[str]:
        sure = f"{self._threshold:g}"
        return [
            "" if score > self._threshold else f"The model's score that it is there is {score:.2f}, no more than {sure}."
            for score in scores
        ]


def refuse_v1(names: Iterable[str], file: str) -> None:
    """The authors' own loader takes what fits of a v1 checkpoint and leaves the rest at random: masks without a meaning, and no error.

    Args:
        names: of the checkpoint's tensors.
        file: its name.

    Raises:
        InputError: it is BiomedParse v1's: the text encoder has another name there, and nothing in it scores whether a structure is there.
    """
    inner = {name.removeprefix(_PREDICTOR) for name in names if name.startswith(_PREDICTOR)}
    if inner and (any(name.startswith("lang_encoder.") for name in inner) or not any(name.startswith("classifier") for name in inner)):
        raise InputError(
            "The checkpoint {file} is BiomedParse v1's, and this engine runs v2, in which it would give masks without a meaning: remove the engine, and add it again with biomedparse_v2.ckpt.",
            file=file,
        )


def clip_tokenizer(folder: str = "") -> Any:
    """CLIP's tokenizer without a network.

    Args:
        folder: with its files; "" makes them from the vocabulary inside the wheel of open-clip-torch.
    """
    from transformers import CLIPTokenizer

    if folder:
        return CLIPTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as made:
        write_clip_vocabulary(Path(made))
        return CLIPTokenizer.from_pretrained(made)


def write_clip_vocabulary(folder: Path) -> None:
    """CLIP's vocab.json and merges.txt, after the published list of merges; in the order in which CLIP numbers its tokens."""
    import gzip
    import importlib.util

    found = importlib.util.find_spec("open_clip")
    listed = Path(found.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if found is not None and found.origin else None
    if listed is None or not listed.is_file():
        raise UsageError(
            "The package open-clip-torch, which has CLIP's vocabulary, is not in the engine's environment: add the engine again."
        )
    merges = gzip.decompress(listed.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(code) for code in visible] + [chr(256 + number) for number in range(256 - len(visible))]
    tokens = letters + [f"{letter}</w>" for letter in letters] + ["".join(merge.split()) for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    end = "<|endoftext|>"
    settings = {"tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 77}), encoding="utf-8")


def _texts(prompts: Sequence[str]) -> str:
    if any("[SEP]" in prompt for prompt in prompts):
        raise InputError("A prompt holds [SEP], which parts prompts inside BiomedParse: leave it out.")
    return "[SEP]".join(prompts)


def _squared(channels: np.ndarray) -> tuple[np.ndarray, tuple[int, int], int]:
    """A picture in the middle of a black square. Returns it, its (top, left) there, and the square's side."""
    rows, columns = channels.shape[1:]
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    return np.pad(channels, ((0, 0), (top, side - rows - top), (left, side - columns - left))), (top, left), side


def _enlarged(maps: Any, side: int) -> Any:
    import torch

    return torch.nn.functional.interpolate(maps, size=(side, side), mode="bicubic", align_corners=False, antialias=True)


def _number(text: str, option: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError("The option {option} of the engine must be a number; it was given something else.", option=option) from None
