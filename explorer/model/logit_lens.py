"""The logit lens: a model's own output head applied to what each of its layers hands on.

Its own code does it, scaling, biases, transforms and caps included: for such a call its stack of layers
hands over given vectors and computes nothing. That this is the model's head is held to its own logits.
Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from explorer.core.inside import LogitLens

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

# Logits of so many entries are held at a time, whatever the number of steps: 128 MB.
MOST_ENTRIES = 1 << 25
# Another pass over the same tokens differs by its rounding; a head that lacks something, by far more.
TOLERANCE, HALF_TOLERANCE = 1e-3, 0.1


@dataclass(frozen=True, slots=True)
class Handover:
    """Where vectors go from the layers to the head.

    Attributes
    ----------
    stack : torch.nn.Module
        A module around the layers.
    output : ModelOutput or tuple or torch.Tensor
        What it gave in the pass.
    norm : torch.nn.Module or None
        The norm at its end, which earlier layers' vectors go through first.
    """

    stack: Any
    output: Any
    norm: torch.nn.Module | None


def read_lens(
    lm: LanguageModel,
    handovers: Sequence[Handover],
    streams: Sequence[torch.Tensor],
    own: torch.Tensor,
    chosen: torch.Tensor,
    inputs: dict[str, Any],
    top: int,
) -> LogitLens | None:
    """Apply the head after every layer, one layer and so many steps at a time.

    Parameters
    ----------
    lm : LanguageModel
        Whose head.
    handovers : sequence of Handover
        Where it may take its vectors from; the first that gives the model's own logits is taken.
    streams : sequence of torch.Tensor
        (S, D) each: what enters layer 0, and what leaves each layer; the last gives the model's own choice.
    own : torch.Tensor
        (1, V) the run's own logits of the first step, which the head's are held to.
    chosen : torch.Tensor
        (S,) the steps' tokens.
    inputs : dict
        Keyword arguments of the pass that ``streams`` were taken from.
    top : int
        How many tokens to name.

    Returns
    -------
    LogitLens or None
        None where the head cannot be applied on its own.
    """
    handover = next((one for one in handovers if _is_own(lm, one, streams[-1], own, inputs)), None)
    if handover is None:
        return None
    rows: list[list[torch.Tensor]] = []
    block = max(1, MOST_ENTRIES // own.shape[1])
    parts = [slice(first, first + block) for first in range(0, len(chosen), block)]
    for stream in streams:
        found = [_summary(_logits(lm, handover, stream[part], inputs), chosen[part], top) for part in parts]
        rows.append([torch.cat(column) for column in zip(*found, strict=True)])
    stacked = [torch.stack(column, dim=1).cpu().numpy() for column in zip(*rows, strict=True)]
    labels = ("input", *(f"layer {index}" for index in range(len(streams) - 1)))
    return LogitLens(labels, *stacked)


def _is_own(
    lm: LanguageModel,
    handover: Handover,
    last: torch.Tensor,
    own: torch.Tensor,
    inputs: dict[str, Any],
) -> bool:
    """Whether the head, given what left the last layer, gives what the model itself gave."""
    try:
        logits = _logits(lm, handover, last[:1], inputs)
    except (AttributeError, TypeError, KeyError, IndexError, RuntimeError):
        return False  # its code asks the stack for something else
    if logits.shape != own.shape:
        return False
    apart = float((logits.float() - own).abs().max())
    tolerance = TOLERANCE if lm.dtype == torch.float32 else HALF_TOLERANCE
    return apart <= tolerance * float(own.abs().max())


def _logits(
    lm: LanguageModel, handover: Handover, vectors: torch.Tensor, inputs: dict[str, Any]
) -> torch.Tensor:
    """What the model makes of vectors (s, D) after its last layer: (s, V) logits."""
    hidden = vectors[None]  # (1, s, D)
    if handover.norm is not None:
        hidden = handover.norm(hidden)
    given = {name: value for name, value in inputs.items() if name == "encoder_outputs"}
    ids = torch.zeros(hidden.shape[:2], dtype=torch.long, device=lm.device)
    given["decoder_input_ids" if lm.family == "encoder-decoder" else "input_ids"] = ids
    with _handing_over(handover, hidden):
        logits: torch.Tensor = lm.model(**given, return_dict=True).logits[0]
    return logits.to(vectors.device)


@contextmanager
def _handing_over(handover: Handover, hidden: torch.Tensor) -> Iterator[None]:
    """Let the stack compute nothing and hand over ``hidden``."""
    output = handover.output
    if isinstance(output, torch.Tensor):
        output = hidden
    elif isinstance(output, tuple):
        output = (hidden, *output[1:])
    else:
        output = copy.copy(output)
        output["last_hidden_state"] = hidden
    # An instance attribute shadows the class's method; a spread model has one already.
    had = vars(handover.stack).get("forward")
    handover.stack.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if had is None:
            del handover.stack.forward
        else:
            handover.stack.forward = had


def _summary(logits: torch.Tensor, chosen: torch.Tensor, top: int) -> tuple[torch.Tensor, ...]:
    """(ids, probabilities) of the top, (rank, probability) of the chosen, entropy: of logits (s, V)."""
    logits, chosen = logits.float(), chosen.to(logits.device)
    log_probs = torch.log_softmax(logits, dim=-1)
    best = log_probs.topk(min(top, log_probs.shape[1]), dim=-1)
    of_chosen = logits.gather(1, chosen[:, None])
    above = (logits > of_chosen).sum(dim=1)
    # Of equal logits the higher ID ranks first, as in `explorer.core.sampling.RankedLogits`.
    later = torch.arange(logits.shape[1], device=logits.device) > chosen[:, None]
    ranks = above + ((logits == of_chosen) & later).sum(dim=1)
    entropy = torch.special.entr(log_probs.exp()).sum(dim=1) / np.log(2)
    chosen_probabilities = log_probs.gather(1, chosen[:, None])[:, 0].exp()
    found = (best.indices, best.values.exp(), ranks, chosen_probabilities, entropy)
    return tuple(one.cpu() for one in found)
