"""What can be read of a run's attention, whatever family the model is of."""

from __future__ import annotations

import itertools
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from explorer.core.head_measures import Flags, Measure, PerHead, head_measures, is_punctuation
from explorer.core.records import AttentionMap, AttentionOverview, CellReading, RunSnapshot
from explorer.core.selection import AttentionKind, AttentionSummary, HeadRef, Place, Pooling
from explorer.core.tokens import TokenizedText
from explorer.model.attention_notes import OVERVIEW_CELLS, AttentionNotes, pool

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel


class ReadableRun(ABC):
    """A run's attention, read from its notes on demand.

    Attributes
    ----------
    lm : LanguageModel
        Whose attention.
    source : TokenizedText
        What was given to read.
    notes : AttentionNotes
        What the maps are made of.
    """

    lm: LanguageModel
    source: TokenizedText
    notes: AttentionNotes

    @abstractmethod
    def snapshot(self, run_id: int | None = None) -> RunSnapshot:
        """The run as it stands, as a value that may cross threads."""

    def attention(
        self, kind: AttentionKind, layer: int | None = None, head: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Attention weights, float32; each row sums to 1.

        Parameters
        ----------
        kind : AttentionKind
            ``encoder``, ``decoder`` or ``cross``.
        layer, head : int or None
            From 0. With both: (query, key). Without a head: (head, query, key). With neither:
            (layer, head, query, key).

        Raises
        ------
        ValueError
            The model has no such attention, layer or head; the message says what it has.
        """
        info = self.lm.info
        self._check_place(kind, 0 if layer is None else layer)
        if layer is None:
            if head is not None:
                raise ValueError("Give the layer too when you give a head.")
            return np.stack([self.attention(kind, index) for index in range(info.layers[kind])])
        self._check_place(kind, layer, head)
        heads = slice(None) if head is None else slice(head, head + 1)
        with torch.inference_mode():
            weights = self._weights(kind, layer, heads)
        array: npt.NDArray[np.float32] = weights.cpu().numpy()
        return array if head is None else array[0]

    def mean_attention(
        self, kind: AttentionKind, layer: int | None = None, heads: Sequence[Place] | None = None
    ) -> npt.NDArray[np.float32]:
        """Mean over heads, (query, key) float32; rows sum to 1. Added up on the device, layer by layer.

        Parameters
        ----------
        kind : AttentionKind
            ``encoder``, ``decoder`` or ``cross``.
        layer : int or None
            Mean over all heads of this layer.
        heads : sequence of (int, int) or None
            Mean over these (layer, head), of any layers; each counts once. With neither ``layer`` nor
            ``heads``: over all heads of all layers.

        Raises
        ------
        ValueError
            The model has no such attention, layer or head (the message says what it has), no head is
            given, or both a layer and heads are.
        """
        if heads is not None:
            if layer is not None:
                raise ValueError("Give either a layer or heads: a mean over heads names their layers itself.")
            places = sorted(set(heads))
            if not places:
                raise ValueError("Give at least one head, as (layer, head), to take the mean over.")
            self._check_place(kind, 0)
            for place in places:
                self._check_place(kind, *place)
        else:
            self._check_place(kind, 0 if layer is None else layer)
            layers = range(self.lm.info.layers[kind]) if layer is None else (layer,)
            places = [(index, head) for index in layers for head in range(self.lm.info.heads[kind])]
        with torch.inference_mode(), self.notes.reading():
            total: torch.Tensor | None = None
            for index, group in itertools.groupby(places, key=operator.itemgetter(0)):
                chosen = [head for _, head in group]
                span = slice(chosen[0], chosen[-1] + 1)
                weights = self._weights(kind, index, span)
                if len(chosen) < len(weights):
                    picked = torch.tensor(chosen, device=weights.device) - chosen[0]
                    weights = weights.index_select(0, picked)
                summed = weights.sum(0)
                total = summed if total is None else total + summed.to(total.device)
            assert total is not None
            mean: npt.NDArray[np.float32] = (total / len(places)).cpu().numpy()
        return mean

    def rollout(self, kind: AttentionKind, layer: int | None = None) -> npt.NDArray[np.float32]:
        """Attention rollout over layers 0 to ``layer`` (the last one when not given), (query, key) float32.

        The product over layers, later ones on the left, of ``0.5 A + 0.5 I``: A is the mean over the
        layer's heads, I stands for the residual connection (Abnar & Zuidema, 2020, arXiv 2005.00928).
        Rows sum to 1. An encoder-decoder's decoder is followed through its self-attention alone.
        O(layers * (heads * query * key * head_dim + query ** 3)), on the device.

        Raises
        ------
        ValueError
            The model has no such attention or layer, or ``kind`` is cross-attention, whose queries and
            keys are tokens of two different texts.
        """
        last = self.lm.info.layers.get(kind, 1) - 1 if layer is None else layer
        self._check_place(kind, last)
        if kind == "cross":
            raise ValueError("Rollout follows tokens through layers; cross-attention has two texts.")
        with torch.inference_mode(), self.notes.reading():
            total: torch.Tensor | None = None
            for index in range(last + 1):
                mean = self._weights(kind, index, slice(None)).mean(0)  # (n, n)
                mixed = 0.5 * mean + 0.5 * torch.eye(len(mean), device=mean.device)
                total = mixed if total is None else mixed @ total.to(mixed.device)
            assert total is not None
            array: npt.NDArray[np.float32] = total.cpu().numpy()
        return array

    def attention_map(
        self, head: HeadRef, summary: AttentionSummary = "head", places: Sequence[Place] = ()
    ) -> AttentionMap:
        """One head's map, or a summary of many, with what its rows and columns stand for.

        ``places`` are the heads of the summary ``chosen``.
        """
        axes = self.snapshot().attention_axes(head.kind)
        if summary == "head":
            return AttentionMap(head, self.attention(head.kind, head.layer, head.head), *axes)
        if summary == "chosen":
            weights = self.mean_attention(head.kind, heads=places)
            return AttentionMap(head, weights, *axes, summary, len(places), tuple(sorted(places)))
        read = self.mean_attention if summary == "mean" else self.rollout
        weights = read(head.kind, head.layer)
        return AttentionMap(head, weights, *axes, summary, self.lm.info.heads[head.kind])

    def overview(self, kind: AttentionKind, pooling: Pooling = "max") -> AttentionOverview:
        """Every head of ``kind``: pooled on the device to at most 64 x 64 cells, and measured.

        O(layers * heads * query * key * head_dim); one layer's maps at a time are held in full.

        Parameters
        ----------
        kind : AttentionKind
            ``encoder``, ``decoder`` or ``cross``.
        pooling : str
            What stands for the weights that share a cell: their ``max`` or their ``mean``.
        """
        info = self.lm.info
        thumbnails: list[torch.Tensor] = []
        measured: list[dict[Measure, PerHead]] = []
        pooled = False
        queries = keys = 0
        special, punctuation = self._key_flags(kind)
        with torch.inference_mode(), self.notes.reading():
            for layer in range(info.layers[kind]):
                weights = self._weights(kind, layer, slice(None))  # (H, q, k)
                _, queries, keys = weights.shape
                measured.append(
                    head_measures(
                        weights.cpu().numpy()[None],
                        special=special,
                        punctuation=punctuation,
                        same_axes=kind != "cross",
                    )
                )
                if queries and max(queries, keys) > OVERVIEW_CELLS:
                    cells = min(queries, OVERVIEW_CELLS), min(keys, OVERVIEW_CELLS)
                    weights = pool(weights, *cells, pooling)
                    pooled = True
                thumbnails.append(weights)
            # The layers of a spread model are on several devices.
            array = torch.stack([part.to(thumbnails[0].device) for part in thumbnails]).cpu().numpy()
        measures = {name: np.concatenate([layer[name] for layer in measured]) for name in measured[0]}
        return AttentionOverview(kind, array, queries, keys, pooling if pooled else "none", measures)

    def inspect(self, head: HeadRef, row: int, column: int) -> CellReading:
        """How one weight came about: query, key, scores, softmax row, and the values that it mixes.

        Raises
        ------
        ValueError
            The model has no such head, or its map no such cell.
        """
        self._check_place(head.kind, head.layer, head.head)
        rows, columns = (len(axis) for axis in self.snapshot().attention_axes(head.kind))
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f"The map has {rows} rows and {columns} columns; there is no cell ({row}, {column})."
            )
        with torch.inference_mode():
            return self.notes.cell(head, row, column, columns, self._cached_values(head))

    @abstractmethod
    def _cached_values(self, head: HeadRef) -> torch.Tensor | None:
        """(H_kv, keys, d) value vectors from the cache; None for an encoder's, which the notes keep."""

    @abstractmethod
    def _row_count(self) -> int:
        """Query rows of the decoder that belong to the steps on show (a pending pass is not shown)."""

    def _key_flags(self, kind: AttentionKind) -> tuple[Flags, Flags]:
        """(key,) bool twice: which key columns are special tokens, and which punctuation alone."""
        snapshot = self.snapshot()
        _, keys = snapshot.attention_axes(kind)
        tokens = [snapshot.token(ref) for ref in keys]
        special = [token is not None and token.special for token in tokens]
        marks = [token is not None and is_punctuation(token.text) for token in tokens]
        return np.array(special, dtype=np.bool_), np.array(marks, dtype=np.bool_)

    def _check_place(self, kind: AttentionKind, layer: int, head: int | None = None) -> None:
        info = self.lm.info
        if kind not in info.attention_kinds:
            has = f"it has {', '.join(info.attention_kinds)}" if info.attention_kinds else "nor any other"
            raise ValueError(f"{self.lm.name} has no {kind} attention that could be drawn; {has}.")
        if not 0 <= layer < info.layers[kind]:
            raise ValueError(f"{kind} attention has layers 0 to {info.layers[kind] - 1}, not {layer}.")
        if head is not None and not 0 <= head < info.heads[kind]:
            raise ValueError(f"{kind} attention has heads 0 to {info.heads[kind] - 1}, not {head}.")

    def _weights(self, kind: AttentionKind, layer: int, heads: slice) -> torch.Tensor:
        if kind == "encoder":
            return self.notes.weights(kind, layer, heads)
        rows = self._row_count()
        if rows == 0:
            count = len(range(self.lm.info.heads[kind])[heads])
            columns = 0 if kind == "decoder" else len(self.source)
            return torch.zeros(count, 0, columns, device=self.lm.device)
        weights = self.notes.weights(kind, layer, heads, rows)
        return weights[:, :, :rows] if kind == "decoder" else weights
