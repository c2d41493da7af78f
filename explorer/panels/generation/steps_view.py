"""The steps on show as cards, with a timeline of all of them below where there is room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.panels.generation.step_strip import StepStrip
from explorer.panels.generation.step_timeline import StepTimeline
from explorer.theme import Theme

# What the bars mean, in as many words as there is room for.
LEGENDS = (
    "bars: the model's own probabilities (temperature 1, nothing cut)",
    "bars: model's own probabilities (T = 1)",
    "bars: model's own, T = 1",
)


class StepsView(QWidget):
    """Choosing a card brings that step into view in every panel."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.strip = StepStrip(state, theme, self)
        self.timeline = StepTimeline(state, theme, self)
        self.legend = QLabel(self)
        self.legend.setTextFormat(Qt.TextFormat.PlainText)
        self.legend.setProperty("role", "facts")
        self.legend.setMinimumWidth(1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(self.strip, 1)
        self.column.addWidget(self.timeline)
        self.column.addWidget(self.legend)
        state.run_changed.connect(self._update_run)
        state.viewed_step_changed.connect(self._update_viewed_step)
        for changed in (state.selection_changed, state.hover_changed, state.cloud_changed):
            changed.connect(self._update_emphasis)
        for changed in (state.stale_changed, state.sampling_changed):
            changed.connect(self._update_emphasis)
        self.update_theme()
        self._update_run()

    @property
    def facts(self) -> str:
        """Under what settings, how many steps, and why they ended, for the panel's title."""
        run = self.state.run
        if run is None:
            return ""
        count = len(run.steps)
        # The last step's own settings; `run.params` are those of the next one.
        params = run.steps[-1].params if run.steps else run.params
        facts = [params.summary, f"{count:,} step{'s' * (count != 1)}"]
        if run.stop_reason is not None:
            facts.append(f"ended: {run.stop_reason}")
        return " · ".join(facts)

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.column.setSpacing(self.theme.space(0.5))
        self.strip.update_theme()
        self.timeline.update_theme()
        self._update_room()

    def _update_run(self) -> None:
        run = self.state.run
        self.strip.show_run(run)
        self.timeline.show_run(run)
        self._update_room()
        viewed = self.state.viewed_step
        if run is not None and viewed is not None and viewed < len(run.steps) - 1:
            # Another branch may be longer: what is looked at stays in sight all the same.
            self.strip.ensure_visible(viewed)

    def _update_emphasis(self) -> None:
        self.strip.repaint_cards()
        self.timeline.update()

    def _update_viewed_step(self) -> None:
        self._update_emphasis()
        run = self.state.run
        if run is not None and self.state.viewed_step is not None:
            # The last step brings what follows it along: the step to come, or why there is none.
            last = self.state.viewed_step == len(run.steps) - 1
            self.strip.ensure_visible(self.state.viewed_step, with_end=last)

    def _update_room(self) -> None:
        """Leave the cards room for their fewest alternatives; the legend and the timeline have the rest."""
        metrics = QFontMetrics(self.theme.prose("small"))
        fitting = [text for text in LEGENDS if metrics.horizontalAdvance(text) <= self.width()]
        self.legend.setText(fitting[0] if fitting else "")
        gap = self.theme.space(0.5)
        spare = self.height() - self.strip.sizeHint().height() - gap
        spare -= self.legend.sizeHint().height() + gap
        self.legend.setVisible(bool(fitting) and spare >= 0)
        spare -= self.timeline.sizeHint().height() + gap
        self.timeline.setVisible(self.timeline.count > 0 and spare >= 0)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._update_room()
