"""Attention of architectures whose fast way cannot be read: the weights that eager attention hands out.

Where queries and keys never pass through transformers' attention interface, or where what is made of
them is not what the architecture computes, the model runs under eager attention, and the weights that
it returns are kept as they are. Which models: `explorer.model.capture`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from explorer.core.records import CellReading, Family
from explorer.core.selection import ATTENTION_KINDS, AttentionKind, HeadRef
from explorer.model.errors import CancelledError

Weights = dict[tuple[AttentionKind, int], torch.Tensor]


@dataclass(slots=True, eq=False)
class EagerPass:
    """The weights of one pass of one query row, (H, 1, keys) by kind and layer."""

    rows: Weights


class _Map:
    """One layer's weights (H, q, k), a few rows more with every pass; joined when somebody reads them."""

    __slots__ = ("_grows", "_parts", "count")

    def __init__(self, *, grows: bool) -> None:
        self._parts: list[torch.Tensor] = []
        self._grows = grows  # a row that is added sees keys that the rows before it did not
        self.count = 0

    def add(self, rows: torch.Tensor) -> None:
        """Add (H, m, k) below."""
        self._parts.append(rows)
        self.count += rows.shape[1]

    def joined(self) -> torch.Tensor:
        """All rows, 0 where a row's query could not see a key yet."""
        if len(self._parts) > 1:
            heads, _, keys = self._parts[-1].shape
            whole = self._parts[-1].new_zeros(heads, self.count, keys)
            first = 0
            for part in self._parts:
                last = first + part.shape[1]
                # A window that dropped its oldest keys ends at the row's own.
                start = max(0, last - part.shape[2]) if self._grows else 0
                whole[:, first:last, start : start + part.shape[2]] = part
                first = last
            self._parts = [whole]
        return self._parts[0]

    def take(self, count: int) -> list[torch.Tensor]:
        """Remove the last ``count`` rows and return them, oldest first, each with the keys that it saw."""
        whole = self.joined()
        self.count -= count
        keys = [self.count + index + 1 if self._grows else whole.shape[2] for index in range(count)]
        taken = [whole[:, self.count + i : self.count + i + 1, :seen].clone() for i, seen in enumerate(keys)]
        left = whole[:, : self.count, : self.count if self._grows else None].clone()
        self._parts = [left] if self.count else []
        return taken

    @property
    def parts(self) -> list[torch.Tensor]:
        """What is held."""
        return self._parts


class EagerNotes:
    """A run's attention weights, as the model returned them. Lives on the model's device.

    Memory: per layer ``H * q * k`` numbers in the model's dtype, so that it grows with the square of
    the length, where `explorer.model.attention_notes.AttentionNotes` grows with the length.
    """

    def __init__(self) -> None:
        self._maps: dict[tuple[AttentionKind, int], _Map] = {}
        self._pass_rows: list[int] = []

    def take(self, weights: Weights) -> None:
        """Keep what one forward pass returned: (1, H, q, k) by kind and layer."""
        for (kind, layer), rows in weights.items():
            if kind == "encoder":
                self._maps[kind, layer] = _Map(grows=False)
            noted = self._maps.setdefault((kind, layer), _Map(grows=kind == "decoder"))
            noted.add(rows[0])
        stepped = [rows.shape[2] for (kind, _), rows in weights.items() if kind != "encoder"]
        if stepped:
            self._pass_rows.append(stepped[0])

    def _stepped(self) -> dict[tuple[AttentionKind, int], _Map]:
        return {place: noted for place, noted in self._maps.items() if place[0] != "encoder"}

    @property
    def passes(self) -> int:
        """Passes of the decoder; one that broke off returned nothing."""
        return len(self._pass_rows)

    def shorten(self, to: int) -> None:
        """Forget what came after the first ``to`` passes."""
        rows = sum(self._pass_rows[to:])
        if rows:
            for noted in self._stepped().values():
                noted.take(rows)
        del self._pass_rows[to:]

    def take_back(self, count: int) -> list[EagerPass]:
        """Take the last ``count`` passes out, oldest first; each read one token."""
        taken = {place: noted.take(count) for place, noted in self._stepped().items()}
        del self._pass_rows[-count:]
        return [EagerPass({place: rows[i] for place, rows in taken.items()}) for i in range(count)]

    def put_back(self, passes: Sequence[EagerPass]) -> None:
        """Add passes at the end, as they were noted."""
        for noted in passes:
            self.take({place: rows[None] for place, rows in noted.rows.items()})

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several layers are read; they share nothing here."""
        yield

    def weights(self, kind: AttentionKind, layer: int, heads: slice, rows: int | None = None) -> torch.Tensor:
        """Attention weights (heads, query, key) in float32, on the model's device.

        Raises
        ------
        ValueError
            The architecture did something else with this text than with a short one.
        """
        noted = self._maps.get((kind, layer))
        if noted is None:
            raise ValueError(
                f"This text got no weights between every two tokens from layer {layer}'s {kind} attention; "
                "a shorter one may."
            )
        return noted.joined()[heads, :rows].float()

    def cell(
        self, head: HeadRef, row: int, column: int, key_count: int, cached_values: torch.Tensor | None
    ) -> CellReading:
        """Raise a ValueError: queries and keys stay inside the model."""
        raise ValueError(
            "This architecture keeps queries and keys to itself: its weights can be read, "
            "but not how one came about."
        )

    def resident_bytes(self) -> int:
        """Bytes that the notes keep alive beyond the model's own cache."""
        tensors = [tensor for noted in self._maps.values() for tensor in noted.parts]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values())


