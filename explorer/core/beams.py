"""What a beam search came to: its hypotheses step by step, each a branch of the run's tree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One sequence that a beam search followed.

    Attributes
    ----------
    node : int
        Its last token's node in the run's tree (`explorer.core.branches.RunTree`).
    token_ids : tuple of int
        What it generated.
    text : str
        The same, detokenized, special tokens left out.
    log_probability : float
        Sum over its tokens of the log-probabilities that ``generate`` adds up (natural logarithm,
        after the checkpoint's own rules).
    score : float
        What hypotheses are ranked by: ``log_probability / length ** length_penalty``.
    finished : bool
        Whether it ended itself; False for one that was still running when the search stopped.
    """

    node: int
    token_ids: tuple[int, ...]
    text: str
    log_probability: float
    score: float
    finished: bool


@dataclass(frozen=True, slots=True)
class BeamStep:
    """The hypotheses that one step of a search kept, best first.

    Attributes
    ----------
    nodes : tuple of int
        The running hypotheses' nodes; at most the width.
    log_probabilities : tuple of float
        Theirs, summed over their tokens.
    ended : tuple of int
        Nodes of hypotheses that ended at this step and were kept aside.
    """

    nodes: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    ended: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class BeamSearch:
    """A whole beam search.

    Attributes
    ----------
    run_id : int
        Which run's tree the nodes belong to.
    width : int
        Hypotheses kept at each step.
    length_penalty : float
        Exponent of the length in a hypothesis's score.
    steps : tuple of BeamStep
        What each step kept.
    hypotheses : tuple of Hypothesis
        The results, best first; the first is what ``generate(num_beams=width)`` returns.
    """

    run_id: int
    width: int
    length_penalty: float
    steps: tuple[BeamStep, ...]
    hypotheses: tuple[Hypothesis, ...]
