"""The decoder's loop, one step after another, with what else each step could have written."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.step_strip import StepStrip
from explorer.panels.widgets.step_timeline import StepTimeline
from explorer.theme import Theme

LEGEND = "bars: the model's own probabilities (T = 1, nothing cut)"


class GenerationPanel(Panel):
    """The run's steps as cards; choosing a card brings that step into view in every panel."""

    title = "Generation"
    object_name = "generation_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self._strip = StepStrip(state, theme, self.body)
        self._timeline = StepTimeline(state, theme, self.body)
        self._legend = QLabel(LEGEND, self.body)
        self._legend.setTextFormat(Qt.TextFormat.PlainText)
        self._legend.setProperty("role", "facts")
        self._legend.setWordWrap(True)
        self._layout = QVBoxLayout(self.body)
        self._layout.addWidget(self._strip, 1)
        self._layout.addWidget(self._timeline)
        self._layout.addWidget(self._legend)
        self.body.installEventFilter(self)

        state.run_changed.connect(self._update_run)
        state.viewed_step_changed.connect(self._update_viewed_step)
        for signal in (
            state.selection_changed,
            state.hover_changed,
            state.cloud_changed,
            state.stale_changed,
        ):
            signal.connect(self._update_emphasis)
        self._update_theme()
        self._update_run()

    def _update_run(self) -> None:
        run = self.state.run
        self._strip.show_run(run)
        self._timeline.show_run(run)
        self._update_room()
        self.show_hint("" if run is not None else "Type a sentence, then press Step.")
        if run is None:
            self.set_facts("")
            return
        count = len(run.steps)
        # The last step's own settings; `run.params` are those of the next one.
        params = run.steps[-1].params if run.steps else run.params
        facts = [params.summary, f"{count:,} step{'s' * (count != 1)}"]
        if run.stop_reason is not None:
            facts.append(f"ended: {run.stop_reason}")
        self.set_facts(" · ".join(facts))

    def _update_emphasis(self) -> None:
        self._strip.repaint_cards()
        self._timeline.update()

    def _update_viewed_step(self) -> None:
        self._update_emphasis()
        run = self.state.run
        if run is not None and self.state.viewed_step is not None:
            # The last step brings what follows it along: the step to come, or why there is none.
            last = self.state.viewed_step == len(run.steps) - 1
            self._strip.ensure_visible(self.state.viewed_step, with_end=last)

    def _update_theme(self) -> None:
        space = self.theme.space
        self._layout.setContentsMargins(space(1), space(0.5), space(1), space(0.5))
        self._layout.setSpacing(space(0.5))
        self._strip.update_theme()
        self._timeline.update_theme()
        self._update_room()

    def _update_room(self) -> None:
        """Show the timeline where the cards keep room for their fewest alternatives beside it."""
        needed = self._strip.sizeHint().height() + self._timeline.sizeHint().height()
        needed += self._legend.sizeHint().height() + 4 * self.theme.space(0.5)
        self._timeline.setVisible(self._timeline.count > 0 and self.body.height() >= needed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if watched is self.body and event.type() == QEvent.Type.Resize:
            self._update_room()
        return super().eventFilter(watched, event)
