"""Where the parts of a model are, once accelerate has spread it over several devices."""

from __future__ import annotations

import itertools
import re
from typing import Any

import torch

_LAYER = re.compile(r"^(.*\.)?(\d+)$")


def bytes_by_device(model: Any) -> dict[str, int]:
    """Bytes of weights and buffers by device, shared ones counted once; O(tensors).

    A part that is held in the CPU's memory and moved for each pass counts where it is held: its own
    parameters have no numbers meanwhile (they are on torch's ``meta`` device).
    """
    spread = _map_of(model)
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        device = str(tensor.device) if tensor.device.type != "meta" else _owner(name, spread)
        sizes[device] = sizes.get(device, 0) + tensor.numel() * tensor.element_size()
    return sizes


def map_sentences(model: Any) -> tuple[str, ...]:
    """Which parts are where, one sentence a device; empty where all is in one place."""
    spread = _map_of(model)
    places: dict[str, list[str]] = {}
    for part, place in spread.items():
        places.setdefault(_device_name(place), []).append(part)
    if len(places) < 2:
        return ()
    moved = {"disk": ", read for each pass"}
    if any(place.startswith("cuda") for place in places):
        moved["cpu"] = ", moved to the GPU for each pass"
    return tuple(
        f"On {place}: {', '.join(_in_ranges(parts))}{moved.get(place, '')}."
        for place, parts in places.items()
    )


def packed_as(model: Any) -> str:
    """``int8`` or ``int4`` where bitsandbytes packed the linear layers as it loaded them; else empty."""
    if getattr(model, "is_loaded_in_8bit", False):
        return "int8"
    return "int4" if getattr(model, "is_loaded_in_4bit", False) else ""


def home_of(module: Any) -> torch.device:
    """Where ``module`` computes, whether or not its weights are there between passes."""
    weight: torch.Tensor = module.weight
    if weight.device.type != "meta":
        return weight.device
    place = module._hf_hook.execution_device  # noqa: SLF001 - accelerate keeps it nowhere else
    return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)


def matrix_of(module: Any) -> torch.Tensor:
    """The weight matrix of ``module``, from where it is held if it has been moved out."""
    weight: torch.Tensor = module.weight
    if weight.device.type != "meta":
        return weight.detach()
    held: torch.Tensor = module._hf_hook.weights_map["weight"]  # noqa: SLF001 - accelerate keeps it nowhere else
    return held.detach()


def _map_of(model: Any) -> dict[str, Any]:
    return getattr(model, "hf_device_map", None) or {"": model.device}


def _owner(name: str, spread: dict[str, Any]) -> str:
    """The device of the longest part of the map that ``name`` lies in."""
    parts = [part for part in spread if not part or f"{name}.".startswith(f"{part}.")]
    return _device_name(spread[max(parts, key=len)]) if parts else "meta"


def _device_name(place: Any) -> str:
    return f"cuda:{place}" if isinstance(place, int) else str(place)


def _in_ranges(parts: list[str]) -> list[str]:
    """``model.layers.0``, ``model.layers.1`` … as ``model.layers.0 to 1``."""
    found: list[str] = []
    for stem, group in itertools.groupby(parts, key=lambda part: _stem(part)):
        members = list(group)
        if stem is None or len(members) == 1:
            found += members
        else:
            found.append(f"{members[0]} to {members[-1].rsplit('.', 1)[-1]}")
    return found


def _stem(part: str) -> str | None:
    match = _LAYER.match(part)
    return match[1] if match else None
