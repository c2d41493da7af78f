"""The inside of a run's steps: what every part of every layer added, and what each layer would choose.

All steps are read in one extra pass over the tokens that the run stands at. No list of families says
where a layer's parts are. The pass is watched: attention is told by its calls, matrices and norms by
their weights, and how they form the residual stream is tried out on the numbers themselves. What does not
add up is left out and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from explorer.core.inside import InsideReading, Sublayer, SublayerKind
from explorer.core.selection import AttentionKind
from explorer.model.attention_notes import Slot
from explorer.model.logit_lens import Handover, read_lens
from explorer.model.token_path import embedding_scale

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel
    from explorer.model.run import Run

NEURONS = 8
_CROSS = re.compile("encoder_attn|encdecattention|crossattention|cross_attn")
# A sum that the model adds up in another order may differ by so many units of its number format.
ULPS = 4


def read_inside(run: Run, run_id: int = 0, top: int = 5) -> InsideReading:
    """Read the inside of every step that the run stands at.

    One forward pass over the whole branch, and the output head once per layer: O(layers * steps *
    vocabulary * hidden size). On the device, besides that pass's own logits (of the last token alone where
    the model can be told so), the steps' vectors of every layer and at most 128 MB of logits at a time.

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
            lm.model(**given.inputs, return_dict=True)
        lens, notes = None, tuple(watch.notes())
        if lm.has_head:
            own = torch.tensor(run.steps[0].logits, device=lm.device)[None]  # (1, V)
            chosen = torch.tensor(run.token_ids, device=lm.device)
            lens = read_lens(lm, watch.handovers(), watch.streams, own, chosen, given.inputs, top)
            if lens is None:
                notes = (*notes, "The output head could not be applied on its own: there is no logit lens.")
    return InsideReading(
        run_id,
        nodes,
        _lengths(watch.streams[0]),
        tuple(watch.sublayers),
        lens,
        notes,
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
        What enters layer 0, and what leaves each layer: (S, D) each, in the model's own numbers.
    sublayers : list of Sublayer
        What could be told of the layers' parts.
    final_norm : torch.nn.Module or None
        The norm that the last layer's output goes through.
    """

    def __init__(self, lm: LanguageModel, given: StepInputs) -> None:
        self._lm, self._rows, self._positions = lm, given.rows, given.positions
        ids = given.inputs["decoder_input_ids" if lm.family == "encoder-decoder" else "input_ids"]
        self._shape = ids.shape  # (batch, t)
        self.layers, self._stacks = _layers(lm)
        self._outputs: dict[torch.nn.Module, Any] = {}
        self.streams: list[torch.Tensor] = []
        self.sublayers: list[Sublayer] = []
        self.final_norm: torch.nn.Module | None = None
        self._events: list[_Event] = []
        self._blocks: list[tuple[int, torch.Tensor]] = []  # (events before its end, what left it)
        self._layer: int | None = None
        self._untold: list[int] = []
        self._factor = float(getattr(lm.config, "residual_multiplier", None) or 1.0)
        self._parallel = self._normed_stream = self._normed_parts = self._through_norms = False

    # Called for every attention of the pass, in place of a run's notes.
    def note(self, slot: Slot, *_: Any) -> None:
        """Queries meet keys: the matrix that ends an attention comes next."""
        kind: SublayerKind = "cross-attention" if slot.kind == "cross" else "self-attention"
        self._events.append(_Event("attention", kind))

    def _on_attention(self, kind: SublayerKind) -> None:
        """An attention module ended; whether with its last matrix or before it differs by family."""
        if self._layer is not None:
            self._events.append(_Event("attention", kind))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch a forward pass."""
        handles = []
        for layer in self.layers:
            handles.append(layer.register_forward_pre_hook(self._on_entered, with_kwargs=True))
            handles.append(layer.register_forward_hook(self._on_left))
            handles += [block.register_forward_hook(self._on_block) for block in _blocks(layer)]
        for module in self._stacks[0].modules():
            if _what(module) is not None:
                handles.append(module.register_forward_hook(self._on_called))
        if self._lm.info.weights_only:
            # Such a model's attention does not pass through the function that calls `note`.
            for module, kind in _attention_modules(self._stacks[0]):
                ended = partial(lambda kind, *_: self._on_attention(kind), kind)
                handles.append(module.register_forward_hook(ended))
        handles += [stack.register_forward_hook(self._on_ended) for stack in self._stacks]
        self._lm.recorder.notes = self
        try:
            yield
        finally:
            self._lm.recorder.notes = None
            for handle in handles:
                handle.remove()

    def _at_steps(self, tensor: Any) -> torch.Tensor | None:
        """(S, n) copy of what belongs to the steps; None where it is not the stack's sequence."""
        if isinstance(tensor, tuple):
            tensor = tensor[0]
        if not isinstance(tensor, torch.Tensor) or tensor.dim() not in (2, 3):
            return None
        if tensor.dim() == 2 and len(tensor) == self._shape.numel():
            tensor = tensor.view(*self._shape, -1)  # some families lay all rows after each other (OPT)
        if tensor.shape[:2] != self._shape:
            return None
        rows, positions = self._rows.to(tensor.device), self._positions.to(tensor.device)
        at_steps: torch.Tensor = tensor[rows, positions].to(self._rows.device)
        return at_steps

    def _stream(self, tensor: Any) -> torch.Tensor:
        stream = self._at_steps(tensor)
        if stream is None:
            raise ValueError(
                f"The layers of {self._lm.name} do not hand on one vector per token: "
                "their inside cannot be read."
            )
        return stream

    def _on_entered(self, _: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        stream = self._stream(args[0] if args else named.get("hidden_states"))
        if not self.streams:
            self.streams.append(stream)
        self._layer = len(self.streams) - 1
        self._events, self._blocks = [], []

    def _on_left(self, _: Any, __: Any, output: Any) -> None:
        stream = self._stream(output)
        self._tell_parts(self.streams[-1], stream)
        self.streams.append(stream)
        self._layer = None

    def _on_ended(self, stack: torch.nn.Module, _: Any, output: Any) -> None:
        self._outputs[stack] = output

    def handovers(self) -> list[Handover]:
        """Where the head may take its vectors from."""
        return [
            Handover(stack, output, self.final_norm if self.final_norm in set(stack.modules()) else None)
            for stack, output in self._outputs.items()
        ]

    def _on_block(self, _: Any, __: Any, output: Any) -> None:
        left = self._at_steps(output)
        if left is not None:
            self._blocks.append((len(self._events), left))

    def _on_called(self, module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        what = _what(module)
        entered, left = self._at_steps(args[0] if args else None), self._at_steps(output)
        if what is None or entered is None or left is None:
            return
        if self._layer is not None:
            self._events.append(_Event(what, entered=entered, left=left))
            return
        ended = len(self.streams) == len(self.layers) + 1
        if what == "norm" and ended and self.final_norm is None and torch.equal(entered, self.streams[-1]):
            self.final_norm = module

    # -- how a layer's parts make the stream --------------------------------------------------------

    def _tell_parts(self, before: torch.Tensor, after: torch.Tensor) -> None:
        layer = len(self.streams) - 1
        for parts in self._ways(before.shape[1]):
            streams = self._summed(before, after, parts) or self._normed(before, after, parts)
            if streams is not None:
                break
        else:
            self._untold.append(layer)
            return
        self._normed_parts |= self._through_norms
        for part, stream in zip(parts, streams, strict=True):
            neurons = activations = None
            if part.activations is not None:
                count = min(NEURONS, part.activations.shape[1])
                strongest = part.activations.abs().topk(count, dim=-1).indices
                neurons = _on_host(strongest)
                activations = _on_host(part.activations.gather(1, strongest).float())
            self.sublayers.append(
                Sublayer(
                    layer,
                    part.kind,
                    _lengths(part.added),
                    _lengths(stream),
                    neurons,
                    activations,
                )
            )

    def _ways(self, width: int) -> Iterator[list[_Part]]:
        """What the layer's parts may be, likeliest first."""
        for events in self._orders():
            self._events = events
            yield self._parts(width)
            yield self._parts(width, whole_blocks=True)

    def _orders(self) -> Iterator[list[_Event]]:
        """The layer's events with each attention right before the matrix that ends it, as far as is known."""
        events = self._events
        yield events
        if self._lm.info.weights_only:
            moved: list[_Event] = []
            for event in events:
                matrices = [i for i, one in enumerate(moved) if one.what == "matrix"]
                place = matrices[-1] if event.what == "attention" and matrices else len(moved)
                moved.insert(place, event)
            yield moved

    def _parts(self, width: int, *, whole_blocks: bool = False) -> list[_Part]:
        """The layer's parts: an attention's ends with the matrix after it, a feed-forward's with its last.

        With ``whole_blocks``, the feed-forward is the layer's last module, whatever is inside (experts).
        """
        events = self._events
        self._through_norms = False
        parts: list[_Part] = []
        start = 0
        for index, event in enumerate(events):
            if event.what != "attention" or index < start:
                continue
            end = next((i for i in range(index, len(events)) if events[i].what == "matrix"), None)
            if end is None:
                return []
            parts.append(self._part(event.kind, end))
            start = parts[-1].end
        matrices = [i for i in range(start, len(events)) if events[i].what == "matrix"]
        blocks = [block for block in self._blocks if block[0] > start]
        if whole_blocks and blocks:
            end, added = blocks[-1]
            parts.append(self._scaled(self._through_norm(_Part("feed-forward", added, end))))
        elif len(matrices) >= 2 and not whole_blocks:
            parts.append(self._part("feed-forward", matrices[-1]))
        return [part for part in parts if part.added.shape[1] == width]

    def _part(self, kind: SublayerKind, last: int) -> _Part:
        """The part whose last matrix is event ``last``."""
        event = self._events[last]
        assert event.left is not None
        activations = event.entered if kind == "feed-forward" else None
        return self._scaled(self._through_norm(_Part(kind, event.left, last + 1, activations)))

    def _scaled(self, part: _Part) -> _Part:
        """The same with what it adds multiplied as its family does (Granite)."""
        if self._factor == 1.0:
            return part
        return replace(part, added=part.added * self._factor)

    def _through_norm(self, part: _Part) -> _Part:
        """The same with the norm of its own that what it adds goes through, where there is one."""
        norm = self._events[part.end] if part.end < len(self._events) else None
        if norm is None or norm.what != "norm" or norm.entered is None or norm.left is None:
            return part
        if not torch.equal(norm.entered, part.added):
            return part
        self._through_norms = True
        return _Part(part.kind, norm.left, part.end + 1, part.activations)

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
            self._parallel |= all(one is not None and torch.equal(one, before) for one in read)
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
        apart = float((one.float() - other.float()).abs().max())
        return apart <= ULPS * torch.finfo(self._lm.dtype).eps * largest

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
        if self._factor != 1.0:
            yield f"What a part adds is multiplied by {self._factor:g} first, and is measured after it."
        if self._parallel:
            yield "Attention and feed-forward of a layer read the same input, and both are added to it."
        if any(one.kind == "feed-forward" and one.neurons is None for one in self.sublayers):
            yield "Of a feed-forward network made of experts only what it adds is told, not its neurons."
        if self._untold:
            places = ", ".join(map(str, self._untold))
            yield (
                f"How the parts of layer {places} make up its output could not be told from the numbers; "
                "they are left out."
            )


# -- finding things -----------------------------------------------------------------------------------


def _layers(lm: LanguageModel) -> tuple[list[torch.nn.Module], list[Any]]:
    """The layers that the head reads the last of, and the modules around them, outermost first."""
    outer = lm.model.get_decoder() if lm.family == "encoder-decoder" else lm.model.base_model
    kind: AttentionKind = "encoder" if lm.family == "encoder-only" else "decoder"
    count = lm.info.layers[kind]
    for module in outer.modules():
        for child in module.children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == count:
                return list(child), [outer] if module is outer else [outer, module]
    raise ValueError(f"The {count} layers of {lm.name} could not be found.")


def _attention_modules(stack: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, SublayerKind]]:
    """The innermost modules that are called attention, each with its kind; told by their names."""
    for name, module in stack.named_modules():
        called = [one for one in module.modules() if "attention" in type(one).__name__.lower()]
        if called == [module]:
            yield module, "cross-attention" if _CROSS.search(name.lower()) else "self-attention"


def _blocks(layer: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules that a layer is made of, but for single matrices and norms."""
    return [
        module
        for module in layer.children()
        if _what(module) is None and next(module.parameters(), None) is not None
    ]


def _what(module: torch.nn.Module) -> Literal["matrix", "norm"] | None:
    """Whether a module multiplies by a matrix or normalises, told by its weight; None for all others."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.nn.Parameter) or isinstance(module, torch.nn.Embedding):
        return None
    if weight.dim() == 2:
        return "matrix"
    return "norm" if weight.dim() == 1 and "norm" in type(module).__name__.lower() else None


def _lengths(vectors: torch.Tensor) -> Any:
    """(S,) float32 Euclidean lengths of (S, D)."""
    return _on_host(vectors.float().norm(dim=-1))


def _on_host(tensor: torch.Tensor) -> Any:
    return tensor.cpu().numpy()
