"""Large numbers as a person reads them."""

from __future__ import annotations


def in_bytes(count: float) -> str:
    """Bytes with a unit, e.g. ``31 MB`` or ``1.3 GB``."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count:.0f} B"


def in_short(count: int) -> str:
    """A count with a unit, e.g. ``7.6 M``."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def in_time(seconds: float) -> str:
    """A duration, e.g. ``45 s`` or ``3 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
