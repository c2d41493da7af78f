"""The side of the attention panel where heads are found: overview, order, filter, marks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.head_measures import Measure, PerHead, measure_named
from explorer.core.selection import HeadRef
from explorer.panels.attention.head_filter_bar import HeadFilterBar
from explorer.panels.attention.head_overview import HeadOverview
from explorer.panels.attention.map_builder import order_heads
from explorer.theme import Theme

_POOLED = {"max": "largest", "mean": "mean"}


class HeadChooser(QWidget):
    """Shows `AppState.overview`; writes the opened head and the marked ones.

    A click opens a head; a Ctrl-click marks it, together with the opened one. Order and filter hold
    while the run goes on and when another kind of attention is opened, as far as it has the measure.

    Signals
    -------
    changed
        Order or filter is another one, so that the room wanted, and what is to be said, may be too.
    """

    changed = Signal()

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        # Its place is in the panel, which has the whole width for it.
        self.filter_bar = HeadFilterBar(theme, parent)
        self.filter_bar.setVisible(False)
        self.overview = HeadOverview(theme, self)
        self.order_name = ""
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self.overview)
        self.overview.set_details(self._details)
        self.overview.opened.connect(self._on_opened)
        self.overview.picked.connect(self._on_picked)
        self.overview.all_picked.connect(self._on_all_picked)
        self.filter_bar.filter_changed.connect(self._update_found)
        self.filter_bar.mark_requested.connect(self._on_all_picked)
        state.model_changed.connect(self._update_overview)
        state.head_changed.connect(self._update_head)
        state.summary_changed.connect(self._update_head)
        state.overview_changed.connect(self._update_overview)
        state.run_changed.connect(self._update_run)
        state.marked.places_changed.connect(self._update_head)
        self._update_head()

    @property
    def filtering(self) -> bool:
        """Whether heads that do not pass the filter are pale."""
        return not self.filter_bar.isHidden()

    def set_filtering(self, on: bool) -> None:
        """Show the filter and apply it, or do neither."""
        if on != self.filtering:
            self.filter_bar.setVisible(on)
            self._update_found()

    def set_order(self, name: str) -> None:
        """Order heads by the measure of that name; empty for layer and head."""
        self.order_name = name
        self._update_found()

    @property
    def unordered(self) -> bool:
        """Whether the order that was chosen cannot be had, since this kind has not got the measure."""
        return bool(self.order_name) and measure_named(self.measures(), self.order_name) is None

    @property
    def pooled(self) -> str:
        """How thumbnails of a long text were reduced, in a few words; empty where they were not."""
        head, overview = self.state.head, self.state.overview
        if head is None or overview is None or overview.kind != head.kind or overview.pooling == "none":
            return ""
        rows, columns = overview.weights.shape[2:]
        shared = f"{math.ceil(overview.queries / rows)} × {math.ceil(overview.keys / columns)}"
        return f"thumbnails: {_POOLED[overview.pooling]} of up to {shared} weights"

    def measures(self) -> Mapping[Measure, PerHead]:
        """What each head does on this text, measured on its full map by the worker."""
        head, overview = self.state.head, self.state.overview
        if self.state.run is None or head is None or overview is None or overview.kind != head.kind:
            return {}
        return overview.measures

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.filter_bar.update_theme()
        self.overview.update_theme()

    # -- the state on show ----------------------------------------------------------------------

    def _update_head(self) -> None:
        head = self.state.head
        one = head is not None and self.state.summary == "head"
        self.overview.set_opened((head.layer, head.head) if head is not None and one else None)
        marks = self.state.marked
        self.overview.set_marked(marks.side_by_side if one else marks.places)
        self._update_overview()

    def _update_run(self) -> None:
        if self.state.run is None:
            self._update_found()

    def _update_overview(self) -> None:
        """Show the thumbnails that arrived; O(what the wall of them takes), see `thumbnail_wall`."""
        model, head, overview = self.state.model, self.state.head, self.state.overview
        if model is None or head is None or head.kind not in model.layers:
            self.overview.set_heads(0, 0, None)
            return
        layers, heads = model.layers[head.kind], model.heads[head.kind]
        if overview is None or overview.kind != head.kind:
            self.overview.set_heads(layers, heads, None)
        else:
            note = "A thumbnail shows the whole map: every cell is one weight."
            if overview.pooling != "none":
                small = " × ".join(str(side) for side in overview.weights.shape[2:])
                note = (
                    f"A thumbnail shows the whole map of {overview.queries} × {overview.keys} weights"
                    f" as {small}: each cell is the {_POOLED[overview.pooling]} of those that it stands for."
                )
            self.overview.set_heads(layers, heads, overview.weights, note, self.state.pooling)
        self._update_found()

    def _update_found(self) -> None:
        """Order and filter by what was measured, where it can be had."""
        measures, passing = self.measures(), None
        if self.filtering:
            self.filter_bar.set_measures(measures)
            chosen = self.filter_bar.filter
            passing = None if chosen is None else chosen.passing(measures)
        values = measure_named(measures, self.order_name)
        order = None if values is None else order_heads(self.order_name, values, passing)
        self.overview.set_order(order)
        self.overview.set_passing(passing)
        self.changed.emit()

    def _details(self, layer: int, head: int) -> str:
        """The lines of a thumbnail's tooltip."""
        lines = [
            f"{measure.name}: {values[layer, head]:.4f}{' ' + measure.unit if measure.unit else ''}"
            for measure, values in self.measures().items()
        ]
        if not self.overview.passes((layer, head)):
            lines.append("does not pass the filter")
        return "\n".join(lines)

    # -- what the person does -------------------------------------------------------------------

    def _on_opened(self, layer: int, head: int) -> None:
        if self.state.head is not None:
            self.state.mark_heads(())
            self.state.set_summary("head")
            self.state.set_head(HeadRef(self.state.head.kind, layer, head))

    def _on_picked(self, layer: int, head: int) -> None:
        """Mark a head, or take its mark away; the first one is marked together with the opened one."""
        if self.state.head is None or self.state.overview is None:
            return
        places = list(self.state.marked.places or (self._opened_place(),))
        if (layer, head) in places:
            places.remove((layer, head))
        else:
            places.append((layer, head))
        if self.state.summary not in ("head", "chosen"):
            self.state.set_summary("head")
        self.state.mark_heads(tuple(places))

    def _on_all_picked(self) -> None:
        """Mark all heads that pass, and draw their mean: there are too many to stand side by side."""
        layers, heads = self.overview.counts
        places = [(layer, head) for layer in range(layers) for head in range(heads)]
        places = [place for place in places if self.overview.passes(place)]
        if self.state.overview is not None and len(places) > 1:
            self.state.mark_heads(tuple(places))
            self.state.set_summary("chosen")

    def _opened_place(self) -> tuple[int, int]:
        assert self.state.head is not None
        return self.state.head.layer, self.state.head.head
