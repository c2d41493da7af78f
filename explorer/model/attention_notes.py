"""What a run's attention maps are made of: noted while the model runs, turned into weights on demand.

A head's weights are computed from the notes when somebody asks, by the formula that the checkpoint's
own eager attention uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from transformers.integrations.sdpa_attention import repeat_kv

from explorer.core.records import CellReading
from explorer.core.selection import AttentionKind, HeadRef, Pooling
from explorer.model.errors import UnknownWeightError

OVERVIEW_CELLS = 64

TermName = Literal["bias", "mask"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Which attention module of a model.

    Attributes
    ----------
    kind : AttentionKind
        What its queries look at.
    layer : int
        From 0.
    """

    kind: AttentionKind
    layer: int


@dataclass(slots=True)
class _Call:
    """What one forward pass gave one attention module, but for its queries and keys. Batch is always 1.

    Its ``rows`` queries saw keys ``key_start`` to ``key_end``. ``mask`` and ``bias`` are
    (1 or H, rows, key_end - key_start), the mask boolean (True: may look) or additive.
    """

    rows: int
    key_start: int
    key_end: int
    causal: bool
    mask: torch.Tensor | None
    bias: torch.Tensor | None


class _Rows:
    """Vectors (H, n, d), a few more with every pass; joined when somebody reads them, and then kept so."""

    __slots__ = ("_parts", "count")

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []
        self.count = 0

    def add(self, rows: torch.Tensor) -> None:
        """Add (H, m, d) at the end."""
        self._parts.append(rows)
        self.count += rows.shape[1]

    def joined(self) -> torch.Tensor:
        """All of them; a copy only of what was added since the last time."""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts, dim=1)]
        return self._parts[0]

    def take(self, count: int) -> torch.Tensor:
        """Remove the last ``count`` and return them."""
        self.count -= count
        if self._parts[-1].shape[1] == count:
            return self._parts.pop()
        joined = self.joined()
        self._parts = [joined[:, : self.count]]
        return joined[:, self.count :]

    @property
    def parts(self) -> list[torch.Tensor]:
        """What is held."""
        return self._parts


@dataclass(slots=True)
class _Layer:
    """One attention module's notes over a run: every query row, and each key once."""

    scaling: float = 1.0
    softcap: float | None = None
    groups: int = 1
    biased: bool = False
    masked: bool = False
    calls: list[_Call] = field(default_factory=list)
    first_keys: list[int] = field(default_factory=list)  # per query row, the first key that it may look at
    end_keys: list[int] = field(default_factory=list)  # and the one after the last
    queries: _Rows = field(default_factory=_Rows)  # (H, q, d)
    keys: _Rows = field(default_factory=_Rows)  # (H_kv, k, d)
    values: torch.Tensor | None = None  # (H_kv, k, d); the encoder's only, the others are in the cache

    def add_calls(self, calls: Sequence[_Call]) -> None:
        """Add what passes noted but for their queries and keys."""
        self.calls += calls
        for call in calls:
            self.biased |= call.bias is not None
            self.masked |= call.mask is not None
            end, rows = call.key_end, call.rows
            self.first_keys += [call.key_start] * rows
            self.end_keys += range(end - rows + 1, end + 1) if call.causal else [end] * rows

    def take_calls(self, count: int) -> list[_Call]:
        """Remove the last ``count`` and return them."""
        calls = self.calls[-count:]
        rows = sum(call.rows for call in calls)
        del self.calls[-count:], self.first_keys[-rows:], self.end_keys[-rows:]
        return calls


@dataclass(slots=True, eq=False)
class PassNotes:
    """The notes of one pass of one query row, taken out of a run's.

    Attributes
    ----------
    rows : torch.Tensor
        (n,) layer after layer, the query and, of self-attention, the key that the pass added.
    calls : tuple
        What else each layer noted, in the same order.
    """

    rows: torch.Tensor
    calls: tuple[_Call, ...]


class Notes(Protocol):
    """What takes down the attention of a forward pass."""

    def note(
        self,
        slot: Slot,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float | None,
        bias: torch.Tensor | None,
        softcap: float | None,
        is_causal: bool,
    ) -> None:
        """One attention module's call."""


