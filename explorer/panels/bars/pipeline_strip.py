"""One line that says through which stages a text goes, and which one the window shows now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QHelpEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState
from explorer.core.records import ModelInfo
from explorer.panels.widgets.piece_text import plain_tooltip
from explorer.theme import Theme

MOST_LAYERS_SHOWN = 8
StageName = Literal[
    "tokenize", "embed", "encoder", "start", "decoder", "logits", "softmax", "choose", "detokenize"
]


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
    """

    name: StageName
    label: str
    short_label: str
    side: str
    explanation: str
    joined: bool = False


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
    taken = "One token is taken, the most likely one or a drawn one, and "
    if decoder:
        taken += "fed back as the next input: the loop goes round until an end-of-sequence token."
    else:
        taken += "put in the mask's place; where another mask is left, the text is read again with it."
    stages += [
        Stage("choose", "Choose", "Choose", "generated", taken),
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
        return [Stage(name, f"{title} {numbers}", title, side, f"{title} layer {numbers}: {sentence}")]
    shown: list[int | None] = list(range(count))
    if count > MOST_LAYERS_SHOWN:
        shown = [0, None, count - 1]
    stages: list[Stage] = []
    for layer in shown:
        number = "…" if layer is None else str(layer)
        label = number if stages else f"{title} {number}"
        which = f"layers 1 to {count - 2}" if layer is None else f"layer {layer}"
        stages.append(Stage(name, label, label, side, f"{title} {which}: {sentence}", bool(stages)))
    return stages


def moment_of(state: AppState) -> StageName | None:
    """The stage whose outcome is the newest on show; None before there is a text.

    Read off the state alone. While the worker is busy nothing is known of where it is, so that the
    moment stays with what is on show.
    """
    if state.model is None or state.source is None or not state.source.tokens:
        return None
    run = state.run
    if run is None or state.stale:
        return "tokenize"
    if not run.steps:
        return "start" if run.start_tokens else "tokenize"
    last = state.viewed_step == len(run.steps) - 1
    return "detokenize" if run.finished and last else "choose"


class PipelineStrip(QWidget):
    """The stages as pills; the current one is amber with a thick border, those before it are filled.

    Nothing in it answers to a click, as there is no single stage that a panel could show alone.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._stages: list[Stage] = []
        self._rects: list[QRect] = []
        self._labels: list[str] = []
        self._moment: StageName | None = None
        self.setObjectName("pipeline_strip")
        self.setAccessibleName("Stages of the model")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        state.model_changed.connect(self._update_stages)
        for signal in (
            state.source_changed,
            state.run_changed,
            state.viewed_step_changed,
            state.stale_changed,
        ):
            signal.connect(self._update_moment)
        theme.changed.connect(self._update_theme)
        self._update_stages()

    @property
    def stages(self) -> list[Stage]:
        """The pills on show, from left to right."""
        return list(self._stages)

    @property
    def moment(self) -> StageName | None:
        """The highlighted stage."""
        return self._moment

    def current_indices(self) -> list[int]:
        """Which pills are highlighted: of a stage with layers the last, as all of them are done."""
        found = [i for i, stage in enumerate(self._stages) if stage.name == self._moment]
        return found[-1:]

    # -- one method per signal ------------------------------------------------------------------

    def _update_stages(self) -> None:
        self._place()
        self._update_moment()

    def _update_moment(self) -> None:
        self._moment = moment_of(self.state)
        current = self.current_indices()
        self.setAccessibleDescription(f"now: {self._stages[current[0]].label}" if current else "")
        self.update()

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
        current = self.current_indices()
        for i, stage in enumerate(self._stages):
            if i and not stage.joined:
                self._paint_arrow(painter, self._rects[i - 1].right(), self._rects[i].left())
            self._paint_pill(painter, i, current=i in current, done=bool(current) and i <= current[0])
        self._paint_loop(painter)
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
        label = QFontMetrics(font).elidedText(self._labels[index], Qt.TextElideMode.ElideRight, room)
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
        if "choose" not in names:
            return
        theme = self.theme
        # A decoder-only model embeds what it wrote by the same table as the prompt.
        into = names.index("decoder") if "start" in names else names.index("embed")
        start, end = self._rects[names.index("choose")], self._rects[into]
        top, bottom = start.bottom() + 2, self.height() - 2
        right, left, head = start.center().x(), end.center().x(), theme.space(0.5)
        painter.setPen(QPen(theme.color("faint"), 1.3))
        painter.drawLine(right, top, right, bottom)
        painter.drawLine(right, bottom, left, bottom)
        painter.drawLine(left, bottom, left, top)
        painter.drawLine(left, top, left - head, top + head)
        painter.drawLine(left, top, left + head, top + head)

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
