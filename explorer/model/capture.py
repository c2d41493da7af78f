"""How a model's attention can be read: tried out on a few tokens when it is loaded.

The fast way is taken where the maps that are made of its notes are those of the checkpoint's own eager
attention. Elsewhere the model runs eagerly and its own weights are kept. Where not even those are
weights between pairs of tokens, there are no maps. Never is a map shown that was not held to the
model's own.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from explorer.core.records import Family
from explorer.core.selection import AttentionKind
from explorer.model.attention import CAPTURING, AttentionRecorder
from explorer.model.attention_notes import AttentionNotes
from explorer.model.eager_attention import EagerNotes, EagerRecorder
from explorer.model.errors import ModelError, first_line
from explorer.model.placement import home_of

TRIED_TEXT = "One, two and three are 1, 2, 3."
# Of two lengths, so that a window's fixed width is not taken for the number of keys.
_LENGTHS = (8, 6)
# Rounding apart, the maps are the same or they are not: a wrong formula is off by tenths.
_TOLERANCE = 1e-3
_HALF_TOLERANCE = 0.03
_HALF_MEAN_TOLERANCE = 0.1
_LARGEST_SUM = 1.05
# Held to their eager maps in float32 by the tests. In half precision their maps are not compared once more:
# large scores, as Qwen 2 has, are rounded by whole tenths in the eager run itself.
HELD_BY_TESTS = frozenset(
    {
        "bart",
        "bert",
        "distilbert",
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "llama",
        "m2m_100",
        "marian",
        "mbart",
        "mistral",
        "modernbert",
        "mt5",
        "pegasus",
        "qwen2",
        "qwen3",
        "roberta",
        "t5",
    }
)


class Recorder(Protocol):
    """Notes the attention of whichever run is going on, and is where a forward pass can be given up."""

    notes: Any
    cancel: Any

    def new_notes(self) -> Any:
        """Empty notes for a run."""

    def new_batch_notes(self) -> Any:
        """Empty notes for a pass of several sequences."""


@dataclass(frozen=True, slots=True)
class Capture:
    """How a model's attention is read.

    Attributes
    ----------
    recorder : Recorder
        What notes it.
    heads : dict
        Query heads by kind, for the kinds that have maps.
    weights_only : bool
        Whether the weights are all that there is, since the model runs eagerly.
    note : str
        What a person should know of it, in one sentence; empty where all is well.
    """

    recorder: Recorder
    heads: dict[AttentionKind, int]
    weights_only: bool
    note: str


def implementation_for(model_class: type) -> str:
    """Which attention to load a model of ``model_class`` with: capturing, or eager where that is unknown."""
    module = sys.modules[model_class.__module__]
    return CAPTURING if hasattr(module, "ALL_ATTENTION_FUNCTIONS") else "eager"


def find_capture(model: Any, family: Family, layers: Mapping[AttentionKind, int], ids: list[int]) -> Capture:
    """Try ``model`` out on ``ids``; leaves it under the attention that it is to run with.

    Costs three forward passes of a few tokens.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Loaded as `implementation_for` says.
    family : Family
        Which kinds of attention to look for.
    layers : mapping
        Layers by kind, as the config declares them.
    ids : list of int
        A short text; repeated where it is too short.

    Raises
    ------
    ModelError
        The model cannot be run at all.
    """
    ids = (ids * _LENGTHS[0])[: _LENGTHS[0]]
    with torch.inference_mode():
        noted = None
        fast = None
        if model.config._attn_implementation == CAPTURING:  # noqa: SLF001 - there is no public way to ask
            fast = AttentionRecorder(
                model, encoder_only=family == "encoder-only", has_encoder=family == "encoder-decoder"
            )
            noted = _fast_notes(model, family, ids, fast)
            model.set_attn_implementation("eager")
        eager = EagerRecorder(model, family)
        own, shorter = (_eager_notes(model, family, ids[:length], eager) for length in _LENGTHS)
        readable = {
            kind: heads
            for kind, count in layers.items()
            if (heads := _heads_of(own, kind, count, family, _LENGTHS[0]))
            and heads == _heads_of(shorter, kind, count, family, _LENGTHS[1])
        }
        if fast is not None and noted is not None:
            bounds = _bounds(model)
            # Where there is nothing to read, there is nothing to be slow for.
            if all(_agree(noted, own, kind, layers[kind], bounds) for kind in readable):
                eager.remove()
                model.set_attn_implementation(CAPTURING)
                return Capture(fast, readable, weights_only=False, note=_missing(model, layers, readable))
    eager.kinds = frozenset(readable)
    note = _missing(model, layers, readable)
    if readable:
        note = (
            f"Attention runs eagerly, since the fast way of {type(model).__name__} cannot be read: maps are "
            "the model's own weights, kept whole (their memory grows with the square of the length), and "
            f"how a weight came about is not known.{' ' + note if note else ''}"
        )
    return Capture(eager, readable, weights_only=True, note=note)


def _missing(model: Any, layers: Mapping[AttentionKind, int], readable: Mapping[AttentionKind, int]) -> str:
    gone = [kind for kind in layers if kind not in readable]
    if not gone:
        return ""
    return (
        f"There are no maps of {' and '.join(gone)} attention: {type(model).__name__} gives no weights "
        "between every two tokens."
    )


def _inputs(family: Family, ids: list[int], device: torch.device) -> dict[str, Any]:
    tokens = torch.tensor([ids], device=device)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return inputs | ({"decoder_input_ids": tokens[:, :-1]} if family == "encoder-decoder" else {})


def _run(model: Any, family: Family, ids: list[int]) -> None:
    cached = {} if family == "encoder-only" else {"use_cache": False}
    # A spread model's first weight may be anywhere; text goes in where the embedding computes.
    device = home_of(model.get_input_embeddings())
    model(**_inputs(family, ids, device), **cached, return_dict=True)


def _fast_notes(
    model: Any, family: Family, ids: list[int], recorder: AttentionRecorder
) -> AttentionNotes | None:
    """What the fast way notes; None where the architecture trips over it."""
    recorder.notes = notes = AttentionNotes()
    try:
        _run(model, family, ids)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the architecture's own code trips over
        return None
    finally:
        recorder.notes = None
    return notes


def _eager_notes(model: Any, family: Family, ids: list[int], recorder: EagerRecorder) -> EagerNotes:
    recorder.notes = notes = EagerNotes()
    try:
        _run(model, family, ids)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # likewise, but now there is no other way
        name = type(model).__name__
        raise ModelError(f"{name} cannot be run on a short text: {first_line(error)}") from error
    finally:
        recorder.notes = None
    return notes


def _heads_of(notes: EagerNotes, kind: AttentionKind, layers: int, family: Family, length: int) -> int:
    """Heads of every layer, where all have the same and weights between every two tokens; else 0."""
    written = length - 1 if family == "encoder-decoder" else length
    queries = length if kind == "encoder" else written
    keys = written if kind == "decoder" else length
    found = set()
    for layer in range(layers):
        try:
            weights = notes.weights(kind, layer, slice(None))
        except ValueError:
            return 0
        if weights.shape[1:] != (queries, keys) or not bool(torch.isfinite(weights).all()):
            return 0
        # Less than 1 is a share that goes to no token, as with a learned sink.
        if float(weights.min()) < 0.0 or float(weights.sum(-1).max()) > _LARGEST_SUM:
            return 0
        found.add(weights.shape[0])
    return found.pop() if len(found) == 1 else 0


def _bounds(model: Any) -> tuple[float, float, float]:
    """Largest difference in layer 0 and in later layers, and largest mean of one, that is rounding alone."""
    if model.dtype == torch.float32:
        return _TOLERANCE, _TOLERANCE, _TOLERANCE
    if model.config.model_type in HELD_BY_TESTS:
        return math.inf, math.inf, math.inf
    # Rounding adds up from layer to layer: only the first one has the very same input.
    return _HALF_TOLERANCE, math.inf, _HALF_MEAN_TOLERANCE


def _agree(
    noted: AttentionNotes,
    own: EagerNotes,
    kind: AttentionKind,
    layers: int,
    bounds: tuple[float, float, float],
) -> bool:
    """Whether the maps made of notes are the model's own, within what `_bounds` allows."""
    first, later, mean = bounds
    for layer in range(layers):
        expected = own.weights(kind, layer, slice(None))
        try:
            found = noted.weights(kind, layer, slice(None))
        except (KeyError, RuntimeError):
            return False
        if found.shape != expected.shape:
            return False
        difference = (found - expected).abs()
        largest = float(difference.max())
        if not (largest <= (later if layer else first) and float(difference.mean()) <= mean):
            return False
    return True