class AttentionNotes:
    """What one run's attention maps are made of. Lives on the model's device.

    Memory, beside the model's own cache: per layer and token, one query row and one copy of its key
    (``(H + H_kv) * head_dim`` numbers for self-attention, ``H * head_dim`` for cross-attention,
    whose keys are shared with the cache), plus the mask and position-bias rows where a family has
    them. Linear in length but for T5's position bias, whose rows grow with it and which its layers share.
    """

    def __init__(self) -> None:
        self._layers: dict[tuple[AttentionKind, int], _Layer] = {}
        self._whole: dict[tuple[int, ...], torch.Tensor] | None = None

    def note(
        self,
        slot: Slot,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float | None,
        bias: torch.Tensor | None,
        softcap: float | None,
        is_causal: bool,
    ) -> None:
        """Keep what a map is made of: references, and a copy of the keys that a step added."""
        layer = self._layers.setdefault((slot.kind, slot.layer), _Layer())
        rows, seen = query.shape[2], key.shape[2]
        if slot.kind == "cross":
            if not layer.keys.count:
                layer.keys.add(key[0])
        elif rows == seen:
            layer.keys.add(_own(key[0]))
        else:
            # A view would keep the whole concatenated cache of this step alive.
            layer.keys.add(key[0, :, seen - rows :].clone())
        if slot.kind == "encoder":
            layer.values = _own(value[0])
        total = layer.keys.count
        layer.scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        layer.softcap = softcap
        layer.groups = query.shape[1] // key.shape[1]
        layer.queries.add(_own(query[0]))
        call = _Call(
            rows=rows,
            key_start=total - seen,
            key_end=total,
            causal=is_causal and mask is None and rows > 1,
            mask=None if mask is None else mask[0, ..., -rows:, :seen],
            bias=None if bias is None else bias[0, ..., -rows:, :seen],
        )
        layer.add_calls([call])

    # -- passes of the decoder ------------------------------------------------------------------

    def _stepped(self) -> list[tuple[AttentionKind, _Layer]]:
        """The layers that note every pass of the decoder, in a fixed order."""
        return [(kind, layer) for (kind, _), layer in sorted(self._layers.items()) if kind != "encoder"]

    @property
    def passes(self) -> int:
        """Passes of the decoder that every layer has noted; fewer than some have where one broke off."""
        return min((len(layer.calls) for _, layer in self._stepped()), default=0)

    def shorten(self, to: int) -> None:
        """Forget what came after the first ``to`` passes, as when the next one broke off half-way."""
        if to == 0:
            self._layers = {place: layer for place, layer in self._layers.items() if place[0] == "encoder"}
        for kind, layer in self._stepped():
            while len(layer.calls) > to:
                (call,) = layer.take_calls(1)
                layer.queries.take(call.rows)
                if kind == "decoder":
                    layer.keys.take(call.rows)

    def take_back(self, count: int) -> list[PassNotes]:
        """Take the last ``count`` passes out, oldest first; each read one token.

        What is left shows the run as it was before them; `put_back` undoes it.
        """
        flat: list[torch.Tensor] = []
        calls: list[list[_Call]] = []
        for kind, layer in self._stepped():
            for rows in (layer.queries, layer.keys) if kind == "decoder" else (layer.queries,):
                flat.append(rows.take(count).transpose(0, 1).flatten(1))  # (count, H * d)
            calls.append(layer.take_calls(count))
        # The layers of a spread model are on several devices; `put_back` returns the rows to theirs.
        rows_by_pass = torch.cat([rows.to(flat[0].device) for rows in flat], dim=1)
        return [
            PassNotes(rows_by_pass[i].clone(), tuple(of_layer[i] for of_layer in calls)) for i in range(count)
        ]

    def put_back(self, passes: list[PassNotes]) -> None:
        """Add passes at the end, as they were noted."""
        flat = torch.stack([noted.rows for noted in passes])  # (count, n)
        start = 0
        for index, (kind, layer) in enumerate(self._stepped()):
            for rows in (layer.queries, layer.keys) if kind == "decoder" else (layer.queries,):
                like = rows.parts[0]  # (H, q, d)
                end = start + like.shape[0] * like.shape[2]
                part = flat[:, start:end].reshape(-1, like.shape[0], like.shape[2]).transpose(0, 1)
                rows.add(part.to(like))
                start = end
            layer.add_calls([noted.calls[index] for noted in passes])

    def weights(self, kind: AttentionKind, layer: int, heads: slice, rows: int | None = None) -> torch.Tensor:
        """Attention weights (heads, query, key) in float32, on the model's device.

        ``softmax(query @ key.T * scaling + position bias, soft-capped, masked)``, as the checkpoint's
        eager attention computes it (Vaswani et al., 2017; T5: Raffel et al., 2020, unscaled with
        bias; soft cap: Gemma 2). O(heads * query * key * head_dim) time, three times the result in
        memory.

        Parameters
        ----------
        kind, layer : AttentionKind, int
            Which attention; the layer counts from 0.
        heads : slice
            Which query heads.
        rows : int or None
            Only the first so many query rows.
        """
        return torch.softmax(self._scores(self._layers[kind, layer], heads, rows), dim=-1)

    def _scores(self, noted: _Layer, heads: slice, rows: int | None) -> torch.Tensor:
        """Scores (heads, query, key) before the softmax, -inf where a query may not look."""
        query = noted.queries.joined()[heads, :rows].float()  # (h, q, d)
        key = noted.keys.joined()[None]  # (1, H_kv, k, d)
        key = repeat_kv(key, noted.groups)[0, heads].float()  # (h, k, d)
        nothing = query.new_empty(1, 1, 1)
        # One pass where a product that is scaled afterwards takes two, and half the memory.
        scores = torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=noted.scaling)  # (h, q, k)
        if noted.biased:
            self._add(scores, noted.calls, heads, "bias")
        if noted.softcap is not None:
            scores = torch.tanh(scores / noted.softcap) * noted.softcap
        if noted.masked:
            self._add(scores, noted.calls, heads, "mask")
        visible = self._visible(noted, scores)
        if not bool(visible.all()):
            # Added once for all heads: filling each head's scores takes several times as long.
            scores += torch.zeros_like(scores[0]).masked_fill_(~visible, float("-inf"))
        return scores

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several layers are read: what they share (T5's position bias, a window's mask) is joined once."""
        self._whole = {}
        try:
            yield
        finally:
            self._whole = None

    def _add(self, scores: torch.Tensor, calls: list[_Call], heads: slice, what: TermName) -> None:
        """Add the passes' biases or masks to the rows that they belong to, in place."""
        if self._whole is None:
            _add_terms(scores, calls, heads, what)
            return
        terms = [getattr(call, what) for call in calls]
        # Layers share a term when they were given the same memory in every pass.
        key = (*scores.shape[1:], *(0 if term is None else term.data_ptr() for term in terms))
        if key not in self._whole:
            count = max(1 if term is None else int(term.shape[0]) for term in terms)
            whole = torch.zeros(count, *scores.shape[1:], device=scores.device)
            _add_terms(whole, calls, slice(None), what)
            self._whole[key] = whole
        whole = self._whole[key]
        scores += whole if whole.shape[0] == 1 else whole[heads]

    @staticmethod
    def _visible(noted: _Layer, scores: torch.Tensor) -> torch.Tensor:
        """(query, key) bool: keys that existed when the row was computed and that causality allows."""
        rows = scores.shape[1]
        columns = torch.arange(scores.shape[2], device=scores.device)
        start = torch.tensor(noted.first_keys[:rows], device=scores.device)[:, None]
        end = torch.tensor(noted.end_keys[:rows], device=scores.device)[:, None]
        return (columns >= start) & (columns < end)

    def cell(
        self, head: HeadRef, row: int, column: int, key_count: int, cached_values: torch.Tensor | None
    ) -> CellReading:
        """How the weight at (row, column) of one head came about; O(row * keys * head_dim).

        Parameters
        ----------
        head, row, column : HeadRef, int, int
            Which weight.
        key_count : int
            Columns of the map on show.
        cached_values : torch.Tensor or None
            (H_kv, keys, d) from the model's cache; None takes the encoder's own.
        """
        noted = self._layers[head.kind, head.layer]
        group = head.head // noted.groups
        query = noted.queries.joined()[head.head, row].float()  # (d,)
        keys = noted.keys.joined()[group, :key_count].float()  # (k, d)
        values = noted.values if cached_values is None else cached_values
        assert values is not None
        if values.shape[0] != noted.keys.joined().shape[0]:
            raise UnknownWeightError(
                "This architecture's cache holds something else than a value vector per head: "
                "its weights can be read, but not what they mix."
            )
        values = values[group, :key_count].float()
        scores = self._scores(noted, slice(head.head, head.head + 1), row + 1)[0, row, :key_count]
        weights = torch.softmax(scores, dim=-1)
        bias = torch.zeros(1, row + 1, noted.keys.count, device=keys.device)
        _add_terms(bias, noted.calls, slice(head.head, head.head + 1), "bias")
        return CellReading(
            head=head,
            row=row,
            column=column,
            query=query.cpu().numpy(),
            key=keys[column].cpu().numpy(),
            raw_score=float(query @ keys[column]),
            scaling=noted.scaling,
            bias=float(bias[0, row, column]),
            softcap=noted.softcap,
            masked=bool(scores[column] <= torch.finfo(torch.float32).min / 2),
            row_scores=scores.cpu().numpy(),
            row_weights=weights.cpu().numpy(),
            values=values.cpu().numpy(),
            output=(weights @ values).cpu().numpy(),
        )

    def resident_bytes(self) -> int:
        """Bytes that the notes keep alive beyond the model's own cache (shared references counted too)."""
        tensors: list[torch.Tensor] = []
        for layer in self._layers.values():
            tensors += layer.queries.parts + layer.keys.parts
            tensors += [t for call in layer.calls for t in (call.mask, call.bias) if t is not None]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())


