"""Beam search: how wide, what it found, and each hypothesis to be shown in all panels."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from explorer.app.state import AppState
from explorer.core.beam_lanes import hypothesis_at, lay_out_search, sums
from explorer.core.beams import BeamSearch, Hypothesis
from explorer.core.branch_lanes import LaneLayout
from explorer.panels.generation.lane_view import EMPTY, LaneContent, LaneLabel, LaneView
from explorer.panels.generation.tree_view import signed
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.panels.widgets.piece_text import shorten, visible_text
from explorer.panels.widgets.reading_line import ReadingLine
from explorer.theme import Theme

WIDTHS = tuple(range(2, 9))
HINT = (
    "Beam search keeps the {width} most likely beginnings at every step. Press Search, and its hypotheses "
    "stand here as a tree, with their scores."
)
NO_LOOP = "This model has an encoder only: it fills in masks and writes no text, so there is no beam search."


class BeamView(QWidget):
    """Width, Search and Cancel above the hypotheses, one line below that reads one of them."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.setObjectName("beam_view")
        self._search: BeamSearch | None = None
        self.width_box = QComboBox(self)
        self.width_box.setObjectName("beam_width")
        self.width_box.setAccessibleName("Width of the beam search")
        self.width_box.addItems([f"{width} beams" for width in WIDTHS])
        self.width_box.setCurrentIndex(WIDTHS.index(4))
        self.width_box.setToolTip("How many hypotheses are kept at every step")
        self.search_button = QPushButton("Search", self)
        self.search_button.setObjectName("beam_search_button")
        self.dropped_button = QPushButton("dropped", self)
        self.dropped_button.setObjectName("beam_dropped")
        self.dropped_button.setCheckable(True)
        self.dropped_button.setToolTip("Show too the hypotheses that were dropped on the way")
        self.progress = QLabel(self)
        self.progress.setObjectName("beam_progress")
        self.progress.setProperty("role", "facts")
        self.progress.setTextFormat(Qt.TextFormat.PlainText)
        self.progress.setMinimumWidth(1)
        self.lanes = LaneView(state, theme, "beam_lanes", self)
        self.lanes.setAccessibleName("Hypotheses of the beam search")
        self.hint = EmptyHint(theme, self)
        self.reading = ReadingLine("beam_reading", self)
        self._lay_out_widgets()
        self.search_button.clicked.connect(self._on_search_clicked)
        self.dropped_button.toggled.connect(self._on_dropped_toggled)
        self.width_box.currentIndexChanged.connect(self._update)
        self.lanes.node_chosen.connect(state.generation.node_requested)
        self.lanes.row_hovered.connect(self._read_row)
        for changed in (
            state.run_changed,
            state.model_changed,
            state.viewed_step_changed,
            state.activity_changed,
            state.stale_changed,
            state.generation.beams_changed,
        ):
            changed.connect(self._update)
        self.update_theme()

    def _lay_out_widgets(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.width_box)
        row.addWidget(self.search_button)
        row.addWidget(self.progress, 1)
        row.addWidget(self.dropped_button)
        self._body = QWidget(self)
        inner = QVBoxLayout(self._body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(self.theme.space(0.3))
        inner.addWidget(self.lanes, 1)
        inner.addWidget(self.reading)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._body)
        self._stack.addWidget(self.hint)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(self.theme.space(0.5))
        column.addLayout(row)
        column.addLayout(self._stack, 1)

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        space, small = self.theme.space, self.theme.pixels("small")
        for widget in (self.width_box, self.search_button, self.dropped_button):
            kind = type(widget).__name__
            widget.setStyleSheet(f"{kind} {{ font-size: {small}px; padding: {space(0.3)}px {space(1)}px; }}")
        self.lanes.update_theme()
        self._update()

    @property
    def beams(self) -> int:
        """The width that is chosen."""
        return WIDTHS[self.width_box.currentIndex()]

    def _on_dropped_toggled(self) -> None:
        self._search = None  # laid out anew
        self._update()

    # -- what is shown --------------------------------------------------------------------------

    @property
    def found(self) -> BeamSearch | None:
        """The last search, where it is one of the run on show, whose tree has come to hold its nodes."""
        run, search = self.state.run, self.state.generation.beams
        if run is None or search is None or search.run_id != run.run_id:
            return None
        last = max((hypothesis.node for hypothesis in search.hypotheses), default=0)
        return search if last < len(run.tree.nodes) else None

    @property
    def facts(self) -> str:
        """What was searched, for the panel's title."""
        search = self.found
        if search is None:
            return ""
        finished = sum(h.finished for h in search.hypotheses)
        penalty = f"length penalty {search.length_penalty:g}"
        return f"{search.width} beams · {len(search.steps)} steps · {finished} finished · {penalty}"

    @property
    def searching(self) -> bool:
        """Whether a search is going on."""
        return self.state.activity is not None and self.state.activity.kind == "searching"

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102
        super().showEvent(event)
        self._update()

    def _update(self) -> None:
        if not self.isVisible():
            return
        model, run, search = self.state.model, self.state.run, self.found
        masks = model is not None and model.family == "encoder-only"
        self.width_box.setEnabled(not masks and not self.searching)
        self.search_button.setEnabled(model is not None and not masks)
        self.search_button.setText("Cancel" if self.searching else "Search")
        tip = (
            "Give the search up; what is on show stays" if self.searching else "Search from the first step on"
        )
        self.search_button.setToolTip(tip)
        self.progress.setText(self.state.activity.text if self.searching and self.state.activity else "")
        self.dropped_button.setVisible(search is not None)
        if search is None or run is None:
            self.hint.set_text(NO_LOOP if masks else HINT.format(width=self.beams))
            self._stack.setCurrentWidget(self.hint)
            self._search = None
            return
        self._stack.setCurrentWidget(self._body)
        if search is not self._search or len(self.lanes.content.tree.nodes) != len(run.tree.nodes):
            self._search = search
            layout = lay_out_search(search, run.tree, dropped=self.dropped_button.isChecked())
            labels = self._labels(search, layout)
            self.lanes.show_content(LaneContent(run.tree, layout, labels, "score"))
        viewed = self.state.viewed_step
        self.lanes.show_place(frozenset(run.nodes), None if viewed is None else run.nodes[viewed])
        self._read_row(-1)

    def _labels(self, search: BeamSearch, layout: LaneLayout) -> tuple[LaneLabel, ...]:
        labels = []
        added = sums(search)
        for lane in layout.lanes:
            end = lane.nodes[-1]
            hypothesis = hypothesis_at(search, end)
            if hypothesis is None:
                total = f"Σ {signed(added[end])}" if end in added else ""
                told = f"dropped after step {lane.column + len(lane.nodes) - 1}: others were more likely"
                labels.append(LaneLabel("dropped", total, told=told))
                continue
            rank, found = hypothesis
            name = "best" if rank == 0 else f"{rank}"
            labels.append(
                LaneLabel(name, signed(found.score), strong=rank == 0, told=_told(search, rank, found))
            )
        return tuple(labels)

    def _read_row(self, row: int) -> None:
        """Read a row's hypothesis; with -1 the one on show, or else the best."""
        search, run = self.found, self.state.run
        if search is None or run is None or self.lanes.content is EMPTY or not search.hypotheses:
            self.reading.setText("")
            return
        end = run.tree.current if row < 0 else self.lanes.content.layout.lanes[row].nodes[-1]
        known = hypothesis_at(search, end)
        if known is None and row >= 0:
            self.reading.setText(self.lanes.content.labels[row].told)
            return
        rank, found = known if known is not None else (0, search.hypotheses[0])
        self.reading.setText(_told(search, rank, found))
        self.reading.setToolTip(
            "Hypotheses are ranked by the sum of their tokens' log-probabilities, divided by their length to"
            " the power of the length penalty, as model.generate ranks them."
        )

    def _on_search_clicked(self) -> None:
        if self.searching:
            self.state.generation.beams_cancelled.emit()
        else:
            self.state.generation.beams_requested.emit(self.beams)


def _told(search: BeamSearch, rank: int, found: Hypothesis) -> str:
    name = "best" if rank == 0 else f"rank {rank}"
    length = len(found.token_ids)
    ended = "" if found.finished else " · not finished"
    score = f"{signed(found.score)} = {signed(found.log_probability)} / {length}^{search.length_penalty:g}"
    return f"{name}: {score}{ended} · {shorten(visible_text(found.text), 200)}"
