"""One line that says through which stages a text goes, and at which one the window stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState
from explorer.core.moments import Moment, StageName, outcome, start_moments, step_moments
from explorer.core.records import ModelInfo
from explorer.panels.widgets.piece_text import plain_tooltip
from explorer.theme import Theme

MOST_LAYERS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Stage:
    """One pill of the strip.

    Attributes
    ----------
    name : str
        Which stage; several pills share it where a stage has layers.
    label, short_label : str
        What it is called, and what where room is short.
    side : str
        ``source`` (the encoder's side, blue), ``generated`` (the decoder's, green) or ``both``.
    explanation : str
        What happens there, in one sentence.
    joined : bool
        Whether it follows the pill before without an arrow: another layer of the same stack.
    layers : range or None
        Which layers it stands for; None where it is none of a stack.
    """

    name: StageName
    label: str
    short_label: str
    side: str
    explanation: str
    joined: bool = False
    layers: range | None = None

    def holds(self, moment: Moment) -> bool:
        """Whether ``moment`` is a place within this stage."""
        return moment.stage == self.name and (
            self.layers is None or moment.layer is None or moment.layer in self.layers
        )


def stages_of(model: ModelInfo, *, layers_apart: bool = True) -> list[Stage]:
    """The stages of a model's family, in the order in which a text goes through them."""
    encoder, decoder = model.layers.get("encoder", 0), model.layers.get("decoder", 0)
    reads = "source" if encoder else "generated"
    stages = [
        Stage(
            "tokenize",
            "Tokenize",
            "Tokenize",
            reads,
            "The text is cut into tokens, and each token becomes a number: its row in the vocabulary.",
        ),
        Stage(
            "embed",
            "Embed + position",
            "Embed",
            reads,
            f"Each token's number is looked up as a vector of {model.hidden_size:,} numbers; because all"
            " tokens are read at once, their positions are told to the model as well.",
        ),
    ]
    stages += _layers(
        "encoder",
        encoder,
        "source",
        "every source token takes in what it attends to in all the others (self-attention), then a"
        " feed-forward network works on each.",
        apart=layers_apart,
    )
    if model.family == "encoder-decoder":
        stages.append(
            Stage(
                "start",
                "Start token",
                "Start",
                "generated",
                "The decoder is handed a start token, which is given and not chosen; its loop begins there.",
            )
        )
    attends = "each token attends to the ones before it only (masked self-attention)"
    if "cross" in model.layers:
        attends += " and to what the encoder handed over (cross-attention)"
    stages += _layers(
        "decoder",
        decoder,
        "generated",
        f"{attends}, then a feed-forward network works on each.",
        apart=layers_apart,
    )
    stages += [
        Stage(
            "logits",
            "Logits",
            "Logits",
            "generated",
            f"The last vector becomes one score for each of the {model.vocabulary_size:,} tokens of the"
            " vocabulary.",
        ),
        Stage(
            "softmax",
            "Softmax",
            "Softmax",
            "generated",
            "The scores become probabilities that sum to 1; temperature, top-k and top-p reshape them.",
        ),
    ]
    taken = "One token is taken: the most likely one, a drawn one, or one that a person forces."
    fed = "put in the mask's place; where another mask is left, the text is read again with it."
    if decoder:
        fed = "the decoder's next input: the loop goes round until an end-of-sequence token."
    stages += [
        Stage("choose", "Choose", "Choose", "generated", taken),
        Stage(
            "feed",
            "Feed back" if decoder else "Fill in",
            "Feed" if decoder else "Fill",
            "generated",
            f"The chosen token is {fed}",
        ),
        Stage(
            "detokenize",
            "Detokenize",
            "Detok.",
            "generated",
            "The chosen tokens are put together again to text.",
        ),
    ]
    return stages


def _layers(
    name: Literal["encoder", "decoder"], count: int, side: str, sentence: str, *, apart: bool
) -> list[Stage]:
    if count == 0:
        return []
    title = name.capitalize()
    if not apart or count == 1:
        numbers = "0" if count == 1 else f"0–{count - 1}"
        told = f"{title} layer {numbers}: {sentence}"
        return [Stage(name, f"{title} {numbers}", title, side, told, layers=range(count))]
    shown: list[int | None] = list(range(count))
    if count > MOST_LAYERS_SHOWN:
        shown = [0, None, count - 1]
    stages: list[Stage] = []
    for layer in shown:
        number = "…" if layer is None else str(layer)
        label = number if stages else f"{title} {number}"
        which = f"layers 1 to {count - 2}" if layer is None else f"layer {layer}"
        layers = range(1, count - 1) if layer is None else range(layer, layer + 1)
        told = f"{title} {which}: {sentence}"
        stages.append(Stage(name, label, label, side, told, bool(stages), layers))
    return stages


