"""What the set-up says to the person who waits for it."""

from __future__ import annotations


class SetupError(Exception):
    """An expected failure, told in one clear sentence."""


def say(line: str) -> None:
    """Print one line at once, also when the output goes to a file."""
    print(line, flush=True)
