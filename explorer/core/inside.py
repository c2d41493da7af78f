"""The inside of every step of a run: what each part of each layer added, and what each layer thought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

SublayerKind = Literal["self-attention", "cross-attention", "feed-forward"]


@dataclass(frozen=True, eq=False)
class Sublayer:
    """One part of one layer, at the position that each step's token was chosen from.

    Attributes
    ----------
    layer : int
        From 0.
    kind : SublayerKind
        Which part.
    added_norms : numpy.ndarray
        (steps,) float32; Euclidean length of what it added to the residual stream.
    stream_norms : numpy.ndarray
        (steps,) float32; length of the residual stream after it, and after the norm that follows it
        where the family normalises the stream itself (BERT, BART, Marian).
    neurons, activations : numpy.ndarray or None
        (steps, k) int64 and float32; the strongest feed-forward activations by magnitude (what enters
        the block's last matrix), strongest first. None for attention.
    """

    layer: int
    kind: SublayerKind
    added_norms: npt.NDArray[np.float32]
    stream_norms: npt.NDArray[np.float32]
    neurons: npt.NDArray[np.int64] | None = None
    activations: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class LogitLens:
    """What each layer would already choose: the model's own output head applied after every layer.

    The last row is the model's own output. Source: nostalgebraist, "interpreting GPT: the logit lens"
    (2020). Earlier layers go through the stack's final norm first, where it has one.

    Attributes
    ----------
    labels : tuple of str
        (layers + 1,) ``input``, ``layer 0``, …
    top_ids, top_probabilities : numpy.ndarray
        (steps, layers + 1, k) int64 and float32; most likely tokens, likeliest first.
    chosen_ranks : numpy.ndarray
        (steps, layers + 1) int64; rank of the token that the step chose, from 0.
    chosen_probabilities : numpy.ndarray
        (steps, layers + 1) float32.
    entropy_bits : numpy.ndarray
        (steps, layers + 1) float32.
    """

    labels: tuple[str, ...]
    top_ids: npt.NDArray[np.int64]
    top_probabilities: npt.NDArray[np.float32]
    chosen_ranks: npt.NDArray[np.int64]
    chosen_probabilities: npt.NDArray[np.float32]
    entropy_bits: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InsideReading:
    """The inside of every step on show, read in one extra pass.

    Attributes
    ----------
    run_id : int
        Which run.
    nodes : tuple of int
        (steps,) the steps' nodes in the run's tree: row i of every array belongs to ``nodes[i]``.
    input_norms : numpy.ndarray
        (steps,) float32; length of what enters layer 0.
    sublayers : tuple of Sublayer
        In the order in which the stream passes them.
    lens : LogitLens or None
        None for a model without a language-model head.
    notes : tuple of str
        What a person should know of how it was read, one sentence each.
    """

    run_id: int
    nodes: tuple[int, ...]
    input_norms: npt.NDArray[np.float32]
    sublayers: tuple[Sublayer, ...]
    lens: LogitLens | None
    notes: tuple[str, ...] = ()