def _add_terms(scores: torch.Tensor, calls: list[_Call], heads: slice, what: TermName) -> None:
    """Add each pass's bias or mask to its block of rows of (heads, query, key), in place."""
    first = 0
    for call in calls:
        last = min(first + call.rows, scores.shape[1])
        term = getattr(call, what)
        if term is not None and last > first:
            term = term if term.shape[0] == 1 else term[heads]
            block = scores[:, first:last, call.key_start : call.key_end]
            if term.dtype == torch.bool:
                block.masked_fill_(~term[:, : last - first], float("-inf"))
            else:
                block += term[:, : last - first]
        first = last


class BatchNotes:
    """The notes of one pass of several sequences at once, one query row each, to be split by sequence."""

    def __init__(self) -> None:
        self._noted: dict[tuple[AttentionKind, int], tuple[list[torch.Tensor], list[_Call]]] = {}

    def note(
        self,
        slot: Slot,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float | None,
        bias: torch.Tensor | None,
        softcap: float | None,
        is_causal: bool,
    ) -> None:
        """Keep the last query row of every sequence and, of self-attention, the key that it added."""
        batch, seen = query.shape[0], key.shape[2]
        rows = [query[:, :, -1], key[:, :, -1]] if slot.kind == "decoder" else [query[:, :, -1]]
        calls = [
            _Call(1, 0, seen, causal=False, mask=_row_of(mask, index, seen), bias=_row_of(bias, index, seen))
            for index in range(batch)
        ]
        self._noted[slot.kind, slot.layer] = ([row.flatten(1) for row in rows], calls)

    def split(self) -> list[PassNotes]:
        """Each sequence's own, as `AttentionNotes.put_back` takes them."""
        noted = [self._noted[place] for place in sorted(self._noted)]
        rows = [row for of_layer, _ in noted for row in of_layer]
        flat = torch.cat([row.to(rows[0].device) for row in rows], dim=1)  # (B, n)
        return [
            PassNotes(flat[index].clone(), tuple(calls[index] for _, calls in noted))
            for index in range(flat.shape[0])
        ]


