"""Where a model can be: devices, what is free on them, and the numbers that weights are held in."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

from explorer.core.devices import Device, PrecisionChoice
from explorer.model.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Bits by which bitsandbytes holds the weights of linear layers.
QUANTIZED = {"int8": 8, "int4": 4}
SEVERAL = "auto"
"""Instead of a device: spread over all GPUs, and over the CPU's memory where they do not suffice."""

_CGROUP = Path("/sys/fs/cgroup")


def devices() -> tuple[Device, ...]:
    """Every device that a model can be loaded to, fastest first, with what is free on it now."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        _, total = torch.cuda.mem_get_info(index)
        found.append(Device(str(device), torch.cuda.get_device_name(index), free_bytes(device), total))
    memory = psutil.virtual_memory()
    cpu_free = free_bytes(torch.device("cpu"))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU, shares the memory", cpu_free, memory.total))
    limit = _cgroup_bytes("memory.max")
    total = memory.total if limit is None else min(memory.total, limit)
    found.append(Device("cpu", f"CPU, {psutil.cpu_count() or 1} cores", cpu_free, total))
    return tuple(found)


def free_bytes(device: torch.device) -> int:
    """Bytes that could be allocated on ``device`` now, without pushing anything else out.

    On CUDA that is what the driver has free and what torch holds without using it; on the CPU what the
    system calls available, or what a container's limit leaves, whichever is less.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + held)
    available = int(psutil.virtual_memory().available)
    limit, used = _cgroup_bytes("memory.max"), _cgroup_bytes("memory.current")
    if limit is not None and used is not None:
        # The page cache counts as used there, but gives way.
        cached = _cgroup_statistic("inactive_file") + _cgroup_statistic("active_file")
        available = min(available, max(limit - used + cached, 0))
    return available


def resolve_device(device: str | None) -> torch.device:
    """The device that ``device`` names; None takes CUDA, else MPS, else the CPU.

    Raises
    ------
    ModelError
        This machine has no such device.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise ModelError(
            f"There is no device called {device!r}; use cpu, cuda, cuda:1, mps, or auto for several."
        ) from error
    if target.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= count:
            raise ModelError(f"This machine has no {device} (CUDA devices found: {count}); use cpu.")
        return torch.device("cuda", target.index or 0)
    if target.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("This machine has no Apple GPU (mps); use cpu.")
    if target.type not in {"cpu", "mps"}:
        raise ModelError(f"The device {device!r} is not supported; use cpu, cuda, cuda:1 or mps.")
    return target


def resolve_dtype(dtype: str, own: Any, device: torch.device) -> torch.dtype:
    """The dtype for the weights; ``auto`` takes the checkpoint's ``own`` on a GPU, float32 on the CPU.

    Raises
    ------
    ModelError
        There is no such dtype, or what it needs is not installed.
    """
    if dtype in QUANTIZED:
        reason = why_not_quantized(device.type)
        if reason:
            raise ModelError(f"Weights cannot be held as {dtype} here: {reason}.")
        # What is not packed; 8-bit products are taken in float16 whatever comes in.
        return torch.float16 if dtype == "int8" else torch.bfloat16
    if dtype == "auto":
        return own if device.type != "cpu" and isinstance(own, torch.dtype) else torch.float32
    if dtype not in DTYPES:
        raise ModelError(f"There is no dtype called {dtype!r}; use auto, {', '.join((*DTYPES, *QUANTIZED))}.")
    return DTYPES[dtype]


def precision_choices(device_type: str) -> tuple[PrecisionChoice, ...]:
    """The dtypes to choose from on a kind of device, with the reason where one cannot be had."""
    reason = why_not_quantized(device_type)
    return (
        *(PrecisionChoice(name, "") for name in ("auto", *DTYPES)),
        *(PrecisionChoice(name, reason) for name in QUANTIZED),
    )


def why_not_quantized(device_type: str) -> str:
    """Why 8-bit and 4-bit weights cannot be had on ``device_type``; empty where they can."""
    if device_type not in {"cuda", "cpu"}:
        return f"8-bit and 4-bit weights are not to be had on {device_type}"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "the package bitsandbytes is not installed"
    return ""


def give_back() -> None:
    """Return what is no longer used to the driver and to the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # glibc keeps freed blocks for itself; without this the process stays as large as it ever was.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _cgroup_bytes(name: str) -> int | None:
    try:
        text = (_CGROUP / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_statistic(name: str) -> int:
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
