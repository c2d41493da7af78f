"""The values that a benchmark hands over."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PySide6.QtWidgets import QApplication

Unit = Literal["ms", "bytes"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and where.

    Attributes
    ----------
    app : QApplication
        For what is drawn.
    folder : Path
        For checkpoints made on the way; emptied by whoever made it.
    devices : tuple of str
        Torch devices, the CPU first.
    threads : int
        CPU threads of the model, and of what it is compared with.
    quick : bool
        Small sizes and few rounds, to see that everything works.
    """

    app: QApplication
    folder: Path
    devices: tuple[str, ...]
    threads: int
    quick: bool

    @property
    def rounds(self) -> int:
        """How many times the sides of a comparison are run in turn."""
        return 3 if self.quick else 7


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should not exceed.

    Attributes
    ----------
    most : float
        The limit.
    of : str
        Name of the other side that the value is divided by; empty for the value itself.
    """

    most: float
    of: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far apart the results of the sides were.

    Attributes
    ----------
    what : str
        What was compared with what.
    difference, tolerance : float
        The largest difference found, and the largest that counts as the same.
    """

    what: str
    difference: float
    tolerance: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether the results are the same (NaN never is)."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, with what it is compared with.

    Attributes
    ----------
    subject, name, device : str
        Which work, and where it was done.
    value : float
        The median, in ``unit``.
    unit : str
        ``ms`` or ``bytes``.
    others : dict of str to float
        What others took for the same, in the same unit.
    ratios : dict of str to float
        ``value`` divided by each other, the median over the rounds; below 1 is better.
    target : Target or None
        What was hoped for.
    agreements : tuple of Agreement
        Whether the same was computed.
    """

    subject: str
    name: str
    device: str
    value: float
    unit: Unit = "ms"
    others: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    target: Target | None = None
    agreements: tuple[Agreement, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None where there is none."""
        if self.target is None:
            return None
        return (self.ratios[self.target.of] if self.target.of else self.value) <= self.target.most

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        target = self.target
        return {
            "subject": self.subject,
            "name": self.name,
            "device": self.device,
            "value": self.value,
            "unit": self.unit,
            "others": self.others,
            "ratios": self.ratios,
            "target": None if target is None else {"most": target.most, "of": target.of, "met": self.met},
            "agreements": [
                {
                    "what": agreement.what,
                    "difference": agreement.difference,
                    "tolerance": agreement.tolerance,
                    "equal": agreement.equal,
                }
                for agreement in self.agreements
            ],
        }


@dataclass(frozen=True, slots=True)
class Skip:
    """What could not be measured here, and why."""

    subject: str
    name: str
    reason: str
