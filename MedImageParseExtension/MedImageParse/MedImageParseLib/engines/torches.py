"""What the engines made of torch have in common: the device, reading a checkpoint, and telling that it is another model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..progress import Progress


def choose_device(wanted: str) -> str:
    """ "cuda" where there is a GPU that torch can use, else "cpu".

    Args:
        wanted: what the person said ("cpu", "cuda", "cuda:1"); "" for the best there is.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    if not wanted:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("There is no GPU that the engine's torch can use: leave the option device away, or install a torch for the GPU.")
    return wanted


def device_name(device: str) -> str:
    """The device with what it is called: "cuda:0 (NVIDIA …)"."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def read_state(path: str, *, is_trusted: bool = False) -> dict[str, Any]:
    """The tensors of a checkpoint by name; prefixes "model." and "module." are taken off.

    Args:
        path: a file of torch.save (of Lightning too), or .safetensors.
        is_trusted: the file may run code of its own while it is read; only where the person says so.

    Raises:
        InputError: it is damaged, truncated, or none.
        UsageError: it holds more than weights, and the person has not said that it may.
    """
    import pickle
    import zipfile

    import torch

    name = Path(path).name
    damaged = f"The checkpoint {name} is damaged, truncated or none at all: bring it anew and compare its size with its source."
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return dict(load_file(path))
        is_mapped = not is_trusted and zipfile.is_zipfile(path)  # files of before torch 1.6 are no archives, and can only be read whole
        state = torch.load(path, map_location="cpu", weights_only=not is_trusted, mmap=is_mapped)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise UsageError(
                "The checkpoint {name} holds more than weights, and could run code of its own: add the engine with --set trust=yes if you trust where it comes from.",
                name=name,
            ) from error
        raise InputError(damaged) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(damaged) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise InputError(damaged) from error
        raise
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise InputError(damaged)
    return {_plain(key): value for key, value in state.items() if hasattr(value, "shape")}


def _plain(key: str) -> str:
    for prefix in ("model.", "module."):
        key = key.removeprefix(prefix)
    return key


def fill(network: Any, state: Mapping[str, Any], title: str, progress: Progress, *, may_miss: tuple[str, ...] = ()) -> None:
    """Put a checkpoint's tensors into a network, one by one.

    Args:
        network: a torch module.
        state: tensors by name.
        title: of the model, for the sentence.
        progress: told how many are done.
        may_miss: beginnings of names that a sound checkpoint need not have.

    Raises:
        InputError: it is another model's: names or shapes do not fit.
    """
    import torch

    own = network.state_dict()
    missing = [name for name in own if name not in state and not name.startswith(may_miss or ("\0",))]
    misshapen = [name for name in own if name in state and tuple(own[name].shape) != tuple(state[name].shape)]
    if missing or misshapen:
        raise InputError(
            "The checkpoint is not one of {title}: {count} of its {count2} tensors are missing and {count3} have another shape; give the checkpoint that belongs to the checkout.",
            title=title,
            count=len(missing),
            count2=len(own),
            count3=len(misshapen),
        )
    with torch.no_grad():
        for number, (name, tensor) in enumerate(own.items()):
            if name in state:
                tensor.copy_(state[name])
            if number % 16 == 0:
                progress("loading weights", number, len(own))
    progress("loading weights", len(own), len(own))
