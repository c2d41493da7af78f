"""The moments that a text goes through inside a model: what is walked when a step is looked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from explorer.core.records import ModelInfo, RunSnapshot

StageName = Literal[
    "tokenize", "embed", "encoder", "start", "decoder", "logits", "softmax", "choose", "feed", "detokenize"
]


@dataclass(frozen=True, slots=True)
class Moment:
    """One place on a text's way through a model.

    Attributes
    ----------
    stage : StageName
        Which stage.
    layer : int or None
        Of the encoder or the decoder, from 0; None elsewhere.
    """

    stage: StageName
    layer: int | None = None


def start_moments(model: ModelInfo) -> tuple[Moment, ...]:
    """What happens once, before the first step."""
    encoder = [Moment("encoder", layer) for layer in range(model.layers.get("encoder", 0))]
    moments = [Moment("tokenize"), Moment("embed")]
    if model.family == "encoder-decoder":
        moments += [*encoder, Moment("start")]
    return tuple(moments)


def step_moments(model: ModelInfo, run: RunSnapshot, step: int | None) -> tuple[Moment, ...]:
    """The moments inside a step of a run, in order; with None those before the first step.

    The first step holds what happens once. An encoder reads its text again for every mask.
    """
    if step is None:
        return start_moments(model)
    stack: Literal["encoder", "decoder"] = "encoder" if model.family == "encoder-only" else "decoder"
    moments = list(start_moments(model)) if step == 0 else []
    moments += [Moment(stack, layer) for layer in range(model.layers.get(stack, 0))]
    moments += [Moment("logits"), Moment("softmax"), Moment("choose")]
    ended = run.finished and step == len(run.steps) - 1
    return (*moments, Moment("detokenize" if ended else "feed"))


def outcome(model: ModelInfo, run: RunSnapshot, step: int | None) -> Moment:
    """The moment whose result is on show while nobody looks inside a step."""
    if step is None:
        return start_moments(model)[-1] if run.start_tokens else Moment("tokenize")
    return step_moments(model, run, step)[-1 if run.finished and step == len(run.steps) - 1 else -2]
