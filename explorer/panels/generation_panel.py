"""The decoder's loop, one step after another, with what else each step could have written."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.panels.generation.step_strip import StepStrip
from explorer.panels.generation.step_timeline import StepTimeline
from explorer.panels.widgets.panel import Panel
from explorer.theme import Theme

# What the bars mean, in as many words as there is room for.
LEGENDS = (
    "bars: the model's own probabilities (temperature 1, nothing cut)",
    "bars: model's own probabilities (T = 1)",
    "bars: model's own, T = 1",
)


class GenerationPanel(Panel):
    """The run's steps as cards; choosing a card brings that step into view in every panel."""

    title = "Generation"
    object_name = "generation_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self._strip = StepStrip(state, theme, self.body)
        self._timeline = StepTimeline(state, theme, self.body)
        self._legend = QLabel(self.body)
        self._legend.setTextFormat(Qt.TextFormat.PlainText)
        self._legend.setProperty("role", "facts")
        self._legend.setMinimumWidth(1)
        self._layout = QVBoxLayout(self.body)
        self._layout.addWidget(self._strip, 1)
        self._layout.addWidget(self._timeline)
        self._layout.addWidget(self._legend)
        self.body.installEventFilter(self)

        state.model_changed.connect(self._update_hint)
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
        self._update_hint()
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

    def _update_hint(self) -> None:
        model = self.state.model
        if self.state.run is not None:
            self.show_hint("")
        elif model is not None and model.family == "encoder-only":
            self.show_hint(
                "This model has an encoder only: it has no decoding loop, and fills in masks instead. "
                "Type a sentence with a mask in it, then press Step."
            )
        else:
            self.show_hint("Type a sentence, then press Step.")

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
        """Leave the cards room for their fewest alternatives; the legend and the timeline have the rest."""
        metrics = QFontMetrics(self.theme.prose("small"))
        width = self.body.width() - 2 * self.theme.space(1)
        fitting = [text for text in LEGENDS if metrics.horizontalAdvance(text) <= width]
        self._legend.setText(fitting[0] if fitting else "")
        gap = self.theme.space(0.5)
        spare = self.body.height() - self._strip.sizeHint().height() - 2 * gap
        spare -= self._legend.sizeHint().height() + gap
        self._legend.setVisible(bool(fitting) and spare >= 0)
        spare -= self._timeline.sizeHint().height() + gap
        self._timeline.setVisible(self._timeline.count > 0 and spare >= 0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if watched is self.body and event.type() == QEvent.Type.Resize:
            self._update_room()
        return super().eventFilter(watched, event)
