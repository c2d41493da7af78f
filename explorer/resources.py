"""Where the program's own data lies: bundled models, lessons, icons."""

from __future__ import annotations

import sys
from pathlib import Path


def resources_folder() -> Path:
    """The folder ``resources``, in a checkout and in a frozen build."""
    frozen = getattr(sys, "_MEIPASS", None)
    return (Path(frozen) if frozen else Path(__file__).parents[1]) / "resources"


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the program."""
    return tuple(sorted(path.parent.name for path in (resources_folder() / "models").glob("*/config.json")))