def _row_of(term: torch.Tensor | None, index: int, seen: int) -> torch.Tensor | None:
    """(1 or H, 1, seen) of one sequence's mask or bias, which may be one for all of the batch."""
    return None if term is None else term[index if term.shape[0] > 1 else 0, ..., -1:, :seen]


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, copied where it is part of a larger one (e.g. of query, key and value in one)."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def pool(weights: torch.Tensor, rows: int, columns: int, how: Pooling = "max") -> torch.Tensor:
    """The largest weights of (heads, query, key) in ``rows`` x ``columns`` windows, or their means.

    The windows are those of ``torch.nn.functional.adaptive_max_pool2d``, which on the CPU takes several
    times as long. O(heads * query * key).
    """
    if how == "mean":
        return torch.nn.functional.adaptive_avg_pool2d(weights, (rows, columns))
    for axis, count in ((1, rows), (2, columns)):
        size = weights.shape[axis]
        cells = torch.arange(count, device=weights.device)
        first, last = cells * size // count, -(-(cells + 1) * size // count) - 1
        pooled = weights.index_select(axis, first)
        for offset in range(1, int((last - first).max()) + 1):
            further = weights.index_select(axis, torch.minimum(first + offset, last))
            pooled = torch.maximum(pooled, further)
        weights = pooled
    return weights