def moment_of(state: AppState) -> Moment | None:
    """Where the window stands: inside a step, or at what is the newest on show; None without a text.

    Read off the state alone. While the worker is busy nothing is known of where it is, so that the
    moment stays with what is on show.
    """
    if state.model is None or state.source is None or not state.source.tokens:
        return None
    if state.run is None or state.stale:
        return Moment("tokenize")
    return state.generation.moment or outcome(state.model, state.run, state.viewed_step)


class PipelineStrip(QWidget):
    """The stages as pills; the current one is amber with a thick border, those before it are filled.

    A click on a pill stands at that moment of the viewed step; Left and Right go one moment back and
    on. All panels go along as far as they show the moment: a layer's attention, its part of the stream.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._stages: list[Stage] = []
        self._rects: list[QRect] = []
        self._labels: list[str] = []
        self._moment: Moment | None = None
        self.setObjectName("pipeline_strip")
        self.setAccessibleName("Stages of the model")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        state.model_changed.connect(self._update_stages)
        for signal in (
            state.source_changed,
            state.run_changed,
            state.viewed_step_changed,
            state.stale_changed,
            state.generation.moment_changed,
        ):
            signal.connect(self._update_moment)
        theme.changed.connect(self._update_theme)
        self._update_stages()

    @property
    def stages(self) -> list[Stage]:
        """The pills on show, from left to right."""
        return list(self._stages)

    @property
    def moment(self) -> Moment | None:
        """Where the window stands."""
        return self._moment

    @property
    def current_index(self) -> int | None:
        """Which pill is highlighted."""
        moment = self._moment
        if moment is None:
            return None
        return next((i for i, stage in enumerate(self._stages) if stage.holds(moment)), None)

    # -- one method per signal ------------------------------------------------------------------

    def _update_stages(self) -> None:
        self._place()
        self._update_moment()

    def _update_moment(self) -> None:
        self._moment = moment_of(self.state)
        current = self.current_index
        self.setAccessibleDescription("" if current is None else f"now: {self.label_of(current)}")
        self.update()

    def label_of(self, index: int) -> str:
        """What stands on a pill; one that holds several layers names the one that is stood at."""
        stage, moment, label = self._stages[index], self._moment, self._labels[index]
        if moment is None or moment.layer is None or not stage.holds(moment):
            return label
        if stage.joined:
            return str(moment.layer)
        many = stage.layers is not None and len(stage.layers) > 1
        return f"{stage.name.capitalize()} {moment.layer}" if many and label == stage.label else label

    def _update_theme(self) -> None:
        self.updateGeometry()
        self._place()

    # -- layout ---------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(120), self._pill_height() + self._loop_height() + 2)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(40), self.sizeHint().height())

    def stage_rect(self, index: int) -> QRect:
        """Where pill ``index`` is."""
        return self._rects[index]

    def _font(self, *, bold: bool = False) -> QFont:
        return self.theme.prose("body", bold=bold)

    def _pill_height(self) -> int:
        return QFontMetrics(self._font()).height() + self.theme.space(1)

    def _loop_height(self) -> int:
        return self.theme.space(1.2)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._place()

    def _place(self) -> None:
        """Place the pills with as much air, and with labels as long, as the width allows."""
        model = self.state.model
        self._stages, self._rects, self._labels = [], [], []
        self.update()
        if model is None:
            return
        apart, together = stages_of(model), stages_of(model, layers_apart=False)
        long, short = False, True
        for stages, brief, air in (
            (apart, long, 2.0),
            (apart, long, 1.0),
            (apart, short, 1.0),
            (together, long, 1.0),
            (together, short, 0.6),
        ):
            widths = self._widths(stages, air, brief=brief)
            if sum(widths) + self._gaps(stages, air) <= self.width():
                break
        spare = self.width() - self._gaps(stages, air)
        if sum(widths) > spare:
            # Nothing shorter is left: all give way alike, and labels are elided.
            widths = [max(1, width * spare // sum(widths)) for width in widths]
        x = 0
        for i, (stage, width) in enumerate(zip(stages, widths, strict=True)):
            if i:
                x += self._gap(stage, air)
            self._rects.append(QRect(x, 1, width, self._pill_height()))
            self._labels.append(stage.short_label if brief else stage.label)
            x += width
        self._stages = list(stages)

    def _widths(self, stages: Sequence[Stage], air: float, *, brief: bool) -> list[int]:
        # Bold, though only one is: nothing may move when the moment does.
        metrics = QFontMetrics(self._font(bold=True))
        pad = self.theme.space(air)
        return [
            metrics.horizontalAdvance(stage.short_label if brief else stage.label) + 2 * pad
            for stage in stages
        ]

    def _gap(self, stage: Stage, air: float) -> int:
        return self.theme.space(0.7 if stage.joined else 1.4 + 1.2 * air)

    def _gaps(self, stages: Sequence[Stage], air: float) -> int:
        return sum(self._gap(stage, air) for stage in stages[1:])

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        current = self.current_index
        for i, stage in enumerate(self._stages):
            if i and not stage.joined:
                self._paint_arrow(painter, self._rects[i - 1].right(), self._rects[i].left())
            self._paint_pill(painter, i, current=i == current, done=current is not None and i <= current)
        self._paint_loop(painter)
        if self.hasFocus() and current is not None:
            painter.setPen(QPen(self.theme.color("accent"), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self._rects[current].adjusted(-2, 0, 2, 1))
        painter.end()

    def _paint_pill(self, painter: QPainter, index: int, *, current: bool, done: bool) -> None:
        theme, stage, rect = self.theme, self._stages[index], self._rects[index]
        pen = QPen(theme.side_color(stage.side) if done else theme.color("border"), 1)
        fill = theme.side_fill(stage.side) if done else theme.color("surface")
        if current:
            pen, fill = QPen(theme.color("selection"), 3), theme.color("selection_fill")
        inset, radius = pen.widthF() / 2, rect.height() / 2
        painter.setPen(pen)
        painter.setBrush(fill)
        painter.drawRoundedRect(QRectF(rect).adjusted(inset, inset, -inset, -inset), radius, radius)
        font = self._font(bold=current)
        painter.setFont(font)
        painter.setPen(theme.color("text") if done else theme.side_color(stage.side))
        room = rect.width() - 2 * theme.space(0.4)
        label = QFontMetrics(font).elidedText(self.label_of(index), Qt.TextElideMode.ElideRight, room)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, label)

    def _paint_arrow(self, painter: QPainter, left: int, right: int) -> None:
        gap = max(2, (right - left) // 5)
        y, tip, head = self._rects[0].center().y(), right - gap, self.theme.space(0.5)
        painter.setPen(QPen(self.theme.color("faint"), 1.3))
        painter.drawLine(left + gap, y, tip, y)
        painter.drawLine(tip, y, tip - head, y - head)
        painter.drawLine(tip, y, tip - head, y + head)

    def _paint_loop(self, painter: QPainter) -> None:
        """The way back: what was chosen is the next input."""
        names = [stage.name for stage in self._stages]
        if "feed" not in names:
            return
        theme = self.theme
        # A decoder-only model embeds what it wrote by the same table as the prompt.
        into = names.index("decoder") if "start" in names else names.index("embed")
        start, end = self._rects[names.index("feed")], self._rects[into]
        top, bottom = start.bottom() + 2, self.height() - 2
        right, left, head = start.center().x(), end.center().x(), theme.space(0.5)
        painter.setPen(QPen(theme.color("faint"), 1.3))
        painter.drawLine(right, top, right, bottom)
        painter.drawLine(right, bottom, left, bottom)
        painter.drawLine(left, bottom, left, top)
        painter.drawLine(left, top, left - head, top + head)
        painter.drawLine(left, top, left + head, top + head)

    # -- gestures -------------------------------------------------------------------------------

    def _reachable(self, index: int) -> Moment | None:
        """The moment that a click on a pill stands at; None where the viewed step has none there."""
        model, run = self.state.model, self.state.run
        if model is None or run is None or self.state.stale:
            return None
        moments = step_moments(model, run, self.state.viewed_step)
        # What happened once, before the first step, can be looked at from any step.
        return next((m for m in (*moments, *start_moments(model)) if self._stages[index].holds(m)), None)

    def _index_at(self, point: QPoint) -> int | None:
        return next((i for i, rect in enumerate(self._rects) if rect.contains(point)), None)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        index = self._index_at(event.position().toPoint())
        moment = None if index is None else self._reachable(index)
        if event.button() is Qt.MouseButton.LeftButton and moment is not None:
            # Stopped where the hand points, not walked away from.
            self.state.generation.set_playing(False)
            inside = self.state.generation.moment is not None
            self.state.generation.set_moment(None if inside and moment == self._moment else moment)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        index = self._index_at(event.position().toPoint())
        hand = index is not None and self._reachable(index) is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if hand else Qt.CursorShape.ArrowCursor)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        move = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if move is not None and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.state.generation.moment_move_requested.emit(move)
        elif event.key() == Qt.Key.Key_Escape and self.state.generation.moment is not None:
            self.state.generation.set_moment(None)
        else:
            super().keyPressEvent(event)

    # -- tooltips -------------------------------------------------------------------------------

    def explanation_at(self, point: QPoint) -> str:
        """What happens in the stage under ``point``; empty where there is none."""
        for stage, rect in zip(self._stages, self._rects, strict=True):
            if rect.contains(point):
                return stage.explanation
        return ""

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.explanation_at(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text, wrap=True) if text else "", self)
            return True
        return super().event(event)