class EagerBatchNotes:
    """The weights of one pass of several sequences at once, one query row each, to be split by sequence."""

    def __init__(self) -> None:
        self._weights: Weights = {}

    def take(self, weights: Weights) -> None:
        """Keep the last query row of every sequence: (B, H, q, k) by kind and layer."""
        self._weights = {place: rows[:, :, -1:] for place, rows in weights.items() if place[0] != "encoder"}

    def split(self) -> list[EagerPass]:
        """Each sequence's own, as `EagerNotes.put_back` takes them."""
        batch = min((rows.shape[0] for rows in self._weights.values()), default=0)
        return [
            EagerPass({place: rows[index].clone() for place, rows in self._weights.items()})
            for index in range(batch)
        ]


class EagerRecorder:
    """Has a model return its weights while a run is noted, and puts them into the run's notes.

    Attributes
    ----------
    kinds : frozenset of AttentionKind
        What is kept; without any, the model is not asked for weights.
    notes : EagerNotes, EagerBatchNotes or None
        Of whichever run is going on; without them, or with anything else that wants to be told of
        attention, the model is not asked for weights.
    cancel : threading.Event
        Looked at before every layer, where a forward pass can be given up.
    """

    def __init__(self, model: torch.nn.Module, family: Family) -> None:
        self.kinds: frozenset[AttentionKind] = frozenset(ATTENTION_KINDS)
        self.notes: Any = None
        self.cancel = threading.Event()
        self._fields: dict[AttentionKind, str] = {
            "encoder-decoder": {"decoder": "decoder_attentions", "cross": "cross_attentions"},
            "decoder-only": {"decoder": "attentions"},
            "encoder-only": {"encoder": "attentions"},
        }[family]  # type: ignore[assignment]
        self._handles = [
            model.register_forward_pre_hook(self._ask, with_kwargs=True),
            model.register_forward_hook(self._take),
        ]
        if family == "encoder-decoder":
            encoder: Any = model.get_encoder()  # type: ignore[operator]
            self._handles += [
                encoder.register_forward_pre_hook(self._ask, with_kwargs=True),
                encoder.register_forward_hook(self._take_encoder),
            ]
        self._handles += [
            module.register_forward_pre_hook(self._look_up)
            for name, module in model.named_modules()
            if name.rpartition(".")[2].isdigit()
        ]

    def new_notes(self) -> EagerNotes:
        """Empty notes for a run."""
        return EagerNotes()

    def new_batch_notes(self) -> EagerBatchNotes:
        """Empty notes for a pass of several sequences."""
        return EagerBatchNotes()

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _ask(self, _: torch.nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
        wanted = self.kinds and isinstance(self.notes, EagerNotes | EagerBatchNotes)
        return (arguments, {**named, "output_attentions": True}) if wanted else None

    def _look_up(self, _: torch.nn.Module, __: Any) -> None:
        if self.cancel.is_set():
            raise CancelledError

    def _take(self, _: torch.nn.Module, __: Any, output: Any) -> None:
        self._keep(output, self._fields)

    def _take_encoder(self, _: torch.nn.Module, __: Any, output: Any) -> None:
        self._keep(output, {"encoder": "attentions"})

    def _keep(self, output: Any, fields: dict[AttentionKind, str]) -> None:
        if isinstance(self.notes, EagerNotes | EagerBatchNotes):
            self.notes.take(
                {
                    (kind, layer): rows
                    for kind, field in fields.items()
                    if kind in self.kinds
                    for layer, rows in enumerate(getattr(output, field, None) or ())
                    if isinstance(rows, torch.Tensor) and rows.dim() == 4
                }
            )
