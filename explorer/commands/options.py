"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from explorer.core.quantities import in_bytes

if TYPE_CHECKING:
    from explorer.core.model_facts import DownloadProgress
    from explorer.core.sampling import SamplingParams

DEFAULT_MODEL = "fr-en"
DEFAULT_TEXT = "J'aime l'apprentissage automatique."


def sampling_params(arguments: argparse.Namespace) -> SamplingParams:
    """Greedy, unless an option asks for sampling; then temperature 1 unless it is given.

    Raises
    ------
    ValueError
        An option is out of range.
    """
    # Here and not above: the window reads this module before it has painted, and needs no numpy for it.
    from explorer.core.sampling import GREEDY, SamplingParams

    options = {name: getattr(arguments, name) for name in ("top_k", "top_p", "min_p", "seed")}
    if arguments.max_new_tokens is not None and arguments.max_new_tokens < 1:
        raise ValueError(f"--max-new-tokens must be 1 or more, not {arguments.max_new_tokens}.")
    if arguments.temperature is None and all(value is None for value in options.values()):
        return GREEDY
    temperature = 1.0 if arguments.temperature is None else arguments.temperature
    return SamplingParams(temperature=temperature, **options)


def model_name(arguments: argparse.Namespace) -> str:
    """The model to run, on this machine once this returns: a download says on standard error how far it is.

    Raises
    ------
    ModelError
        There is no such model, or it cannot be fetched.
    """
    from explorer.model import hub

    name: str = arguments.model or DEFAULT_MODEL
    if hub.locate(name, allow_pickle=arguments.allow_pickle) is None:
        progress = _ProgressLine()
        hub.resolve(name, allow_pickle=arguments.allow_pickle, report=progress)
        progress.end()
    return name


class _ProgressLine:
    """One line on standard error: rewritten where a person looks at it, else written once a file."""

    def __init__(self) -> None:
        self._file = ""
        self._wide = 0

    def __call__(self, progress: DownloadProgress) -> None:
        done, total = in_bytes(progress.done_bytes), in_bytes(progress.total_bytes)
        line = f"{progress.name}: {progress.file}, {done} of {total}"
        if sys.stderr.isatty():
            line += f", {in_bytes(progress.bytes_per_second)}/s"
            self._wide = max(self._wide, len(line))
            sys.stderr.write(f"\r{line.ljust(self._wide)}")
            sys.stderr.flush()
        elif progress.file != self._file:
            sys.stderr.write(f"{line}\n")
        self._file = progress.file

    def end(self) -> None:
        """The last line stays."""
        if self._wide:
            sys.stderr.write("\n")


def text(arguments: argparse.Namespace) -> str:
    """The text to run on; an empty one is refused.

    Raises
    ------
    ValueError
        The text is empty.
    """
    given: str = DEFAULT_TEXT if arguments.text is None else arguments.text
    if not given.strip():
        raise ValueError("The text is empty: give --text a sentence for the model to read.")
    return given
