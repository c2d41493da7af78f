"""The decoder's loop as a row of cards: what it starts from, one card per step, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QTextOption,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState, Emphasis
from explorer.core.records import RunSnapshot
from explorer.core.selection import TokenRef
from explorer.panels.generation.force_menu import ForceMenu
from explorer.panels.generation.step_card import CardPainter, CardPart, under_other_settings
from explorer.panels.widgets.piece_text import plain_tooltip, shorten, visible_piece, visible_text
from explorer.theme import Theme

STALE_OPACITY = 0.45
_EXTENDING = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


@dataclass(frozen=True, slots=True)
class SideCard:
    """A card that is no step: what came before the loop, what comes next, or how it ended.

    Attributes
    ----------
    kind : str
        ``encoder``, ``prompt``, ``start``, ``next`` or ``end``.
    heading, main, note : str
        Its three lines; the note wraps.
    ref : TokenRef or None
        What a click selects.
    """

    kind: Literal["encoder", "prompt", "start", "next", "end"]
    heading: str
    main: str
    note: str
    ref: TokenRef | None = None


def cards_before(run: RunSnapshot) -> list[SideCard]:
    """What the loop starts from: the encoder's pass and the start tokens, or the prompt."""
    cards = []
    if run.encoder_shape is not None:
        rows, columns = run.encoder_shape
        note = f"done once: {rows:,} vectors, one per source token, of {columns:,} numbers each"
        cards.append(SideCard("encoder", "encoder pass", f"{rows:,} × {columns:,}", note))
    elif run.family == "decoder-only":
        count = len(run.source)
        text = shorten(visible_text(run.source.text[:200]), 60)
        cards.append(
            SideCard("prompt", "prompt", f"{count:,} token{'s' * (count != 1)}", f"read at once: {text}")
        )
    for i, token in enumerate(run.start_tokens):
        note = f"ID {token.id}: given, not chosen; the loop begins with it"
        cards.append(SideCard("start", "start token", visible_piece(token.piece), note, TokenRef("start", i)))
    return cards


def card_after(run: RunSnapshot) -> SideCard:
    """What comes after the last step: the step to come, or why there is none."""
    if run.stop_reason is not None:
        return SideCard("end", "loop ended", "■", run.stop_reason)
    count = len(run.steps)
    note = "press Step to write the next token" if count else "Press Step to write the first token."
    return SideCard("next", f"step {count}", "?", note)


