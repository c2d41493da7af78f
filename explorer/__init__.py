"""Watch a real transformer work: tokens, vectors, attention, the decoding loop and the softmax.

``import explorer`` is light, so that the window is on the screen soon: numpy is imported by the first
name that needs it, torch and transformers by `load`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from explorer import core

if TYPE_CHECKING:
    from explorer.core.model_facts import ModelFacts
    from explorer.core.sampling import Distribution, RankedLogits, SamplingParams, reshape
    from explorer.model.language_model import LanguageModel

__version__ = "0.1.0"
__all__ = ["Distribution", "RankedLogits", "SamplingParams", "core", "inspect", "load", "reshape"]

_FROM_SAMPLING = frozenset({"Distribution", "RankedLogits", "SamplingParams", "reshape"})


def __getattr__(name: str) -> Any:
    """Import what scripts use at its first use."""
    if name in _FROM_SAMPLING:
        return getattr(importlib.import_module("explorer.core.sampling"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(name_or_path: str, **options: Any) -> LanguageModel:
    """Load a bundled name, a local folder or a hub id; see `explorer.model.language_model.load`."""
    from explorer.model import language_model

    return language_model.load(name_or_path, **options)


def inspect(name_or_path: str) -> ModelFacts:
    """What can be told of a checkpoint without loading it; see `explorer.model.inspection.inspect`."""
    from explorer.model import inspection

    return inspection.inspect(name_or_path)
