"""The inside of a run's steps: what every part of every layer added, and what each layer would choose.

All steps are read in one extra pass over the tokens that the run stands at. No list of families says
where a layer's parts are. The pass is watched: attention is told by its calls, matrices and norms by
their weights, and how they form the residual stream is tried out on the numbers themselves. What does not
add up is left out and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from explorer.core.inside import InsideReading, LogitLens, Sublayer, SublayerKind
from explorer.core.selection import AttentionKind
from explorer.model.attention_notes import Slot
from explorer.model.token_path import embedding_scale

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel
    from explorer.model.run import Run

NEURONS = 8
# Logits of so many entries are held at a time, whatever the number of steps: 128 MB.
MOST_ENTRIES = 1 << 25
# Sums are taken to be the model's own when they agree within so many units of its number format.
ULPS = 32


def read_inside(run: Run, run_id: int = 0, top: int = 5) -> InsideReading:
    """Read the inside of every step that the run stands at.

    One forward pass over the whole branch, and the output head once per layer: O(layers * steps *
    vocabulary * hidden size). On the device, one layer's vectors and at most 128 MB of logits at a time.

    Parameters
    ----------
    run : Run
        Whose steps.
    run_id : int
        For the result's.
    top : int
        How many tokens of each layer's own choice to name; at most the vocabulary.

    Raises
    ------
    ValueError
        ``top`` is below 1.
    """
    if top < 1:
        raise ValueError(f"top must be 1 or more, not {top}.")
    nodes = run.snapshot().nodes
    if not nodes:
        empty = np.zeros(0, dtype=np.float32)
        return InsideReading(run_id, (), empty, (), None, ("No step has been taken yet.",))
    lm = run.lm
    given = run.inputs_of_steps()
    with torch.inference_mode():
        watch = _Watch(lm, given)
        with watch.watching():
            outputs = lm.model(**given.inputs, return_dict=True)
        lens = None
        if lm.has_head:
            own = outputs.logits[given.rows, given.positions]  # (S, V)
            chosen = torch.tensor(run.token_ids, device=own.device)
            lens = _lens(lm, watch, given.inputs, own, chosen, top)
        del outputs
    return InsideReading(
        run_id,
        nodes,
        _on_host(watch.streams[0].norm(dim=-1)),
        tuple(watch.sublayers),
        lens,
        tuple(watch.notes()),
    )


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What makes a model read all of a run's steps at once.

    Attributes
    ----------
    inputs : dict
        Keyword arguments of its forward pass.
    rows, positions : torch.Tensor
        (steps,) where in the batch each step's token was chosen from.
    """

    inputs: dict[str, Any]
    rows: torch.Tensor
    positions: torch.Tensor


@dataclass(slots=True)
class _Event:
    """A call inside a layer: an attention's, or a matrix's or norm's with what entered and left it."""

    what: Literal["attention", "matrix", "norm"]
    kind: SublayerKind = "feed-forward"
    entered: torch.Tensor | None = None  # (S, n)
    left: torch.Tensor | None = None  # (S, m)


@dataclass(slots=True)
class _Part:
    """One part of a layer, before it is known how the stream goes on after it."""

    kind: SublayerKind
    added: torch.Tensor  # (S, D)
    end: int  # the event after its last
    activations: torch.Tensor | None = None  # (S, n) what entered the feed-forward's last matrix