class StepStrip(QAbstractScrollArea):
    """Cards that scroll sideways; only those in sight are painted.

    Everything here costs the visible cards, however many steps there are.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._before: list[SideCard] = []
        self._after: SideCard | None = None
        self._count = 0
        self._pointed_step: int | None = None
        self._shows_focus = False
        self.setObjectName("step_strip")
        self.setAccessibleName("Steps of the decoder")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.viewport().setMouseTracking(True)
        self.viewport().setObjectName("step_strip_viewport")
        self.viewport().setAutoFillBackground(False)
        self.cards = CardPainter(state, theme)

    # -- what is shown --------------------------------------------------------------------------

    def show_run(self, run: RunSnapshot | None) -> None:
        """Show ``run``; a step that was added comes into sight."""
        grew = run is not None and len(run.steps) > self._count
        self._before = [] if run is None else cards_before(run)
        self._after = None if run is None else card_after(run)
        self._count = 0 if run is None else len(run.steps)
        self._pointed_step = None
        self._update_range()
        bar = self.horizontalScrollBar()
        if grew:
            bar.setValue(bar.maximum())
        self.viewport().update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.cards = CardPainter(self.state, self.theme)
        self._update_range()
        self.viewport().update()

    def repaint_cards(self) -> None:
        """Redraw after a change of hover, selection or viewed step."""
        self.viewport().update()

    def ensure_visible(self, index: int, *, with_end: bool = False) -> None:
        """Scroll no further than needed to show step ``index`` whole, and the card after it if asked."""
        bar, left = self.horizontalScrollBar(), self._step_left(index)
        right = left + self.cards.width + (self._gap + self._side_width if with_end else 0)
        margin = self.theme.space(0.5)
        if right > bar.value() + self.viewport().width():
            bar.setValue(right + margin - self.viewport().width())
        if left < bar.value():
            bar.setValue(left - margin)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(
            4 * self.cards.width, self.cards.least_height + self.horizontalScrollBar().sizeHint().height()
        )

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.cards.width, self.theme.space(12))

    # -- where things are -----------------------------------------------------------------------

    @property
    def _gap(self) -> int:
        return self.theme.space(2.2)

    @property
    def _side_width(self) -> int:
        return self.theme.space(18)

    def _step_left(self, index: int) -> int:
        """Content position of step ``index``; one past the last step is the closing card."""
        edge = self.theme.space(0.5)
        return (
            edge + len(self._before) * (self._side_width + self._gap) + index * (self.cards.width + self._gap)
        )

    def _update_range(self) -> None:
        total = self._step_left(self._count) + self._side_width + self.theme.space(0.5)
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(0, total - self.viewport().width()) if self._after is not None else 0)
        bar.setPageStep(max(1, self.viewport().width()))
        bar.setSingleStep(self.theme.space(5))

    def step_rect(self, index: int) -> QRect:
        """Where the card of step ``index`` is in the viewport."""
        left = self._step_left(index) - self.horizontalScrollBar().value()
        return QRect(left, 0, self.cards.width, self.viewport().height())

    def _side_rect(self, position: int) -> QRect:
        """Where a card before the steps is, or with ``position`` -1 the card after them."""
        edge = self.theme.space(0.5)
        left = (
            self._step_left(self._count) if position < 0 else edge + position * (self._side_width + self._gap)
        )
        left -= self.horizontalScrollBar().value()
        return QRect(left, 0, self._side_width, self.viewport().height())

    def _side_cards(self) -> list[tuple[SideCard, QRect]]:
        placed = [(card, self._side_rect(i)) for i, card in enumerate(self._before)]
        if self._after is not None:
            placed.append((self._after, self._side_rect(-1)))
        return placed

    def _visible_steps(self, left: int, right: int) -> range:
        """Steps whose cards touch the viewport's columns from ``left`` to ``right``."""
        pitch = self.cards.width + self._gap
        origin = self._step_left(0) - self.horizontalScrollBar().value()
        first = max(0, (left - origin) // pitch)
        return range(min(first, self._count), min(self._count, max(0, (right - origin) // pitch + 1)))

    def step_part_at(self, point: QPoint) -> tuple[int, CardPart] | None:
        """The step whose card is under a point of the viewport, and which part of it."""
        run = self.state.run
        for i in self._visible_steps(point.x(), point.x()):
            rect = self.step_rect(i)
            if run is not None and i < len(run.steps) and rect.contains(point):
                return i, self.cards.part_at(run.steps[i], rect.height(), point - rect.topLeft())
        return None

    def part_rect(self, index: int, kind: str, token_id: int | None = None) -> QRect:
        """Where a part of step ``index`` is in the viewport; an empty rectangle when it is not shown."""
        assert self.state.run is not None
        rect = self.step_rect(index)
        for part in self.cards.parts(self.state.run.steps[index], rect.height()):
            if part.kind == kind and token_id in (None, part.token_id):
                return part.rect.translated(rect.topLeft())
        return QRect()

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        run = self.state.run
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.state.stale:
            painter.setOpacity(STALE_OPACITY)
        area = event.rect()
        for card, rect in self._side_cards():
            if rect.intersects(area.adjusted(-self._gap, 0, self._gap, 0)):
                self._paint_side(painter, card, rect)
        if run is not None:
            for i in self._visible_steps(area.left() - self._gap, area.right() + self._gap):
                viewed = i == self.state.viewed_step
                rect = self.step_rect(i)
                links = viewed or i == self._pointed_step
                self.cards.paint(painter, rect, run.steps[i], viewed=viewed, links=links)
                self._paint_arrow(painter, rect)
        if self._shows_focus:
            painter.setPen(QPen(self.theme.color("accent"), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_arrow(self, painter: QPainter, rect: QRect) -> None:
        """What this card hands on goes into the next one."""
        theme = self.theme
        y = self.cards.pad + self.cards.small_height + theme.space(0.5) + self.cards.chosen_height // 2
        left, right = rect.right() + theme.space(0.5), rect.right() + self._gap - theme.space(0.5)
        head = theme.space(0.6)
        painter.setPen(QPen(theme.color("faint"), 1.5))
        painter.drawLine(left, y, right, y)
        painter.drawLine(right, y, right - head, y - head)
        painter.drawLine(right, y, right - head, y + head)

    def _paint_side(self, painter: QPainter, card: SideCard, rect: QRect) -> None:
        theme, cards = self.theme, self.cards
        emphasis = Emphasis.NONE if card.ref is None else self.state.emphasis(card.ref)
        if card.kind == "next":
            painter.setPen(QPen(theme.color("faint"), 1.5, Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(rect).adjusted(1, 1, -1, -1), theme.space(0.8), theme.space(0.8))
        else:
            cards.paint_frame(painter, rect, emphasis, viewed=emphasis is Emphasis.SELECTED)
        inner = rect.adjusted(cards.pad, cards.pad, -cards.pad, -cards.pad)
        side = {"encoder": "source", "prompt": "source", "start": "generated"}.get(card.kind, "muted")
        heading = QRect(inner.left(), inner.top(), inner.width(), cards.small_height)
        cards.write(painter, heading, card.heading, cards.small_bold_font, theme.color(side))
        main = QRect(inner.left(), heading.bottom() + theme.space(0.5), inner.width(), cards.chosen_height)
        cards.write(painter, main, card.main, cards.chosen_font, theme.color("text"))
        note = QRect(inner.left(), main.bottom() + 1, inner.width(), inner.bottom() - main.bottom())
        painter.setFont(cards.small_font)
        painter.setPen(theme.color("text" if card.kind in ("end", "next") else "muted"))
        option = QTextOption(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        painter.drawText(QRectF(note), card.note, option)
        if card.kind not in ("end", "next"):
            self._paint_arrow(painter, rect)

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._update_range()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: D102
        # An ordinary wheel turns up and down only, and there is nothing here to scroll that way.
        delta = event.pixelDelta() if not event.pixelDelta().isNull() else event.angleDelta()
        bar = self.horizontalScrollBar()
        bar.setValue(bar.value() - (delta.x() or delta.y()))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() is not Qt.MouseButton.LeftButton:
            return
        point = event.position().toPoint()
        extend = bool(event.modifiers() & _EXTENDING)
        hit = self.step_part_at(point)
        if hit is not None:
            self._press_step(*hit, extend=extend)
            return
        card = self._side_card_at(point)
        if card is not None and card.kind == "next":
            self.state.step_requested.emit()
        else:
            self.state.select(None if card is None else card.ref, extend=extend)

    def _press_step(self, index: int, part: CardPart, *, extend: bool) -> None:
        self.state.set_viewed_step(index)
        if part.kind == "force_other":
            self.open_force_menu(index)
        elif part.kind == "force" and part.token_id is not None:
            self._force(index, part.token_id)
        elif part.kind == "alternative" and part.token_id is not None:
            self.state.select(TokenRef("vocabulary", part.token_id), extend=extend)
        else:
            self.state.select(TokenRef("generated", index), extend=extend)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        hit = self.step_part_at(event.position().toPoint())
        if hit is not None and hit[1].kind == "alternative" and hit[1].token_id is not None:
            self._force(hit[0], hit[1].token_id)

    def _force(self, index: int, token_id: int) -> None:
        # What is forced is always the step in view: that is what the person looks at.
        self.state.set_viewed_step(index)
        self.state.force_requested.emit(token_id)

    def open_force_menu(self, index: int) -> ForceMenu | None:
        """Open the menu of what step ``index`` could write instead; None when there is no such step."""
        run = self.state.run
        if run is None or not 0 <= index < len(run.steps):
            return None
        menu = ForceMenu(self.state, self.theme, run.steps[index], self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.token_chosen.connect(lambda token_id: self._force(index, token_id))
        below = self.part_rect(index, "force_other").bottomLeft()
        menu.popup(self.viewport().mapToGlobal(below))
        return menu

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        point = event.position().toPoint()
        hit = self.step_part_at(point)
        self._point_at(None if hit is None else hit[0])
        if hit is None:
            card = self._side_card_at(point)
            self.state.set_hover(None if card is None else card.ref)
        elif hit[1].kind in ("alternative", "force") and hit[1].token_id is not None:
            self.state.set_hover(TokenRef("vocabulary", hit[1].token_id))
        else:
            self.state.set_hover(TokenRef("generated", hit[0]))
        hand = hit is not None and hit[1].kind in ("force", "force_other")
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if hand else Qt.CursorShape.ArrowCursor)

    def _point_at(self, index: int | None) -> None:
        if index != self._pointed_step:
            self._pointed_step = index
            self.viewport().update()

    def _side_card_at(self, point: QPoint) -> SideCard | None:
        return next((card for card, rect in self._side_cards() if rect.contains(point)), None)

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.Leave:
            self._point_at(None)
            self.state.set_hover(None)
        elif isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point of the viewport."""
        hit, run = self.step_part_at(point), self.state.run
        if hit is None or run is None:
            card = self._side_card_at(point)
            return "" if card is None else f"{card.heading}: {card.main}\n{card.note}"
        index, part = hit
        step = run.steps[index]
        if part.kind == "force_other":
            return f"Write another token at step {index}: a new branch begins there, and this one stays."
        if part.token_id is not None and part.kind != "force":
            piece = shorten(visible_piece(self.state.piece(part.token_id)), 60)
            lines = [
                f"{piece}   token ID {part.token_id}",
                f"probability {part.probability:.6g}, rank {part.rank:,} (0 is the most likely)",
                "in the model's own distribution: temperature 1, nothing cut",
            ]
            if part.kind == "alternative":
                lines.append(
                    f"Click selects it; a double click writes it at step {index} instead, as a new branch."
                )
                return "\n".join(lines)
            how = {"forced": "forced by hand", "beam": "taken by the beam search"}.get(
                step.choice, f"chosen under: {step.params.summary}"
            )
            if under_other_settings(step, self.state.sampling):
                how += f" (now: {self.state.sampling.summary})"
            return "\n".join([*lines, how])
        if part.kind == "force" and part.token_id is not None:
            return f"Write this token at step {index} instead: a new branch begins there, and this one stays."
        return f"step {index}: entropy {step.entropy_bits:.4f} bits. Click to view it in every panel."

    # -- keys -----------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        viewed, last = self.state.viewed_step, self._count - 1
        targets = {
            Qt.Key.Key_Left: (viewed or 0) - 1,
            Qt.Key.Key_Right: (viewed or 0) + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        key = Qt.Key(event.key())
        if viewed is None:
            super().keyPressEvent(event)
        elif key in targets:
            index = min(max(targets[key], 0), last)
            self.state.set_viewed_step(index)
            self.state.select(TokenRef("generated", index))
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._move_in_card(-1 if key == Qt.Key.Key_Up else 1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_force_menu(viewed)
        elif key == Qt.Key.Key_Escape and self.state.selection.refs:
            self.state.select(None)
        else:
            super().keyPressEvent(event)

    def _move_in_card(self, delta: int) -> None:
        """Select the next or the previous token of the viewed card, the chosen one being the first."""
        step = self.state.step
        if step is None:
            return
        parts = self.cards.parts(step, self.viewport().height())
        refs = [TokenRef("generated", step.index)]
        refs += [
            TokenRef("vocabulary", part.token_id)
            for part in parts
            if part.kind == "alternative" and part.token_id is not None
        ]
        selected = self.state.selection.token
        here = refs.index(selected) if selected in refs else 0
        self.state.select(refs[min(max(here + delta, 0), len(refs) - 1)])

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: D102
        self._shows_focus = event.reason() in (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
        )
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: D102
        self._shows_focus = False
        super().focusOutEvent(event)
