"""What one place of an attention map says, in words and numbers."""

from __future__ import annotations

import numpy as np

from explorer.panels.attention.map_content import AxisToken, MapContent, MapHit
from explorer.panels.attention.map_footer import Reading


def reading_of(content: MapContent, hit: MapHit) -> Reading:
    """The line under the map: a cell's weight, a row's strongest key, or what a column receives."""
    if hit.row is None:
        assert hit.column is not None
        key = content.columns[hit.column]
        received = content.weights[:, hit.column].sum(dtype=np.float64)
        facts, more = f"{received:.4f} (column sum)", f"mean {received / len(content.rows):.4f}"
        return Reading("all rows", key.label, "", key.ref.side, facts, more)
    column = int(content.weights[hit.row].argmax()) if hit.column is None else hit.column
    query, key = content.rows[hit.row], content.columns[column]
    facts = f"{content.weights[hit.row, column]:.4f}"
    if hit.column is None:
        facts += " (its largest)"
    more = f"row sum {content.row_sums[hit.row]:.4f}"
    if content.hidden_mass[hit.row] > 0.0:
        more += f" · hidden {content.hidden_mass[hit.row]:.4f}"
    return Reading(query.label, key.label, query.ref.side, key.ref.side, facts, more)


def description_of(content: MapContent, hit: MapHit) -> str:
    """The tooltip: every digit of the stored numbers."""
    lines = []
    if hit.row is not None:
        lines.append(_named("query", content.rows[hit.row]))
    if hit.column is not None:
        lines.append(_named("key", content.columns[hit.column]))
    if hit.row is not None and hit.column is not None:
        # Nine significant digits tell every float32 from its neighbours.
        lines.append(f"weight {float(content.weights[hit.row, hit.column]):.9g}")
    if hit.row is not None:
        lines.append(f"row sum {content.row_sums[hit.row]:.9g}")
        if content.hidden_mass[hit.row] > 0.0:
            lines.append(f"in hidden columns {content.hidden_mass[hit.row]:.9g}")
    return "\n".join(lines)


def _named(what: str, token: AxisToken) -> str:
    side, index = token.ref.side, token.ref.index
    if token.count > 1:
        return f"{what} {token.label} ({side} {index} to {index + token.count - 1})"
    return f"{what} {token.label} ({side} {index}, id {token.token_id})"
