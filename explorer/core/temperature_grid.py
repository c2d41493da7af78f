"""The same text at several temperatures: what came out at each, and where it leaves the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from explorer.core.languages import NO_LANGUAGES, LanguagePair
from explorer.core.sampling import SamplingParams

DEFAULT_TEMPERATURES = (0.0, 0.5, 0.7, 1.0, 1.5, 2.0)
MOST_TEMPERATURES = 12


@dataclass(frozen=True, slots=True)
class GridRow:
    """What was generated at one temperature, so far.

    Attributes
    ----------
    params : SamplingParams
        All settings that it was generated under.
    token_ids : tuple of int
        The tokens.
    spans : tuple of (str, str)
        For each token, the text before it and the text up to it, detokenized.
    text : str
        All that came out so far.
    stop_reason : str or None
        Why it ended; None while it can go on.
    """

    params: SamplingParams
    token_ids: tuple[int, ...] = ()
    spans: tuple[tuple[str, str], ...] = ()
    text: str = ""
    stop_reason: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.stop_reason is not None


@dataclass(frozen=True, slots=True)
class TemperatureGrid:
    """The same text at several temperatures, every other setting and the seed alike.

    Attributes
    ----------
    source_text : str
        What the model read.
    rows : tuple of GridRow
        In the order in which they were asked for.
    languages : LanguagePair
        What the model was told to read and to write.
    """

    source_text: str
    rows: tuple[GridRow, ...]
    languages: LanguagePair = NO_LANGUAGES

    @property
    def reference(self) -> int:
        """Index of the row that the others are held against: the greedy one, or else the first."""
        return next((i for i, row in enumerate(self.rows) if row.params.greedy), 0)

    @property
    def current(self) -> int | None:
        """Index of the first row that has not ended; None when all have."""
        return next((i for i, row in enumerate(self.rows) if not row.finished), None)

    def with_row(self, index: int, row: GridRow) -> TemperatureGrid:
        """Return the same grid with another row at ``index``."""
        return replace(self, rows=(*self.rows[:index], row, *self.rows[index + 1 :]))

    def first_difference(self, index: int) -> int | None:
        """The first token of a row that is not the reference's at that place; None while there is none."""
        ours, theirs = self.rows[index].token_ids, self.rows[self.reference].token_ids
        for place, (our_id, their_id) in enumerate(zip(ours, theirs, strict=False)):
            if our_id != their_id:
                return place
        # Longer than a reference that has ended.
        ended = self.rows[self.reference].finished
        return len(theirs) if ended and len(ours) > len(theirs) else None

    def parts(self, index: int) -> tuple[str, str, str]:
        """The row's text: as in the reference, the first token that differs, and what follows it."""
        row, place = self.rows[index], self.first_difference(index)
        if place is None:
            return row.text, "", ""
        # Characters of a token may depend on the next one: only what stays in the final text counts.
        before, with_it = row.spans[place]
        start = _shared(before, row.text)
        end = max(start, _shared(with_it, row.text))
        return row.text[:start], row.text[start:end], row.text[end:]


def _shared(text: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = zip(text, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))


def plan_grid(
    source_text: str,
    params: SamplingParams,
    temperatures: Sequence[float],
    languages: LanguagePair = NO_LANGUAGES,
) -> TemperatureGrid:
    """Return a grid whose rows have yet to be generated, under ``params`` but for the temperature."""
    rows = tuple(GridRow(params.with_changes(temperature=temperature)) for temperature in temperatures)
    return TemperatureGrid(source_text, rows, languages)


def read_temperatures(text: str) -> tuple[float, ...]:
    """Read a list such as ``0, 0.5, 1`` or ``0,5; 1``; the same one twice counts once.

    Raises
    ------
    ValueError
        An entry is no temperature, or there are none or too many; the message says what to do.
    """
    # A comma between digits is a decimal one where other signs part the entries.
    parted = text.replace(",", ".") if ";" in text else text.replace(",", " ")
    found: dict[float, None] = {}
    for entry in parted.replace(";", " ").split():
        try:
            value = float(entry)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise ValueError(f"“{entry}” is no temperature: give numbers from 0 up, e.g. 0, 0.5, 1.")
        found[value] = None
    if not 1 <= len(found) <= MOST_TEMPERATURES:
        raise ValueError(f"Give one to {MOST_TEMPERATURES} temperatures, e.g. 0, 0.5, 1.")
    return tuple(found)
