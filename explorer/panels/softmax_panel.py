"""The next-token distribution, live under the sampling settings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from explorer.app.state import AppState, Notice
from explorer.core.records import StepRecord
from explorer.core.sampling import Distribution, LogitsError, SamplingParams
from explorer.core.selection import TokenRef
from explorer.panels.softmax.bar_content import Bar, BarContent, exact_text, percent_text, read_bar, read_bars
from explorer.panels.softmax.bar_legend import BarLegend
from explorer.panels.softmax.distribution_bars import DistributionBars, describe
from explorer.panels.softmax.sampling_controls import SamplingControls, compact_button
from explorer.panels.softmax.stages import STAGES, after_stage
from explorer.panels.softmax.temperature_view import TemperatureView
from explorer.panels.widgets.elided_label import ElidedLabel
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.piece_text import plain_tooltip, shorten, visible_piece
from explorer.panels.widgets.segmented import Segmented
from explorer.theme import Theme

_LONGEST_PIECE = 24
_UNBOUNDED = 16_777_215  # Qt's own word for "no maximum"
VIEWS = {
    "bars": "The distribution of the viewed step, before and after reshaping",
    "grid": "The same sentence at several temperatures, side by side",
}
_STEP_TIP = "The viewed step, what it had read last, and how its token was chosen"
_HINT = "Press Step: the probabilities of the next token appear here."


class SoftmaxPanel(Panel):
    """The viewed step's distribution over the whole vocabulary, before and after reshaping.

    A slider writes ``state.sampling``; the bars follow without a model call and without a sort: the
    step's logits are ranked once, O(V log V), when it comes into view, and each move costs at most O(V).
    """

    title: ClassVar[str] = "Softmax"
    object_name: ClassVar[str] = "softmax_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self._distribution: Distribution | None = None
        self._stage = STAGES[-1].name
        self._draws: npt.NDArray[np.int64] | None = None
        content = QWidget()
        self.bars = DistributionBars(theme, content)
        self.bars.set_emphasis(state.emphasis_of_id)
        self.legend = BarLegend(theme, content)
        self.controls = SamplingControls(theme, content)
        self.chooser = Segmented(theme, "softmax_view", content, dense=True, vertical=True)
        self.chooser.set_names(tuple(VIEWS), tuple(VIEWS.values()))
        self.temperatures = TemperatureView(state, theme, content)
        self.log_axis = _toggle(
            "log_axis", "log", "Logarithmic axis: equal heights are equal factors", content
        )
        self.fit_axis = _toggle(
            "fit_axis", "fit", "Fit the axis to the highest bar instead of ending at 1", content
        )
        self.sum_line = _toggle(
            "sum_line", "sum", "Draw the running sum of probabilities, which top-p looks at", content
        )
        self.step_line = _line("step_line", content)
        self.step_line.setToolTip(_STEP_TIP)
        self.reading = _line("token_reading", content)
        self.rest_line = _line("rest_line", content)
        self.rest_line.setToolTip("The tokens that have no bar: how many, and their mass before and after")
        self._build(content)
        self.log_axis.toggled.connect(self._on_axis_toggled)
        self.fit_axis.toggled.connect(self._on_axis_toggled)
        self.sum_line.toggled.connect(self.bars.set_cumulative)
        self.controls.params_edited.connect(state.set_sampling)
        self.controls.refused.connect(self._on_input_refused)
        self.controls.stages.stage_chosen.connect(self._on_stage_chosen)
        self.controls.more.toggled.connect(self._on_more_toggled)
        actions = self.controls.actions_row
        actions.params_pasted.connect(state.set_sampling)
        actions.draw_requested.connect(self._on_draw_requested)
        actions.replay_requested.connect(self._on_replay_requested)
        self.chooser.chosen.connect(self.show_view)
        self.temperatures.row_taken.connect(self._on_row_taken)
        self.bars.room_changed.connect(self._update_bars)
        self.bars.bar_hovered.connect(self._on_bar_hovered)
        self.bars.bar_clicked.connect(self._on_bar_clicked)
        state.model_changed.connect(self._update_vocabulary)
        state.run_changed.connect(self._update_step)
        state.viewed_step_changed.connect(self._update_step)
        state.cloud_changed.connect(self._update_distribution)
        state.sampling_changed.connect(self._update_sampling)
        state.selection_changed.connect(self._update_emphasis)
        state.hover_changed.connect(self._update_emphasis)
        state.stale_changed.connect(self._update_stale)
        self.show_view("bars")
        self._update_theme()
        self._update_vocabulary()
        self._update_sampling()
        self._update_stale()

    def _build(self, content: QWidget) -> None:
        toggles = QHBoxLayout()
        toggles.addStretch(1)
        toggles.addWidget(self.sum_line)
        toggles.addWidget(self.log_axis)
        toggles.addWidget(self.fit_axis)
        self._choices = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._choices.addWidget(self.legend)
        self._choices.addLayout(toggles, 1)
        self._top = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._top.addWidget(self.step_line, 1)
        self._top.addLayout(self._choices)
        self._bottom = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._bottom.addWidget(self.reading, 1)
        self._bottom.addWidget(self.rest_line)
        chart = QWidget(content)
        self._chart = QVBoxLayout(chart)
        self._chart.setContentsMargins(0, 0, 0, 0)
        self._chart.addLayout(self._top)
        self._chart.addWidget(self.bars, 1)
        self._chart.addLayout(self._bottom)
        self.views: dict[str, QWidget] = {"bars": chart, "grid": self.temperatures}
        self._pages = _Pages(content)
        for view in self.views.values():
            self._pages.addWidget(view)
        self._left = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._left.addWidget(self.chooser, 0, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._left.addWidget(self._pages, 1)
        self._content = QBoxLayout(QBoxLayout.Direction.LeftToRight, content)
        self._content.addLayout(self._left, 1)
        self._content.addWidget(self.controls)
        # Where the dock is too small for all of it, it scrolls: nothing is squeezed or cut.
        self._scroll = QScrollArea(self.body)
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(content)
        outer = QVBoxLayout(self.body)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._scroll)

    @property
    def view(self) -> str:
        """Name of the view that is open."""
        return next(name for name, view in self.views.items() if view is self._pages.currentWidget())

    def show_view(self, name: str) -> None:
        """Open a view by its name: the bars, or the grid of temperatures."""
        self._pages.setCurrentWidget(self.views[name])
        self.chooser.set_current(name)

    # -- what a person did --------------------------------------------------------------------------

    def _ref(self, token_id: int | None) -> TokenRef | None:
        """The token that a bar stands for: the chosen one by its step, any other by its vocabulary row."""
        if token_id is None:
            return None
        step = self.state.step
        if step is not None and step.token.id == token_id:
            return TokenRef("generated", step.index)
        return TokenRef("vocabulary", token_id)

    def _on_bar_hovered(self, token_id: int | None) -> None:
        self.state.set_hover(self._ref(token_id))

    def _on_bar_clicked(self, token_id: int | None, extend: bool) -> None:
        self.state.select(self._ref(token_id), extend=extend)

    def _on_axis_toggled(self) -> None:
        self.bars.set_axis(logarithmic=self.log_axis.isChecked(), fitted=self.fit_axis.isChecked())

    def _on_stage_chosen(self, name: str) -> None:
        self._stage = name
        self._update_distribution()

    def _on_more_toggled(self, more: bool) -> None:
        if not more:
            # A stage that cannot be seen to be chosen is not shown.
            self.controls.stages.buttons[STAGES[-1].name].setChecked(True)
            self._on_stage_chosen(STAGES[-1].name)
        self._arrange()

    def _on_input_refused(self, reason: str) -> None:
        self.state.set_notice(Notice(reason, error=False))

    def _on_draw_requested(self, count: int) -> None:
        if self._distribution is not None and count:
            self._show_draws(self._distribution.draw(count, self.state.sampling.seed))
        else:
            self._show_draws(None)

    def _on_replay_requested(self) -> None:
        self.state.reset_requested.emit()
        self.state.finish_requested.emit()

    def _on_row_taken(self, params: SamplingParams) -> None:
        self.state.set_sampling(params)
        self._on_replay_requested()

    def _show_draws(self, draws: npt.NDArray[np.int64] | None) -> None:
        self._draws = draws
        self.bars.set_draws(draws)
        self.legend.set_drawn(draws is not None)
        self._update_emphasis()

    # -- what the state says ------------------------------------------------------------------------

    def _update_vocabulary(self) -> None:
        model = self.state.model
        if model is not None:
            self.controls.set_model(model.vocabulary_size, model.own_settings)
            self._arrange()
        self._update_step()

    def _update_sampling(self) -> None:
        self.controls.set_params(self.state.sampling)
        self._update_outdated()
        self._update_distribution()

    def _update_outdated(self) -> None:
        """Point at Replay while steps on show were drawn under other settings; the first such one decides."""
        run, sampling = self.state.run, self.state.sampling
        steps = () if run is None else run.steps
        drawn = (step.params for step in steps if not step.forced and not step.beam)
        outdated = any(params is not sampling and params != sampling for params in drawn)
        self.controls.actions_row.set_outdated(outdated)

    def _update_step(self) -> None:
        # Once there is a model, settings can be chosen and the grid filled before the first step.
        self.show_hint("" if self.state.model is not None else _HINT)
        self._update_outdated()
        self._update_distribution()

    def _update_distribution(self) -> None:
        """Reshape the viewed step; O(V) where the temperature changed or top-p looks at all, never a sort."""
        step = self.state.step
        self._distribution = None
        # They were drawn from another distribution than the one that comes.
        self._show_draws(None)
        if step is None:
            self._show_no_bars(_HINT)
            return
        try:
            self._distribution = after_stage(step, self.state.sampling, self._stage)
        except LogitsError as error:
            # The controls stay, because they are the way out.
            self._show_no_bars(str(error))
            self._update_step_line(step)
            return
        self._update_bars()
        facts = _facts(self._distribution)
        self.set_facts(facts if self._stage == STAGES[-1].name else f"after stage {self._stage} · {facts}")
        self._update_step_line(step)
        self._update_emphasis()

    def _show_no_bars(self, why: str) -> None:
        self.bars.show_message(why)
        self.rest_line.setText("")
        self.step_line.setText("")
        self._update_emphasis()
        self.set_facts("")

    def _update_bars(self) -> None:
        """As many as there is room for."""
        step = self.state.step
        if step is not None and self._distribution is not None:
            content = read_bars(step, self._distribution, self.state.piece, self.bars.room)
            self.bars.set_content(content)
            self.rest_line.setText(_rest(content))

    def _update_step_line(self, step: StepRecord) -> None:
        parts = [f"step {step.index}"]
        read = self._token_before(step)
        if self.state.run is not None and self.state.run.family == "encoder-only":
            parts.append("in the mask's place")
        elif read is not None:
            parts.append(f"after {read}")
        chose = f"chose {_short(step.token.piece)}"
        if step.forced:
            chose += " by hand"
        elif step.beam:
            chose += " by beam search"
        elif step.params != self.state.sampling:
            chose += f" under: {step.params.summary}"
        parts.append(chose)
        self.step_line.setText(" · ".join(parts))
        self.step_line.setToolTip(plain_tooltip("\n".join([_STEP_TIP, *parts])))

    def _token_before(self, step: StepRecord) -> str | None:
        """The piece that this step's decoder read last."""
        run = self.state.run
        assert run is not None
        if step.index:
            return _short(run.steps[step.index - 1].token.piece)
        before = run.start_tokens or run.source.tokens
        return _short(before[-1].piece) if before else None

    def _update_emphasis(self) -> None:
        self.bars.update()
        bar = self._read_bar()
        text = "" if bar is None else _reading(bar)
        if bar is not None and self._draws is not None:
            text += f" · drawn {self._draws[bar.token_id]:,} of {self._draws.sum():,}"
        self.reading.setText(text)
        self.reading.setToolTip("" if bar is None else plain_tooltip(describe(bar)))

    def _read_bar(self) -> Bar | None:
        """The token that is pointed at, in whichever panel, or else the chosen one."""
        step, distribution = self.state.step, self._distribution
        if step is None or distribution is None:
            return None
        for ref in (self.state.hover, self.state.selection.token):
            token_id = None if ref is None else self.state.token_id(ref)
            if token_id is not None and token_id < distribution.ranked.vocabulary_size:
                return read_bar(step, distribution, token_id, self.state.piece)
        return read_bar(step, distribution, step.token.id, self.state.piece)

    def _update_stale(self) -> None:
        self.bars.set_faded(self.state.stale)

    def _update_theme(self) -> None:
        theme, space = self.theme, self.theme.space
        self._content.setContentsMargins(space(2), space(0.5), space(2), space(1))
        self._content.setSpacing(space(2.5))
        for layout in (self._chart, self._top, self._choices, self._bottom):
            layout.setSpacing(space(0.8))
        for toggle in (self.sum_line, self.log_axis, self.fit_axis):
            toggle.setStyleSheet(compact_button(space(0.3), space(1.2), theme.pixels("small")))
        self._left.setSpacing(space(1))
        self.chooser.update_theme()
        self.temperatures.update_theme()
        self.controls.update_theme()
        self.legend.updateGeometry()
        self.bars.update_geometry()
        self._arrange()

    # -- wide or narrow -----------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._arrange()

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(50), self.theme.space(30))

    def _arrange(self) -> None:
        """Controls beside the chart where it is wide, below it where it is narrow."""
        space = self.theme.space
        beside = self.width() >= space(120)
        if beside:
            low = self.height() < self.controls.height_in(1) + space(1.5)
            columns = 2 if low and self.width() >= space(190) else 1
        else:
            columns = 2 if self.width() >= space(95) else 1
        self._content.setDirection(_direction(beside))
        self._left.setDirection(_direction(self.width() >= space(75)))
        self.controls.arrange(columns)
        width = self.controls.width_in(columns)
        self.controls.setMinimumWidth(width if beside else 0)
        self.controls.setMaximumWidth(width if beside else _UNBOUNDED)
        chart = self.width() - (width if beside else 0) - space(8) - self.chooser.sizeHint().width()
        buttons = (self.sum_line, self.log_axis, self.fit_axis)
        toggles = sum(button.sizeHint().width() + space(1) for button in buttons)
        legend = self.legend.sizeHint().width()
        wide = chart >= space(130)
        self._choices.setDirection(_direction(chart >= legend + toggles))
        self._top.setDirection(_direction(wide))
        self._bottom.setDirection(_direction(wide))
        # Where it has a row of its own it may take two; beside the legend it keeps to one.
        self.step_line.setWordWrap(not wide)
        # Beside each other, the second line has the room that it needs and the reading all the rest.
        beside_policy = QSizePolicy.Policy.Preferred if wide else QSizePolicy.Policy.Ignored
        self.rest_line.setSizePolicy(beside_policy, QSizePolicy.Policy.Preferred)
        self.rest_line.setWordWrap(not wide)
        # A height of its own, so that nothing moves while the pointer goes from bar to bar.
        row = QFontMetrics(self.theme.mono("small")).lineSpacing()
        rows = 1 if chart >= space(75) else 2
        self.reading.setFixedHeight(row * rows + 2)
        self.reading.setWordWrap(rows > 1)
        # A view that is not open says nothing of itself when it needs less or more than before.
        for layout in (self._top, self._bottom, self._chart):
            layout.invalidate()
        for page in (*self.views.values(), self._pages):
            page.updateGeometry()
        align = Qt.AlignmentFlag.AlignRight if wide else Qt.AlignmentFlag.AlignLeft
        self.rest_line.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)


