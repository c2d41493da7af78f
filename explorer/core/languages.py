"""Which language a model reads, and which it writes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class LanguagePair:
    """From which language into which, by the tokenizer's own codes.

    Attributes
    ----------
    source : str
        What the text is read as; empty for a model without languages.
    target : str
        What is written; empty where the model is not told and its first token decides.
    """

    source: str = ""
    target: str = ""

    @property
    def summary(self) -> str:
        """Both in short, e.g. ``de → fr``; empty without languages."""
        return "" if self == NO_LANGUAGES else f"{self.source or '?'} → {self.target or '?'}"

    def sentence(self, name: str) -> str:
        """What the model called ``name``, which knows languages, reads and writes."""
        reads = f"reads the text as {self.source}" if self.source else "is not told which language it reads"
        if self.target:
            return f"{name} {reads} and writes {self.target}."
        return f"{name} {reads}; it is not told which language to write, so its first token decides."


NO_LANGUAGES = LanguagePair()


def unknown_language(name: str, code: str, known: Sequence[str]) -> str:
    """One sentence that says why the model called ``name`` cannot be told the language ``code``."""
    if not known:
        return f"{name} knows no languages to choose from: leave out {code!r}."
    start = code.lower()[:2]
    alike = [other for other in known if start and other.lower().lstrip("_").startswith(start)]
    alike = alike or difflib.get_close_matches(code, known, _SUGGESTED)
    meant = f"; did you mean {' or '.join(alike[:_SUGGESTED])}?" if alike else "."
    return f"{name} knows {len(known)} languages, from {known[0]} to {known[-1]}, but not {code!r}{meant}"
