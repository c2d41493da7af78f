"""A flow of token chips, painted in one widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
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
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState, Emphasis
from explorer.core.selection import TokenRef
from explorer.panels.widgets.piece_text import plain_tooltip, visible_piece
from explorer.theme import Theme

STALE_OPACITY = 0.45
_EXTENDING = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip: a token, or with no ``ref`` the token to come.

    Attributes
    ----------
    ref : TokenRef or None
        What a click selects.
    piece, below : str
        The first and the second line.
    special : bool
        Drawn in italics with a dashed outline.
    """

    ref: TokenRef | None
    piece: str
    below: str
    special: bool = False


class TokenStrip(QAbstractScrollArea):
    """Chips that wrap to lines and scroll when they must; only the lines in sight are painted.

    Parameters
    ----------
    describe : callable
        Gives the plain text of a chip's tooltip.

    Notes
    -----
    `set_chips` and a resize are O(chips); a hover, a selection or a scroll costs the visible chips.
    """

    def __init__(
        self,
        state: AppState,
        theme: Theme,
        name: str,
        describe: Callable[[Chip], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._describe = describe
        self._chips: tuple[Chip, ...] = ()
        self._rects: list[QRect] = []
        self._line_starts: list[int] = []
        self._placed: dict[int, tuple[list[QRect], list[int], int]] = {}
        self._widths: dict[tuple[str, str, bool], int] = {}
        self._index_of: dict[TokenRef, int] = {}
        self._flowed_for = QSize()
        self._dimmed = False
        self._shows_focus = False
        self.setObjectName(name)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # Without this a scroll area asks for 75 pixels, and the panel could not be made small.
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.viewport().setMouseTracking(True)
        self.viewport().setObjectName(f"{name}_viewport")
        self.viewport().setAutoFillBackground(False)
        self._read_fonts()

    # -- what is shown --------------------------------------------------------------------------

    @property
    def chips(self) -> tuple[Chip, ...]:
        """The chips, in order."""
        return self._chips

    def set_chips(self, chips: Sequence[Chip]) -> None:
        """Show ``chips``; the place that was scrolled to stays. O(chips) where they only grew."""
        before, self._chips = self._chips, tuple(chips)
        self._index_of = {chip.ref: i for i, chip in enumerate(self._chips) if chip.ref is not None}
        pairs = enumerate(zip(before, self._chips, strict=False))
        least = min(len(before), len(self._chips))
        same = next((i for i, (old, new) in pairs if old is not new and old != new), least)
        # What stands before the first other chip stays where it is.
        for width, (rects, starts, _) in list(self._placed.items()):
            self._placed[width] = self._go_on(width, rects[:same], [i for i in starts if i < same])
        self._flow()

    def set_dimmed(self, dimmed: bool) -> None:
        """Paint everything paler: it belongs to an older text."""
        if dimmed != self._dimmed:
            self._dimmed = dimmed
            self.viewport().update()

    def repaint_chips(self) -> None:
        """Redraw after a change of hover or selection."""
        self.viewport().update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._read_fonts()
        self._placed.clear()
        self._flow()

    def height_for(self, width: int) -> int:
        """Pixels that all chips need at ``width``."""
        return self._place(width)[2] if self._chips else 0

    def chip_rect(self, index: int) -> QRect:
        """Where chip ``index`` is in the viewport."""
        return self._rects[index].translated(0, -self.verticalScrollBar().value())

    def index_of(self, ref: TokenRef) -> int | None:
        """Which chip stands for ``ref``."""
        return self._index_of.get(ref)

    def ensure_visible(self, index: int) -> None:
        """Scroll no further than needed to show chip ``index`` whole."""
        if not 0 <= index < len(self._rects):
            return
        bar, rect = self.verticalScrollBar(), self._rects[index].adjusted(0, -self._gap, 0, self._gap)
        if rect.top() < bar.value():
            bar.setValue(rect.top())
        elif rect.bottom() > bar.value() + self.viewport().height():
            bar.setValue(rect.bottom() - self.viewport().height() + 1)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, self.height_for(320))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(0, 0)

    # -- layout ---------------------------------------------------------------------------------

    def _read_fonts(self) -> None:
        theme = self.theme
        self._piece_font, self._id_font = theme.mono("body", bold=True), theme.mono("small")
        self._special_font = QFont(self._piece_font)
        self._special_font.setItalic(True)
        self._special_font.setWeight(QFont.Weight.Normal)
        self._gap, self._pad = theme.space(0.75), theme.space(1)
        self._piece_height = QFontMetrics(self._piece_font).height()
        self._chip_height = self._piece_height + QFontMetrics(self._id_font).height() + theme.space(1)
        self._widths.clear()

    def _width_of(self, chip: Chip) -> int:
        key = (chip.piece, chip.below, chip.special)
        if key not in self._widths:
            piece = QFontMetrics(self._font_of(chip)).horizontalAdvance(visible_piece(chip.piece))
            below = QFontMetrics(self._id_font).horizontalAdvance(chip.below)
            self._widths[key] = max(piece, below) + 2 * self._pad
        return min(self._widths[key], self.theme.space(36))

    def _font_of(self, chip: Chip) -> QFont:
        return self._special_font if chip.special else self._piece_font

    def _place(self, width: int) -> tuple[list[QRect], list[int], int]:
        """Where each chip goes, which chip begins each line, and the height of it all; kept per width."""
        if width in self._placed:
            return self._placed[width]
        # A panel asks for the height at its width, with and without a scroll bar, before it settles;
        # widths of long ago are of no use.
        if len(self._placed) >= 4:
            self._placed.clear()
        self._placed[width] = self._go_on(width, [], [])
        return self._placed[width]

    def _go_on(self, width: int, rects: list[QRect], starts: list[int]) -> tuple[list[QRect], list[int], int]:
        """Place the chips behind those that ``rects`` are for."""
        # The selected chip's border is 3 px thick and must not be cut at the viewport's edge.
        edge = 2
        x, y = (rects[-1].x() + rects[-1].width() + self._gap, rects[-1].y()) if rects else (edge, edge)
        for i in range(len(rects), len(self._chips)):
            chip_width = min(self._width_of(self._chips[i]), max(1, width - 2 * edge))
            if not starts or x + chip_width > width - edge:
                y += self._chip_height + self._gap if starts else 0
                x = edge
                starts.append(i)
            rects.append(QRect(x, y, chip_width, self._chip_height))
            x += chip_width + self._gap
        return rects, starts, y + self._chip_height + edge

    def _flow(self) -> None:
        # Whether to scroll is decided here: Qt would decide by a width that already lacks the bar.
        bar = self.verticalScrollBar()
        self._flowed_for = self.size()
        self._rects, self._line_starts, height = self._place(self.width())
        scrolls = bool(self._chips) and height > self.height()
        if scrolls:
            self._rects, self._line_starts, height = self._place(self.width() - bar.sizeHint().width())
        policies = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(
            policies.ScrollBarAlwaysOn if scrolls else policies.ScrollBarAlwaysOff
        )
        bar.setRange(0, height - self.height() if scrolls else 0)
        bar.setPageStep(max(1, self.height()))
        bar.setSingleStep(max(1, (self._chip_height + self._gap) // 2))
        self.updateGeometry()
        self.viewport().update()

    def _visible_range(self, top: int, bottom: int) -> range:
        """Indices of the chips on lines that touch the content rows from ``top`` to ``bottom``."""
        pitch = self._chip_height + self._gap
        first = min(max(0, top // pitch), len(self._line_starts))
        last = min(max(0, bottom // pitch + 1), len(self._line_starts))
        starts = [*self._line_starts, len(self._chips)]
        return range(starts[first], starts[last])

    def chip_at(self, point: QPoint) -> int | None:
        """Index of the chip under a point of the viewport."""
        y = point.y() + self.verticalScrollBar().value()
        for i in self._visible_range(y, y):
            if self._rects[i].contains(point.x(), y):
                return i
        return None

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        scroll = self.verticalScrollBar().value()
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._dimmed:
            painter.setOpacity(STALE_OPACITY)
        area = event.rect()
        for i in self._visible_range(area.top() + scroll, area.bottom() + scroll):
            self._paint_chip(painter, self._chips[i], self._rects[i].translated(0, -scroll))
        if self._shows_focus:
            painter.setPen(QPen(self.theme.color("accent"), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_chip(self, painter: QPainter, chip: Chip, rect: QRect) -> None:
        emphasis = Emphasis.NONE if chip.ref is None else self.state.emphasis(chip.ref)
        pen, fill = self._outline(chip, emphasis)
        inset = pen.widthF() / 2
        painter.setPen(pen)
        painter.setBrush(fill)
        radius = self.theme.space(0.8)
        painter.drawRoundedRect(QRectF(rect).adjusted(inset, inset, -inset, -inset), radius, radius)
        inner = rect.adjusted(self._pad // 2, 0, -(self._pad // 2), 0)
        top = rect.top() + self.theme.space(0.5)
        piece_font = self._font_of(chip)
        if chip.ref is None:
            painter.setFont(self.theme.mono("title", bold=True))
            painter.setPen(self.theme.color("muted"))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, chip.piece)
            return
        painter.setFont(piece_font)
        painter.setPen(self.theme.color("muted" if chip.special else "text"))
        text = QFontMetrics(piece_font).elidedText(
            visible_piece(chip.piece), Qt.TextElideMode.ElideMiddle, inner.width()
        )
        flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextSingleLine
        # The underscore of some fonts lies below what they give as their height.
        unclipped = flags | Qt.TextFlag.TextDontClip
        painter.drawText(QRect(inner.left(), top, inner.width(), self._piece_height), unclipped, text)
        painter.setFont(self._id_font)
        painter.setPen(self.theme.color("muted"))
        painter.drawText(
            QRect(inner.left(), top + self._piece_height, inner.width(), rect.height()), flags, chip.below
        )

    def _outline(self, chip: Chip, emphasis: Emphasis) -> tuple[QPen, QColor]:
        theme = self.theme
        line = Qt.PenStyle.DashLine if chip.special or chip.ref is None else Qt.PenStyle.SolidLine
        if chip.ref is None:
            return QPen(theme.color("faint"), 1.5, line), theme.color("surface")
        if emphasis is Emphasis.SELECTED:
            return QPen(theme.color("selection"), 3), theme.color("selection_fill")
        if emphasis is Emphasis.HOVERED:
            return QPen(theme.color("selection"), 1.5, line), theme.color("selection_fill")
        if emphasis is Emphasis.SAME:
            return QPen(theme.color("selection"), 1.5, line), theme.color("surface")
        return QPen(theme.side_color(chip.ref.side), 1.5, line), theme.color("surface")

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        # Qt also sends this when the bar comes or goes, which changes nothing here.
        if self._flowed_for != self.size():
            self._flow()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() is not Qt.MouseButton.LeftButton:
            return
        index = self.chip_at(event.position().toPoint())
        chip = None if index is None else self._chips[index]
        if chip is not None and chip.ref is None:
            self.state.step_requested.emit()
        else:
            extend = bool(event.modifiers() & _EXTENDING)
            self.state.select(chip.ref if chip is not None else None, extend=extend)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        index = self.chip_at(event.position().toPoint())
        self.state.set_hover(None if index is None else self._chips[index].ref)

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.Leave:
            self.state.set_hover(None)
        elif isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            self._show_tooltip(event)
            return True
        return super().viewportEvent(event)

    def _show_tooltip(self, event: QHelpEvent) -> None:
        index = self.chip_at(event.pos())
        if index is None:
            QToolTip.hideText()
            return
        text = plain_tooltip(self._describe(self._chips[index]))
        QToolTip.showText(event.globalPos(), text, self.viewport(), self.chip_rect(index))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.state.move_selection(-1 if event.key() == Qt.Key.Key_Left else 1)
        elif event.key() == Qt.Key.Key_Escape and self.state.selection.refs:
            self.state.select(None)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: D102
        # A click already shows where it went; only someone on the keyboard has to be told.
        self._shows_focus = event.reason() in (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
        )
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: D102
        self._shows_focus = False
        super().focusOutEvent(event)