class _Pages(QStackedWidget):
    """Views of which one is open; what they would like to have makes no panel scroll, only what they need."""

    def sizeHint(self) -> QSize:
        return self.minimumSizeHint()


def _direction(beside: bool) -> QBoxLayout.Direction:
    return QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom


def _line(name: str, parent: QWidget) -> ElidedLabel:
    """A line of plain text that gives way instead of widening the panel."""
    label = ElidedLabel(parent)
    label.setObjectName(name)
    label.setProperty("role", "reading")
    return label


def _toggle(name: str, text: str, tooltip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setObjectName(name)
    button.setCheckable(True)
    button.setToolTip(tooltip)
    return button


def _rest(content: BarContent) -> str:
    """What is to be said of the tokens without a bar."""
    if not content.rest_count:
        return ""
    return (
        f"{content.rest_count:,} more tokens, {content.rest_kept:,} stay: "
        f"{percent_text(content.rest_before)} → {percent_text(content.rest_after)}"
    )


def _short(piece: str) -> str:
    return shorten(visible_piece(piece), _LONGEST_PIECE)


def _facts(distribution: Distribution) -> str:
    choices = distribution.effective_choices
    stay = "1 token stays" if distribution.kept_count == 1 else f"{distribution.kept_count:,} tokens stay"
    return (
        f"whole vocabulary {distribution.ranked.vocabulary_size:,} · {stay} · "
        f"mass cut {percent_text(distribution.mass_cut)} · entropy {distribution.entropy_bits:.2f} bits · "
        f"{choices:.1f} effective choices · perplexity {distribution.perplexity:.1f}"
    )


def _reading(bar: Bar) -> str:
    after = exact_text(bar.after) if bar.kept else "cut"
    return (
        f"{_short(bar.piece)} · ID {bar.token_id} · rank {bar.rank:,} · "
        f"model {exact_text(bar.before)} → {after}"
    )
