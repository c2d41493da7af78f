"""When a run ends, besides at the end-of-sequence token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stopping:
    """Where the loop ends at the latest, and at what text.

    Attributes
    ----------
    max_new_tokens : int or None
        Steps in all; None takes the checkpoint's own limit.
    strings : tuple of str
        The loop ends when one of these has been written, by the definition of ``generate(stop_strings=)``.

    Raises
    ------
    ValueError
        The limit is below 1, or a string is empty; the message says which.
    """

    max_new_tokens: int | None = None
    strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}.")
        if not all(self.strings):
            raise ValueError("A stop string must hold at least one character.")


BY_CHECKPOINT = Stopping()
"""The checkpoint's own limit and no stop string."""
