"""What can go wrong with a model, each as one sentence for a person."""

from __future__ import annotations


class ModelError(ValueError):
    """A checkpoint that cannot be loaded or run; the message says what is wrong and what to do."""


class TextError(ValueError):
    """A text that the model cannot run on; the message says why."""


class RunFinishedError(RuntimeError):
    """A step was asked of a run that has ended; the message says why it ended."""


class CancelledError(Exception):
    """Work was given up because nobody wants its result any more."""


def first_line(error: BaseException) -> str:
    """The first line of an error's own words, for the end of a sentence."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
