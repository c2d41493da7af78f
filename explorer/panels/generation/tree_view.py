"""The run's branches: every step that was ever taken, to be walked, named and compared."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QLineEdit, QMenu, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.branch_lanes import LaneLayout, lane_name, lay_out, log_probabilities, taken_children
from explorer.core.branches import ROOT, RunTree
from explorer.panels.generation.force_menu import ForceMenu
from explorer.panels.generation.lane_view import EMPTY, LaneContent, LaneLabel, LaneView
from explorer.panels.widgets.piece_text import probability_text, shorten, visible_text
from explorer.panels.widgets.reading_line import ReadingLine
from explorer.theme import Theme

LONGEST_NAME = 40


def signed(value: float) -> str:
    """A number with a minus sign that is as wide as a digit, e.g. ``−1.23``."""
    return "−∞" if value == -math.inf else f"{value:.2f}".replace("-", "−")


class TreeView(QWidget):
    """Branches as rows, with a line below that reads the branch on show or pointed at.

    Signals
    -------
    comparison_wanted : int, str
        A person wants the branch that ends in this node, and is named so, beside the one on show.
    """

    comparison_wanted = Signal(int, str)

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._tree: RunTree | None = None
        self._sums: list[float] = []
        self.setObjectName("tree_view")
        self.lanes = LaneView(state, theme, "tree_lanes", self)
        self.lanes.setAccessibleName("Branches of the run")
        self.reading = ReadingLine("tree_reading", self)
        self._name_field = QLineEdit(self.lanes.viewport())
        self._name_field.setObjectName("branch_name")
        self._name_field.setAccessibleName("Name of the branch")
        self._name_field.setMaxLength(LONGEST_NAME)
        self._name_field.installEventFilter(self)
        self._name_field.hide()
        self._named_node: int | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.space(0.3))
        column.addWidget(self.lanes, 1)
        column.addWidget(self.reading)
        self.lanes.node_chosen.connect(state.generation.node_requested)
        self.lanes.row_hovered.connect(self._on_row_hovered)
        self.lanes.rename_wanted.connect(self.rename)
        self.lanes.menu_wanted.connect(self._on_menu_wanted)
        self._name_field.editingFinished.connect(self._on_named)
        state.run_changed.connect(self._update_run)
        state.viewed_step_changed.connect(self._update_place)
        state.generation.beams_changed.connect(self._on_beams_changed)
        for changed in (state.sampling_changed, state.stale_changed, state.hover_changed):
            changed.connect(self.lanes.viewport().update)

    # -- what is shown --------------------------------------------------------------------------

    def _update_run(self) -> None:
        # A tree of thousands of nodes is not laid out at each step for nobody to see.
        if self.isVisible():
            self._lay_out()

    def _lay_out(self) -> None:
        run = self.state.run
        tree = None if run is None else run.tree
        if tree is not None and self._is_laid_out(tree):
            # Another place in the same tree: nothing moves but what is on show.
            self._tree = tree
        elif tree is not self._tree:
            self._tree = tree
            self._name_field.hide()
            self._sums = [] if tree is None else log_probabilities(tree)
            if tree is None:
                self.lanes.show_content(EMPTY)
            else:
                layout = lay_out(taken_children(tree, self._results()))
                self.lanes.show_content(
                    LaneContent(tree, layout, self._labels(tree, layout), "steps · Σ ln p")
                )
        self._update_place()

    def _is_laid_out(self, tree: RunTree) -> bool:
        """Whether the very nodes and names of ``tree`` stand in rows already, with its branch among them."""
        drawn = self._tree
        if drawn is None or tree is drawn or tree.names != drawn.names:
            return tree is drawn
        return tree.nodes == drawn.nodes and (
            tree.current == ROOT or tree.current in self.lanes.content.layout.row_of
        )

    def _results(self) -> tuple[int, ...]:
        """Where the last beam search's hypotheses end in the tree on show."""
        run, beams = self.state.run, self.state.generation.beams
        if run is None or beams is None or beams.run_id != run.run_id:
            return ()
        ends = (hypothesis.node for hypothesis in beams.hypotheses)
        return tuple(node for node in ends if node < len(run.tree.nodes))

    def _on_beams_changed(self) -> None:
        self._tree = None  # laid out anew, with its hypotheses
        if self.isVisible():
            self._lay_out()

    def _labels(self, tree: RunTree, layout: LaneLayout) -> tuple[LaneLabel, ...]:
        labels = []
        for lane, letter in zip(layout.lanes, layout.letters, strict=True):
            name = lane_name(tree, lane) or letter
            facts = f"{lane.column + len(lane.nodes)} · {signed(self._sums[lane.nodes[-1]])}"
            text = shorten(visible_text(self.state.generation.outcome_at(lane.nodes[-1]).text), 200)
            told = f"branch {name}: {text}" if text else f"branch {name}"
            told += "\nClick shows its end, a double click or F2 names it."
            labels.append(LaneLabel(name, facts, told=told))
        return tuple(labels)

    def _update_place(self) -> None:
        run, viewed = self.state.run, self.state.viewed_step
        if not self.isVisible() or run is None or run.tree is not self._tree:
            return
        self.lanes.show_place(frozenset(run.nodes), None if viewed is None else run.nodes[viewed])
        self._read_row(None)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102
        super().showEvent(event)
        self._lay_out()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.lanes.update_theme()

    @property
    def facts(self) -> str:
        """How much there is, for the panel's title."""
        run = self.state.run
        if run is None:
            return ""
        lanes, steps = self.lanes.content.layout.lanes, len(run.tree.nodes) - 1
        shown = sum(len(lane.nodes) for lane in lanes)
        facts = f"{len(lanes):,} branch{'es' * (len(lanes) != 1)} · {shown:,} steps"
        dropped = steps - shown if run.tree is self._tree else 0
        return facts + (f" · {dropped:,} more that beam search dropped" if dropped else "")

    # -- the line below -------------------------------------------------------------------------

    def _on_row_hovered(self, row: int) -> None:
        self._read_row(row if row >= 0 else None)

    def _read_row(self, row: int | None) -> None:
        """Read a row's branch, or without one the branch on show."""
        run, content = self.state.run, self.lanes.content
        if run is None or not content.labels:
            self.reading.setText("")
            return
        node = run.tree.current if row is None else content.layout.lanes[row].nodes[-1]
        if node not in content.layout.row_of:
            self.reading.setText("")
            return
        name = content.labels[content.layout.row_of[node] if row is None else row].name
        total = self._sums[node]
        text = self.state.generation.outcome_at(node).text
        told = f"{name}: Σ ln p {signed(total)} · p {probability_text(math.exp(total))}"
        self.reading.setText(f"{told} · {shorten(visible_text(text), 200)}" if text else told)
        self.reading.setToolTip(
            "The sum of the chosen tokens' log-probabilities (natural logarithm), and the probability of"
            " the whole branch, in the model's own distribution: temperature 1, nothing cut."
        )

    # -- names ----------------------------------------------------------------------------------

    def rename(self, row: int) -> None:
        """Open the field for a branch's name over its label."""
        tree, lane = self.lanes.content.tree, self.lanes.content.layout.lanes[row]
        self._named_node = lane.nodes[0]
        self._name_field.setText(lane_name(tree, lane))
        self._name_field.setPlaceholderText(self.lanes.content.labels[row].name)
        self._name_field.setGeometry(self.lanes.label_rect(row).adjusted(0, -1, 0, 1))
        self._name_field.selectAll()
        self._name_field.show()
        self._name_field.setFocus()

    def _on_named(self) -> None:
        node, self._named_node = self._named_node, None
        if node is None:
            return
        self._name_field.hide()
        self.lanes.setFocus()
        self.state.generation.name_requested.emit(node, self._name_field.text().strip())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        escape = (
            isinstance(event, QKeyEvent)
            and event.type() in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride)
            and event.key() == Qt.Key.Key_Escape
        )
        if watched is self._name_field and escape:
            self._named_node = None
            self._name_field.hide()
            self.lanes.setFocus()
            return True
        return super().eventFilter(watched, event)

    # -- the menu -------------------------------------------------------------------------------

    def _on_menu_wanted(self, row: int, node: int, place: QPoint) -> None:
        self.make_menu(row, node, place).popup(place)

    def make_menu(self, row: int, node: int = -1, place: QPoint | None = None) -> QMenu:
        """What can be done with the branch of a row, and with the node under the pointer."""
        end = self.lanes.content.layout.lanes[row].nodes[-1]
        run, name = self.state.run, self.lanes.content.labels[row].name
        menu = QMenu(self)
        menu.setObjectName("branch_menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Show this branch").triggered.connect(lambda: self.lanes.choose(end))
        menu.addAction("Rename …").triggered.connect(lambda: self.rename(row))
        step = self.lanes.content.tree.nodes[node].step if node > ROOT else None
        if step is not None:
            force = menu.addAction(f"Write another token at step {step.index} …")
            force.triggered.connect(lambda: self.open_force_menu(node, place or QPoint()))
        compare = menu.addAction("Compare with the branch on show")
        compare.triggered.connect(lambda: self.comparison_wanted.emit(end, f"branch {name}"))
        compare.setEnabled(run is not None and end not in run.nodes)
        text = self.state.generation.outcome_at(end).text
        copy = menu.addAction("Copy its text")
        copy.triggered.connect(lambda: QGuiApplication.clipboard().setText(text))
        copy.setEnabled(bool(text))
        return menu

    def open_force_menu(self, node: int, place: QPoint) -> ForceMenu:
        """Offer what a node's step could write instead, as a new branch."""
        step = self.lanes.content.tree.nodes[node].step
        assert step is not None
        menu = ForceMenu(self.state, self.theme, step, self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.token_chosen.connect(lambda token_id: self._force(node, token_id))
        menu.popup(place)
        return menu

    def _force(self, node: int, token_id: int) -> None:
        # What is forced is always the step in view: first to its branch.
        self.lanes.choose(node)
        self.state.force_requested.emit(token_id)
