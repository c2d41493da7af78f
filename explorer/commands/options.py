"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
