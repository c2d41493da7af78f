"""Two runs side by side: their tokens aligned, and the two distributions of the viewed step."""

from __future__ import annotations

import math

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QStackedLayout, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.branch_lanes import run_at
from explorer.core.run_comparison import (
    Alignment,
    KeptRun,
    Probabilities,
    align,
    divergence_bits,
    drawn_probabilities,
    overlay,
    own_probabilities,
    same_context,
    total_variation,
)
from explorer.panels.generation.aligned_rows import AlignedRows
from explorer.panels.generation.overlay_bars import OverlayBars
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.panels.widgets.reading_line import ReadingLine
from explorer.panels.widgets.segmented import Segmented
from explorer.theme import Theme

MOST_BARS = 60
SHAPES = {
    "model": "The model's own distributions: temperature 1, nothing cut",
    "drawn": "The distributions that were drawn from, each under its own settings",
}
HINT = (
    "Keep this run, then change settings, seed, branch, model or dtype and run again: "
    "both stand here side by side."
)


class CompareView(QWidget):
    """The kept run above, the one on show below, and under them the viewed step's distributions overlaid."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.alignment: Alignment | None = None
        self.setObjectName("compare_view")
        self.keep_button = QPushButton("Keep this run", self)
        self.keep_button.setObjectName("keep_run_button")
        self.keep_button.setToolTip("Keep the run on show for comparison, with its model and settings")
        self.drop_button = QPushButton("Let go", self)
        self.drop_button.setObjectName("drop_run_button")
        self.drop_button.setToolTip("Forget the kept run")
        self.shapes = Segmented(theme, "compare_shape", self, dense=True)
        self.shapes.set_names(tuple(SHAPES), tuple(SHAPES.values()))
        self.shapes.set_current("model")
        self._shape = "model"
        self.rows = AlignedRows(state, theme, self)
        self.bars = OverlayBars(theme, self)
        self.line = ReadingLine("compare_line", self)
        self.hint = EmptyHint(theme, self)
        row = QHBoxLayout()
        row.addWidget(self.keep_button)
        row.addWidget(self.drop_button)
        row.addStretch(1)
        row.addWidget(self.shapes)
        body = QWidget(self)
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(theme.space(0.3))
        inner.addWidget(self.rows)
        inner.addWidget(self.line)
        inner.addWidget(self.bars, 1)
        self._body = body
        self._stack = QStackedLayout()
        self._stack.addWidget(body)
        self._stack.addWidget(self.hint)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.space(0.5))
        column.addLayout(row)
        column.addLayout(self._stack, 1)
        self.keep_button.clicked.connect(self.keep)
        self.drop_button.clicked.connect(lambda: state.generation.set_kept(None))
        self.shapes.chosen.connect(self._on_shape_chosen)
        for changed in (
            state.run_changed,
            state.cloud_changed,
            state.stale_changed,
            state.generation.kept_changed,
        ):
            changed.connect(self._update)
        state.viewed_step_changed.connect(self._update_step)
        self.update_theme()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        space, small = self.theme.space, self.theme.pixels("small")
        for button in (self.keep_button, self.drop_button):
            button.setStyleSheet(
                f"QPushButton {{ font-size: {small}px; padding: {space(0.3)}px {space(1)}px; }}"
            )
        self.shapes.update_theme()
        self.rows.update_theme()
        self.bars.update_theme()

    # -- keeping --------------------------------------------------------------------------------

    @property
    def on_show(self) -> KeptRun | None:
        """The run on show, as it would be kept."""
        run, model, cloud = self.state.run, self.state.model, self.state.cloud
        if run is None or model is None or not run.steps:
            return None
        return KeptRun(run, model, None if cloud is None else cloud.pieces)

    def keep(self) -> None:
        """Keep the run on show."""
        self.state.generation.set_kept(self.on_show)

    def keep_branch(self, end: int, name: str) -> None:
        """Keep another branch of the run on show, the one that ends in ``end``."""
        here = self.on_show
        if here is not None:
            known = self.state.generation.outcome_at(end)
            other = run_at(here.run, end, known.text, known.stop_reason)
            self.state.generation.set_kept(KeptRun(other, here.model, here.pieces, name))

    @property
    def facts(self) -> str:
        """What is compared with what, for the panel's title."""
        kept, here = self.state.generation.kept, self.on_show
        if kept is None:
            return ""
        return f"kept: {kept.summary}" + (f" | on show: {here.summary}" if here is not None else "")

    # -- what is shown --------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102
        super().showEvent(event)
        self._update()

    def _update(self) -> None:
        if not self.isVisible():
            return
        kept, here = self.state.generation.kept, self.on_show
        self.keep_button.setEnabled(here is not None and not self.state.stale)
        self.drop_button.setVisible(kept is not None)
        self.shapes.setVisible(kept is not None and here is not None)
        if kept is None or here is None:
            self.alignment = None
            text = HINT if kept is None else f"Kept: {kept.summary}. Press Step or Run to compare with it."
            self.hint.set_text(text if here is not None or kept is not None else "Press Step or Run first.")
            self._stack.setCurrentWidget(self.hint)
            return
        self._stack.setCurrentWidget(self._body)
        self.alignment = align(kept, here)
        self.rows.show_runs(kept, here, self.alignment)
        self._update_step()

    def _on_shape_chosen(self, shape: str) -> None:
        self._shape = shape
        self._update_step()

    def _update_step(self) -> None:
        kept, here, viewed = self.state.generation.kept, self.on_show, self.state.viewed_step
        if not self.isVisible() or kept is None or here is None or self.alignment is None or viewed is None:
            return
        place = self.alignment.place_of(viewed)
        self.rows.show_place(place)
        other = self.alignment.pairs[place][0]
        if viewed < len(kept.run.steps) and same_context(kept.run, viewed, here.run, viewed):
            # Chosen after the very same text: these two say the most, even where one token more follows.
            other = viewed
        if other is None:
            self.line.setText(f"step {viewed}: the kept run has no counterpart")
            self.bars.show_bars(())
            return
        read = own_probabilities if self._shape == "model" else drawn_probabilities
        p, q = read(kept.run.steps[other]), read(here.run.steps[viewed])
        self.bars.show_bars(overlay(kept, p, here, q, MOST_BARS))
        self.line.setText(self._measures(kept, other, p, here, viewed, q))
        self.line.setToolTip(self._tip(kept, here))

    def _measures(
        self, kept: KeptRun, i: int, p: Probabilities, here: KeptRun, j: int, q: Probabilities
    ) -> str:
        where = f"step {j}" if i == j else f"step {j} (kept: {i})"
        if not kept.shares_vocabulary(here):
            known = kept.pieces is not None and here.pieces is not None
            told = "bars where pieces agree" if known else "their pieces are not known"
            return f"{where}: two vocabularies, no divergence · {told}"
        context = "same text before it" if same_context(kept.run, i, here.run, j) else "after different text"
        there, back = divergence_bits(p, q), divergence_bits(q, p)
        measures = f"TV {total_variation(p, q):.3f} · KL {_bits(there)}, back {_bits(back)} bits"
        return f"{measures} · {where}, {context}"

    def _tip(self, kept: KeptRun, here: KeptRun) -> str:
        return (
            f"{SHAPES[self._shape]}.\nTV: total variation, half the sum of absolute differences, 0 to 1.\n"
            f"KL: Kullback-Leibler divergence D(kept ‖ on show) in bits, and back D(on show ‖ kept);"
            f" ∞ where one excludes what the other allows.\nkept: {kept.summary}\non show: {here.summary}"
        )


def _bits(value: float) -> str:
    return "∞" if value == math.inf else f"{value:.3f}"
