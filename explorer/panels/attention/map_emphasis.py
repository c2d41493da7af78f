"""Which rows, columns and cells of a drawn map stand out, from what a person points at."""

from __future__ import annotations

from explorer.app.state import AppState, Emphasis
from explorer.core.records import RunSnapshot
from explorer.core.selection import Selection, TokenRef
from explorer.panels.attention.map_builder import DrawnMap, rows_are_written
from explorer.panels.attention.map_content import MapEmphasis


def emphasis_of(state: AppState, drawn: DrawnMap) -> MapEmphasis:
    """What stands out of ``drawn``; O(query + key)."""
    run = state.run
    if state.stale or run is None:
        # The selection points into the new text, the map belongs to the old one.
        return MapEmphasis()
    pointed = (*state.selection.refs, *(() if state.hover is None else (state.hover,)))
    ids = {token_id for ref in pointed if (token_id := state.token_id(ref)) is not None}
    named: list[dict[int, Emphasis]] = []
    for tokens, index_of in (
        (drawn.content.rows, drawn.row_of),
        (drawn.content.columns, drawn.column_of),
    ):
        same = {i: Emphasis.SAME for i, token in enumerate(tokens) if token.token_id in ids} if ids else {}
        if state.hover in index_of:
            same[index_of[state.hover]] = Emphasis.HOVERED
        for ref in state.selection.refs:
            if ref in index_of:
                same[index_of[ref]] = Emphasis.SELECTED
        named.append(same)
    cell = selected_cell(state.selection, drawn)
    cells = frozenset(() if cell is None else (cell,))
    return MapEmphasis(named[0], named[1], cells, viewed_row(run, drawn, state.viewed_step))


def selected_cell(selection: Selection, drawn: DrawnMap) -> tuple[int, int] | None:
    """The cell of the selected pair: token as query and partner as key, or else the other way round."""
    token, partner = selection.token, selection.partner
    for query, key in ((token, partner), (partner, token)):
        if query in drawn.row_of and key in drawn.column_of:
            return drawn.row_of[query], drawn.column_of[key]
    return None


def viewed_row(run: RunSnapshot, drawn: DrawnMap, step: int | None) -> int | None:
    """The row whose query wrote the viewed step's token."""
    if step is None or drawn.head.kind == "encoder":
        return None
    if rows_are_written(drawn.head, run):
        return drawn.row_of.get(TokenRef("generated", step))
    # Rows are tokens read: the one before the written token was the query that wrote it.
    read = TokenRef("generated", step - 1) if step else TokenRef("source", len(run.source) - 1)
    return drawn.row_of.get(read)
