"""Watch a real transformer work: tokens, vectors, attention, the decoding loop and the softmax.

``import explorer`` is light: torch and transformers are imported by `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from explorer import core
from explorer.core.sampling import Distribution, RankedLogits, SamplingParams, reshape

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

__version__ = "0.1.0"
__all__ = ["Distribution", "RankedLogits", "SamplingParams", "core", "load", "reshape"]


def load(name_or_path: str, **options: Any) -> LanguageModel:
    """Load a bundled name, a local folder or a hub id; see `explorer.model.language_model.load`."""
    from explorer.model import language_model

    return language_model.load(name_or_path, **options)
