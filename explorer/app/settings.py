"""What the program remembers between starts: typed, and written atomically."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from explorer.core.secrets import scrub

RECENT_MODELS = 8


def settings_file() -> Path:
    """Where the settings are kept; ``TRANSFORMER_EXPLORER_SETTINGS`` names another file."""
    override = os.environ.get("TRANSFORMER_EXPLORER_SETTINGS")
    if override:
        return Path(override)
    return Path(platformdirs.user_config_dir("transformer-explorer")) / "settings.json"


@dataclass(slots=True)
class Settings:
    """Remembered choices. Unknown or ill-typed entries of a file are ignored, one by one.

    Attributes
    ----------
    scheme : str
        ``system``, ``light`` or ``dark``.
    scale : float
        Factor on all sizes.
    model : str
        Which model to open with.
    recent_models : list of str
        Folders and hub ids opened lately, newest first.
    threads : int
        CPU threads for the model; 0 means one less than there are cores.
    geometry, layout : str
        The window's place and its docks, as Qt saves them, in base 64.
    """

    scheme: str = "system"
    scale: float = 1.0
    model: str = "fr-en"
    recent_models: list[str] = field(default_factory=list)
    threads: int = 0
    geometry: str = ""
    layout: str = ""

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read ``path``; a missing or broken file gives the defaults."""
        settings = cls()
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return settings
        if isinstance(stored, dict):
            for entry in dataclasses.fields(cls):
                value = stored.get(entry.name)
                if _same_kind(value, getattr(settings, entry.name)):
                    setattr(settings, entry.name, value)
        return settings

    def save(self, path: Path) -> None:
        """Write ``path`` whole or not at all.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False).encode())

    def remember_model(self, name: str) -> None:
        """Put ``name`` first among the recent models; what holds an access token is not written down."""
        if scrub(name) != name:
            return
        self.recent_models = [name, *(other for other in self.recent_models if other != name)][:RECENT_MODELS]

    def thread_count(self) -> int:
        """CPU threads for the model: all cores but one, which is the window's, unless chosen otherwise."""
        return self.threads if self.threads > 0 else max(1, (os.cpu_count() or 2) - 1)


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is type(default)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