class _Watch:
    """Hooks on one stack of layers during one pass; keeps what belongs to the steps' positions.

    Attributes
    ----------
    streams : list of torch.Tensor
        What enters layer 0, and what leaves each layer: (S, D) float32 each.
    sublayers : list of Sublayer
        What could be told of the layers' parts.
    final_norm : torch.nn.Module or None
        The norm that the last layer's output goes through.
    """

    def __init__(self, lm: LanguageModel, given: StepInputs) -> None:
        self._lm, self._rows, self._positions = lm, given.rows, given.positions
        ids = given.inputs["decoder_input_ids" if lm.family == "encoder-decoder" else "input_ids"]
        self._shape = ids.shape  # (batch, t)
        self.stack = _stack(lm)
        self.layers = _layers(lm, self.stack)
        self.streams: list[torch.Tensor] = []
        self.sublayers: list[Sublayer] = []
        self.final_norm: torch.nn.Module | None = None
        self._events: list[_Event] = []
        self._layer: int | None = None
        self._untold: list[int] = []
        self._parallel = self._normed_stream = self._normed_parts = False

    # Called for every attention of the pass, in place of a run's notes.
    def note(self, slot: Slot, *_: Any) -> None:
        """An attention module was called."""
        kind: SublayerKind = "cross-attention" if slot.kind == "cross" else "self-attention"
        self._events.append(_Event("attention", kind))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch a forward pass."""
        handles = []
        for layer in self.layers:
            handles.append(layer.register_forward_pre_hook(self._on_entered, with_kwargs=True))
            handles.append(layer.register_forward_hook(self._on_left))
        for module in self.stack.modules():
            what = _what(module)
            if what is not None:
                handles.append(module.register_forward_hook(self._on_called))
        self._lm.recorder.notes = self
        try:
            yield
        finally:
            self._lm.recorder.notes = None
            for handle in handles:
                handle.remove()

    def _at_steps(self, tensor: Any) -> torch.Tensor | None:
        """(S, n) float32 copy of what belongs to the steps; None where it is not the stack's sequence."""
        if isinstance(tensor, tuple):
            tensor = tensor[0]
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != 3 or tensor.shape[:2] != self._shape:
            return None
        return tensor[self._rows, self._positions].float()

    def _on_entered(self, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        stream = self._at_steps(args[0] if args else named["hidden_states"])
        assert stream is not None
        if not self.streams:
            self.streams.append(stream)
        self._layer = len(self.streams) - 1
        self._events = []

    def _on_left(self, _: Any, __: Any, output: Any) -> None:
        stream = self._at_steps(output)
        assert stream is not None
        self._tell_parts(self.streams[-1], stream)
        self.streams.append(stream)
        self._layer, self._events = None, []

    def _on_called(self, module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        what = _what(module)
        entered, left = self._at_steps(args[0] if args else None), self._at_steps(output)
        if what is None or entered is None or left is None:
            return
        if self._layer is not None:
            self._events.append(_Event(what, entered=entered, left=left))
            return
        ended = len(self.streams) == len(self.layers) + 1
        if what == "norm" and ended and self.final_norm is None and self._same(entered, self.streams[-1]):
            self.final_norm = module

    # -- how a layer's parts make the stream --------------------------------------------------------

    def _tell_parts(self, before: torch.Tensor, after: torch.Tensor) -> None:
        layer = len(self.streams) - 1
        parts = self._parts(before.shape[1])
        streams = self._summed(before, after, parts) or self._normed(before, after, parts)
        if streams is None:
            self._untold.append(layer)
            return
        for part, stream in zip(parts, streams, strict=True):
            neurons = activations = None
            if part.activations is not None:
                count = min(NEURONS, part.activations.shape[1])
                strongest = part.activations.abs().topk(count, dim=-1).indices
                neurons = _on_host(strongest)
                activations = _on_host(part.activations.gather(1, strongest))
            self.sublayers.append(
                Sublayer(
                    layer,
                    part.kind,
                    _on_host(part.added.norm(dim=-1)),
                    _on_host(stream.norm(dim=-1)),
                    neurons,
                    activations,
                )
            )

    def _parts(self, width: int) -> list[_Part]:
        """The layer's parts: an attention's ends with the matrix after it, a feed-forward's with its last."""
        events = self._events
        parts: list[_Part] = []
        start = 0
        for index, event in enumerate(events):
            if event.what != "attention" or index < start:
                continue
            end = next((i for i in range(index, len(events)) if events[i].what == "matrix"), None)
            if end is None:
                return []
            parts.append(self._part(event.kind, end, width))
            start = parts[-1].end
        matrices = [i for i in range(start, len(events)) if events[i].what == "matrix"]
        if len(matrices) >= 2:
            parts.append(self._part("feed-forward", matrices[-1], width))
        return [part for part in parts if part.added.shape[1] == width]

    def _part(self, kind: SublayerKind, last: int, width: int) -> _Part:
        """The part whose last matrix is event ``last``, with the norm that what it adds goes through."""
        event = self._events[last]
        assert event.left is not None
        added, end = event.left, last + 1
        if end < len(self._events):
            norm = self._events[end]
            if norm.what == "norm" and norm.entered is not None and self._same(norm.entered, added):
                assert norm.left is not None
                added, end = norm.left, end + 1
                self._normed_parts = True
        return _Part(kind, added, end, event.entered if kind == "feed-forward" else None)

    def _summed(
        self, before: torch.Tensor, after: torch.Tensor, parts: list[_Part]
    ) -> list[torch.Tensor] | None:
        """The stream after each part where parts are added to it as they are; None where they are not."""
        streams = [before]
        for part in parts:
            streams.append(streams[-1] + part.added)
        if not parts or not self._same(streams[-1], after):
            return None
        if len(parts) > 1:
            # One after the other, the last part's norm reads the sum so far; side by side, none does.
            read = [event.entered for event in self._events if event.what == "norm"]
            self._parallel |= not any(one is not None and self._same(one, streams[-2]) for one in read)
        return [*streams[1:-1], after]

    def _normed(
        self, before: torch.Tensor, after: torch.Tensor, parts: list[_Part]
    ) -> list[torch.Tensor] | None:
        """The same where the sum goes through a norm each time, and that is the stream."""
        streams = [before]
        for part in parts:
            norm = next((event for event in self._events[part.end :] if event.what == "norm"), None)
            if norm is None or norm.entered is None or norm.left is None:
                return None
            if not self._same(norm.entered, streams[-1] + part.added):
                return None
            streams.append(norm.left)
        if not parts or not self._same(streams[-1], after):
            return None
        self._normed_stream = True
        return streams[1:]

    def _same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two (S, n) are the same but for rounding in the model's number format."""
        if one.shape != other.shape:
            return False
        largest = max(float(one.abs().max()), float(other.abs().max()))
        return float((one - other).abs().max()) <= ULPS * torch.finfo(self._lm.dtype).eps * largest

    def notes(self) -> Iterator[str]:
        """What a person should know of how it was read."""
        yield (
            "Read in one extra pass over all tokens at once; it agrees with the run's own passes but "
            "for rounding."
        )
        scale = embedding_scale(self._lm)
        if scale != 1.0:
            yield f"The model multiplies its embeddings by {scale:.4g} before layer 0."
        if self._normed_stream:
            yield "This family normalises the stream after every part: its length is that after the norm."
        if self._normed_parts:
            yield "What a part adds goes through a norm of its own first, and is measured after it."
        if self._parallel:
            yield "Attention and feed-forward of a layer read the same input, and both are added to it."
        if self._untold:
            places = ", ".join(map(str, self._untold))
            yield (
                f"How the parts of layer {places} make up its output could not be told from the numbers; "
                "they are left out."
            )


# -- the logit lens ---------------------------------------------------------------------------------


def _lens(
    lm: LanguageModel,
    watch: _Watch,
    inputs: dict[str, Any],
    own: torch.Tensor,
    chosen: torch.Tensor,
    top: int,
) -> LogitLens:
    """The model's own head after every layer, one layer and so many steps at a time."""
    rows: list[list[torch.Tensor]] = []
    steps, vocabulary = own.shape
    block = max(1, MOST_ENTRIES // vocabulary)
    for stream in watch.streams[:-1]:
        blocks = []
        for first in range(0, steps, block):
            part = slice(first, first + block)
            hidden = stream[part].to(lm.dtype)[None]  # (1, s, D)
            if watch.final_norm is not None:
                hidden = watch.final_norm(hidden)
            blocks.append(_summary(_head(lm, watch.stack, inputs, hidden), chosen[part], top))
        rows.append([torch.cat(column) for column in zip(*blocks, strict=True)])
    blocks = [_summary(own[i : i + block], chosen[i : i + block], top) for i in range(0, steps, block)]
    rows.append([torch.cat(column) for column in zip(*blocks, strict=True)])
    stacked = [_on_host(torch.stack(column, dim=1)) for column in zip(*rows, strict=True)]
    labels = ("input", *(f"layer {index}" for index in range(len(watch.layers))))
    return LogitLens(labels, *stacked)


def _head(
    lm: LanguageModel, stack: torch.nn.Module, inputs: dict[str, Any], hidden: torch.Tensor
) -> torch.Tensor:
    """What the model makes of hidden states (1, s, D) after its last layer: (s, V) logits.

    Its own code does it, scaling, biases, transforms and caps included: for this one call its stack of
    layers hands over ``hidden`` and computes nothing.
    """
    given = {name: value for name, value in inputs.items() if name == "encoder_outputs"}
    ids = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    given["decoder_input_ids" if lm.family == "encoder-decoder" else "input_ids"] = ids
    output = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden)
    # An instance attribute shadows the class's method until it is deleted again.
    stack.forward = lambda *_, **__: output
    try:
        logits: torch.Tensor = lm.model(**given, return_dict=True).logits[0]
    finally:
        del stack.forward
    return logits


def _summary(logits: torch.Tensor, chosen: torch.Tensor, top: int) -> tuple[torch.Tensor, ...]:
    """(ids, probabilities) of the top, (rank, probability) of the chosen, entropy: of logits (s, V)."""
    logits = logits.float()
    log_probs = torch.log_softmax(logits, dim=-1)
    best = log_probs.topk(min(top, log_probs.shape[1]), dim=-1)
    of_chosen = logits.gather(1, chosen[:, None])
    above = (logits > of_chosen).sum(dim=1)
    # Of equal logits the higher ID ranks first, as in `explorer.core.sampling.RankedLogits`.
    later = torch.arange(logits.shape[1], device=logits.device) > chosen[:, None]
    ranks = above + ((logits == of_chosen) & later).sum(dim=1)
    entropy = torch.special.entr(log_probs.exp()).sum(dim=1) / np.log(2)
    chosen_probabilities = log_probs.gather(1, chosen[:, None])[:, 0].exp()
    return best.indices, best.values.exp(), ranks, chosen_probabilities, entropy


# -- finding things -----------------------------------------------------------------------------------


def _stack(lm: LanguageModel) -> Any:
    """The stack of layers whose output the head reads."""
    return lm.model.get_decoder() if lm.family == "encoder-decoder" else lm.model.base_model


def _layers(lm: LanguageModel, stack: torch.nn.Module) -> list[torch.nn.Module]:
    """Its layers: the outermost list of so many modules."""
    kind: AttentionKind = "encoder" if lm.family == "encoder-only" else "decoder"
    count = lm.info.layers[kind]
    for module in stack.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return list(module)
    raise ValueError(f"The {count} layers of {lm.name} could not be found.")


def _what(module: torch.nn.Module) -> Literal["matrix", "norm"] | None:
    """Whether a module multiplies by a matrix or normalises, told by its weight; None for all others."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.nn.Parameter) or isinstance(module, torch.nn.Embedding):
        return None
    if weight.dim() == 2:
        return "matrix"
    return "norm" if weight.dim() == 1 and "norm" in type(module).__name__.lower() else None


def _on_host(tensor: torch.Tensor) -> Any:
    return tensor.cpu().numpy()
