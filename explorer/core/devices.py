"""Where a model can be, as values: no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a model can be loaded to.

    Attributes
    ----------
    name : str
        As torch calls it, e.g. ``cuda:0``.
    description : str
        What it is called by its maker, e.g. ``NVIDIA H100``.
    free_bytes, total_bytes : int
        What can be allocated now, and what there is in all.
    """

    name: str
    description: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """Numbers that weights can be held in.

    Attributes
    ----------
    name : str
        ``auto``, ``float32``, ``bfloat16``, ``float16``, ``int8`` or ``int4``.
    unavailable : str
        Why it cannot be chosen here; empty where it can.
    """

    name: str
    unavailable: str
