"""Plain values and pure functions: standard library and numpy only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.core import sampling as sampling


def __getattr__(name: str) -> Any:
    """Import ``sampling`` at its first use: scripts name it by way of ``explorer.core``."""
    if name == "sampling":
        return importlib.import_module("explorer.core.sampling")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
