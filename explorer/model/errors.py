"""What can go wrong with a model, each as one sentence for a person."""

from __future__ import annotations

from explorer.core.quantities import in_bytes


class ModelError(ValueError):
    """A checkpoint that cannot be loaded or run; the message says what is wrong and what to do."""


class DoesNotFitError(ModelError):
    """A model that needs more memory than its device has free.

    Attributes
    ----------
    needed_bytes, free_bytes : int
        What the weights need, and what was free when they were to be loaded.
    device : str
        Where they were to go.
    """

    def __init__(self, name: str, device: str, needed_bytes: int, free_bytes: int) -> None:
        self.device, self.needed_bytes, self.free_bytes = device, needed_bytes, free_bytes
        elsewhere = "" if device == "cpu" else "the CPU, "
        super().__init__(
            f"The model {name} needs {in_bytes(needed_bytes)} but {device} has "
            f"{in_bytes(free_bytes)} free: try a smaller dtype, {elsewhere}or another model."
        )


class OfflineError(ModelError):
    """The hub was needed and cannot be reached."""


class TextError(ValueError):
    """A text that the model cannot run on; the message says why."""


class UnknownWeightError(ValueError):
    """A weight that can be read, but not how it came about; the message says why."""


class RunFinishedError(RuntimeError):
    """A step was asked of a run that has ended; the message says why it ended."""


class CancelledError(Exception):
    """Work was given up because nobody wants its result any more."""


def first_line(error: BaseException) -> str:
    """The first line of an error's own words, for the end of a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Validators put a heading over what they have to say.
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
