"""From a run and an attention map to what is drawn, and to what the heads of an overview do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from explorer.core.attention_view import merge_words, visible_map, word_starts
from explorer.core.head_measures import PerHead, ranked_heads
from explorer.core.records import AttentionMap, CellReading, RunSnapshot
from explorer.core.selection import HeadRef, TokenRef
from explorer.panels.attention.attention_controls import DisplayOptions
from explorer.panels.attention.compared_maps import ComparedMap
from explorer.panels.attention.head_overview import HeadOrder
from explorer.panels.attention.map_content import AxisToken, MapContent, label_of
from explorer.panels.attention.weight_reading import WeightContent

ROLLOUT_SOURCE = "each layer: 0.5 × mean of heads + 0.5 × itself (Abnar & Zuidema, 2020)"


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """A map as it is drawn, and where each token of the run stands in it.

    Attributes
    ----------
    attention : AttentionMap
        What it was made from.
    content : MapContent
        Rows, columns and weights; may have no rows or no columns when all of them are hidden.
    row_of, column_of : dict
        Index of each drawn token.
    mean_hidden_mass : float
        Share of a row's weight in columns that are left out, as a mean over the rows.
    """

    attention: AttentionMap
    content: MapContent
    row_of: dict[TokenRef, int]
    column_of: dict[TokenRef, int]
    mean_hidden_mass: float

    @property
    def head(self) -> HeadRef:
        """Whose weights they are; of a summary, its kind and layer."""
        return self.attention.head

    @property
    def file_name(self) -> str:
        """What a file of it is called, without an ending."""
        head, summary = self.head, self.attention.summary
        if summary == "chosen":
            return f"attention-{head.kind}-mean-of-{self.attention.heads}-heads"
        what = f"head{head.head}" if summary == "head" else summary
        return f"attention-{head.kind}-layer{head.layer}-{what}"


def build_map(run: RunSnapshot, attention: AttentionMap, options: DisplayOptions) -> DrawnMap:
    """Merge and leave out as ``options`` say, and name the rest; O(query x key) only where they do."""
    rows = _axis_tokens(run, attention.queries)
    columns = rows if attention.keys is attention.queries else _axis_tokens(run, attention.keys)
    weights = attention.weights
    if options.words:
        starts = _word_starts(run, attention.queries), _word_starts(run, attention.keys)
        weights = merge_words(weights, *starts)
        rows, columns = _merged(run, rows, starts[0]), _merged(run, columns, starts[1])
    visible = visible_map(
        weights, _hidden(rows, options), _hidden(columns, options), renormalise=options.renormalise
    )
    written = rows_are_written(attention.head, run)
    content = MapContent(
        weights=visible.weights,
        rows=_kept(rows, visible.rows),
        columns=_kept(columns, visible.columns),
        row_word="written" if written else "looks",
        column_word="read" if written else "looked at",
        row_sums=visible.row_sums,
        hidden_mass=visible.hidden_mass,
    )
    return DrawnMap(
        attention,
        content,
        _index_of(content.rows),
        _index_of(content.columns),
        visible.mean_hidden_mass,
    )


def build_weight(run: RunSnapshot, cell: CellReading) -> WeightContent | None:
    """Name the tokens of a weight that was looked into; None where the run no longer reaches so far."""
    queries, keys = run.attention_axes(cell.head.kind)
    count = len(cell.row_weights)
    if cell.row >= len(queries) or count > len(keys):
        return None
    return WeightContent(cell, _axis_tokens(run, (queries[cell.row],))[0], _axis_tokens(run, keys[:count]))


def compare_heads(
    run: RunSnapshot, maps: Sequence[AttentionMap], options: DisplayOptions
) -> tuple[ComparedMap, ...]:
    """Whole maps of several heads, merged and left out as ``options`` say."""
    return tuple(
        ComparedMap((whole.head.layer, whole.head.head), build_map(run, whole, options).content)
        for whole in maps
    )


def _kept(tokens: tuple[AxisToken, ...], indices: npt.NDArray[np.intp]) -> tuple[AxisToken, ...]:
    """Those of an axis that are drawn; the very tuple where all are."""
    return tokens if len(indices) == len(tokens) else tuple(tokens[index] for index in indices)


def rows_are_written(head: HeadRef, run: RunSnapshot) -> bool:
    """Whether a row stands for the token that its query writes, see `RunSnapshot.attention_axes`."""
    return head.kind != "encoder" and run.family == "encoder-decoder"


def order_heads(name: str, values: PerHead, passing: npt.NDArray[np.bool_] | None = None) -> HeadOrder:
    """All heads, largest value first, each with its place and value; those that pass before the others."""
    places = ranked_heads(values)
    if passing is not None:
        places.sort(key=lambda place: not passing[place])
    captions = {(layer, head): f"{layer}·{head} {values[layer, head]:.2f}" for layer, head in places}
    return HeadOrder(f"layer·head by {name}, largest first", tuple(places), captions)


def _index_of(tokens: tuple[AxisToken, ...]) -> dict[TokenRef, int]:
    """Where each token of the run stands on an axis."""
    places = {token.ref: index for index, token in enumerate(tokens)}
    for index, token in enumerate(tokens):
        if token.count > 1:
            places.update(dict.fromkeys(token.refs, index))
    return places


def _axis_tokens(run: RunSnapshot, refs: Sequence[TokenRef]) -> tuple[AxisToken, ...]:
    """Each reference with its piece; a map may be a step older or newer than the run for a moment."""
    tokens = [(ref, run.token(ref)) for ref in refs]
    return tuple(
        AxisToken(ref, -1, "", "…")
        if token is None
        else AxisToken(ref, token.id, token.piece, label_of(token.piece), token.special)
        for ref, token in tokens
    )


def _word_starts(run: RunSnapshot, refs: Sequence[TokenRef]) -> npt.NDArray[np.intp]:
    """First token of every word of an axis; a word ends where another side begins."""
    starts = word_starts([run.token(ref) for ref in refs])
    sides = [i for i in range(1, len(refs)) if refs[i].side != refs[i - 1].side]
    return np.union1d(starts, np.array(sides, dtype=np.intp))


def _merged(
    run: RunSnapshot, tokens: Sequence[AxisToken], starts: npt.NDArray[np.intp]
) -> tuple[AxisToken, ...]:
    """One axis token for each word, named by its text, without the tokenizer's marks."""
    words = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(tokens)], strict=True):
        first = tokens[start]
        if not first.special and first.token_id >= 0:
            piece = "".join(token.piece for token in tokens[start:end])
            known = [token for ref in tokens[start:end] if (token := run.token(ref.ref)) is not None]
            text = "".join(token.text for token in known).strip()
            first = replace(first, piece=piece, label=label_of(text or piece), count=end - start)
        words.append(first)
    return tuple(words)


def _hidden(tokens: Sequence[AxisToken], options: DisplayOptions) -> npt.NDArray[np.bool_]:
    """Which tokens of an axis the options leave out."""
    hidden = np.zeros(len(tokens), dtype=bool)
    if options.hide_special:
        hidden |= np.array([token.special for token in tokens], dtype=bool)
    if options.hide_first:
        hidden[:1] = True
    return hidden
