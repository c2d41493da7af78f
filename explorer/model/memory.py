"""What a model and its run occupy, and what to say when that was too much."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import psutil
import torch

from explorer.core.model_facts import MemoryReading
from explorer.core.quantities import in_bytes
from explorer.model import devices
from explorer.model.errors import ModelError

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel
    from explorer.model.run import Run

_TRIED = re.compile(r"[Tt]ried to allocate ([\d.]+) ([KMG]i?B|bytes)|allocate (\d+) bytes")
_UNITS = {"bytes": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def read_memory(lm: LanguageModel, run: Run | None) -> MemoryReading:
    """What ``lm`` and ``run`` hold now. O(layers); touches no number."""
    cache = getattr(run, "cache", None)
    return MemoryReading(
        device=str(lm.device),
        weights=lm.info.resident_bytes,
        cache=0 if cache is None else cache_bytes(cache),
        captured=0 if run is None else run.notes.resident_bytes(),
        peak=peak_bytes(lm.device),
        free=devices.free_bytes(lm.device),
    )


def cache_bytes(cache: Any) -> int:
    """Bytes of a key-value cache's tensors, shared ones counted once."""
    parts = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    layers = [layer for part in parts or [] if part is not None for layer in part.layers]
    layers = layers or list(getattr(cache, "layers", ()))
    storages: dict[int, int] = {}
    for layer in layers:
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def peak_bytes(device: torch.device) -> int:
    """Most bytes ever allocated: by torch on a CUDA device, by the whole process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def lack_of_memory(lm: LanguageModel, error: BaseException, *, run_stands: bool) -> ModelError:
    """After a pass that did not fit: free what it left behind, and say what was lacking."""
    device = lm.device
    # The frames of the traceback hold the tensors of the pass.
    error.__traceback__ = None
    error.__context__ = error.__cause__ = None
    devices.give_back()
    elsewhere, free = "" if device.type == "cpu" else ", the CPU", in_bytes(devices.free_bytes(device))
    return ModelError(
        f"The pass needed {_needed(error)} on {device}, where {free} are free "
        f"now that it was given up: try a shorter text, a smaller dtype{elsewhere}, or another model; "
        f"{lm.name} is still loaded{', and the run stands where it stood' if run_stands else ''}."
    )


def _needed(error: BaseException) -> str:
    found = _TRIED.search(str(error))
    if found is None:
        return "more memory than there is"
    count = float(found[1]) * _UNITS[found[2]] if found[1] else float(found[3])
    return f"{in_bytes(count)} more"
