"""Where the program's own data lies: bundled models, lessons, icons."""

from __future__ import annotations

import sys
from pathlib import Path


def resources_folder() -> Path:
    """The folder ``resources``, in a checkout and in a frozen build."""
    frozen = getattr(sys, "_MEIPASS", None)
    return (Path(frozen) if frozen else Path(__file__).parents[1]) / "resources"


def bundled_checksums() -> dict[str, str]:
    """SHA-256 of the bundled models' weights as they were released, by name."""
    lines = (resources_folder() / "models" / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {file.split("/")[0]: checksum for checksum, file in pairs}


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the program."""
    return tuple(sorted(path.parent.name for path in (resources_folder() / "models").glob("*/config.json")))
