"""Branches drawn as rows of tokens, forks as lines: what the tree and the beam search are shown with."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QLineF, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
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
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from explorer.app.state import AppState
from explorer.core.branch_lanes import LaneLayout, lay_out
from explorer.core.branches import ROOT, RunTree
from explorer.core.selection import TokenRef
from explorer.panels.generation.step_card import under_other_settings
from explorer.panels.widgets.piece_text import plain_tooltip, visible_piece
from explorer.theme import Theme

STALE_OPACITY = 0.45


@dataclass(frozen=True, slots=True)
class LaneLabel:
    """What stands on the left of a row.

    Attributes
    ----------
    name : str
        Which branch.
    facts : str
        Its numbers, flush right.
    strong : bool
        Whether it is the one to look at.
    told : str
        Both in full, for the tooltip.
    """

    name: str
    facts: str
    strong: bool = False
    told: str = ""


@dataclass(frozen=True, eq=False)
class LaneContent:
    """A tree, laid out and labelled.

    Attributes
    ----------
    tree : RunTree
        Whose nodes are drawn.
    layout : LaneLayout
        Where; it may leave nodes out.
    labels : tuple of LaneLabel
        One a row.
    caption : str
        What the labels' numbers are.
    """

    tree: RunTree
    layout: LaneLayout
    labels: tuple[LaneLabel, ...]
    caption: str = ""


EMPTY = LaneContent(RunTree(()), lay_out(((),)), ())


class LaneView(QAbstractScrollArea):
    """Rows of tokens that scroll both ways, with the rows' labels standing still on the left.

    The branch on show is green, the viewed step amber with a thick border, a token that was chosen
    under other settings than the present ones dashed; the line at a token's foot is its probability.
    Only what is in sight is painted, whatever the tree's size; forks cost one line each.

    Signals
    -------
    node_chosen : int, int
        A person clicked a node, or went to it with the arrow keys; and the last node of its row.
    row_hovered : int
        The pointer is over a row; -1 when it is over none.
    rename_wanted : int
        A double click or F2 on a row's label.
    menu_wanted : int, int, QPoint
        A right click on a row: which, the node under it or -1, and where on the screen.
    """

    node_chosen = Signal(int, int)
    row_hovered = Signal(int)
    rename_wanted = Signal(int)
    menu_wanted = Signal(int, int, QPoint)

    def __init__(self, state: AppState, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.content = EMPTY
        self._on_show: frozenset[int] = frozenset()
        self._cursor: int | None = None
        self._hovered = -1
        self.setObjectName(name)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.update_theme()

    # -- what is shown --------------------------------------------------------------------------

    def show_content(self, content: LaneContent) -> None:
        """Show another tree, or the same one grown."""
        self.content = content
        self._update_ranges()
        self.viewport().update()

    def show_place(self, on_show: frozenset[int], cursor: int | None) -> None:
        """Mark the nodes of the branch on show and the viewed one, which comes into sight."""
        moved = cursor != self._cursor
        self._on_show, self._cursor = on_show, cursor
        if moved and cursor is not None:
            self.ensure_visible(cursor)
        self.viewport().update()

    @property
    def cursor_node(self) -> int | None:
        """The viewed step's node."""
        return self._cursor

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        space = self.theme.space
        self.piece_font = self.theme.mono("small")
        self.bold_font = self.theme.mono("small", bold=True)
        self.small_font = self.theme.prose("small")
        self.small_bold_font = self.theme.prose("small", bold=True)
        line = QFontMetrics(self.piece_font).height()
        self.chip_height = line + space(0.9)
        self.row_height = self.chip_height + space(0.8)
        self.header_height = QFontMetrics(self.small_font).height() + space(0.3)
        self.pitch = space(11)
        self.gap = space(1.6)
        self.label_width = space(21)
        self._update_ranges()
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.label_width + 5 * self.pitch, self.header_height + 5 * self.row_height)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(15), self.header_height + self.row_height)

    # -- where things are -----------------------------------------------------------------------

    def _update_ranges(self) -> None:
        layout, view = self.content.layout, self.viewport()
        width = layout.columns * self.pitch + self.theme.space(1)
        height = len(layout.lanes) * self.row_height
        room = view.width() - self.label_width, view.height() - self.header_height
        for bar, size, space, step in (
            (self.horizontalScrollBar(), width, room[0], self.pitch),
            (self.verticalScrollBar(), height, room[1], self.row_height),
        ):
            bar.setRange(0, max(0, size - space))
            bar.setPageStep(max(1, space))
            bar.setSingleStep(step)

    def _column_left(self, column: int) -> int:
        return self.label_width + column * self.pitch - self.horizontalScrollBar().value()

    def _row_top(self, row: int) -> int:
        return self.header_height + row * self.row_height - self.verticalScrollBar().value()

    def node_rect(self, node: int) -> QRect:
        """Where a node's token is in the viewport; empty for a node that is not drawn."""
        row = self.content.layout.row_of.get(node)
        if row is None:
            return QRect()
        lane = self.content.layout.lanes[row]
        return self._chip(row, lane.column_of(node))

    def _chip(self, row: int, column: int) -> QRect:
        return QRect(
            self._column_left(column),
            self._row_top(row) + (self.row_height - self.chip_height) // 2,
            self.pitch - self.gap,
            self.chip_height,
        )

    def label_rect(self, row: int) -> QRect:
        """Where a row's label is."""
        return QRect(0, self._row_top(row), self.label_width - self.theme.space(1), self.row_height)

    def row_at(self, point: QPoint) -> int | None:
        """The row under a point of the viewport."""
        if point.y() < self.header_height:
            return None
        row = (point.y() - self._row_top(0)) // self.row_height
        return row if 0 <= row < len(self.content.layout.lanes) else None

    def node_at(self, point: QPoint) -> int | None:
        """The node under a point of the viewport."""
        row = self.row_at(point)
        if row is None or point.x() < self.label_width:
            return None
        column = (point.x() - self._column_left(0)) // self.pitch
        node = self.content.layout.lanes[row].node_at(column)
        return node if node is not None and self._chip(row, column).contains(point) else None

    def ensure_visible(self, node: int) -> None:
        """Scroll no further than needed to show ``node``."""
        rect = self.node_rect(node)
        if rect.isEmpty():
            return
        view, across, down = self.viewport(), self.horizontalScrollBar(), self.verticalScrollBar()
        if rect.left() < self.label_width:
            # One step before it stays in sight: what it followed, and the fork where it is one.
            across.setValue(across.value() + rect.left() - self.label_width - self.pitch)
        elif rect.right() > view.width():
            across.setValue(across.value() + rect.right() + self.gap - view.width())
        if rect.top() < self.header_height:
            down.setValue(down.value() + rect.top() - self.header_height - self.theme.space(0.4))
        elif rect.bottom() > view.height():
            down.setValue(down.value() + rect.bottom() - view.height() + self.theme.space(0.4))

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        view, lanes = self.viewport(), self.content.layout.lanes
        with QPainter(view) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if self.state.stale:
                painter.setOpacity(STALE_OPACITY)
            first = max(0, self.verticalScrollBar().value() // self.row_height)
            rows = range(first, min(len(lanes), first + view.height() // self.row_height + 2))
            start = max(0, self.horizontalScrollBar().value() // self.pitch)
            columns = range(start, min(self.content.layout.columns, start + view.width() // self.pitch + 2))
            painter.save()
            painter.setClipRect(view.rect().adjusted(self.label_width, self.header_height, 0, 0))
            self._paint_forks(painter)
            for row in rows:
                for column in columns:
                    node = lanes[row].node_at(column)
                    if node is not None:
                        self._paint_node(painter, node, self._chip(row, column))
            painter.restore()
            self._paint_header(painter, columns)
            painter.setClipRect(view.rect().adjusted(0, self.header_height, 0, 0))
            for row in rows:
                self._paint_label(painter, row)

    def _paint_header(self, painter: QPainter, columns: range) -> None:
        caption = QRect(0, 0, self.label_width - self.theme.space(1), self.header_height)
        self.write(painter, caption, self.content.caption, self.small_font, "muted", right=True)
        painter.save()
        painter.setClipRect(self.viewport().rect().adjusted(self.label_width, 0, 0, 0))
        painter.setFont(self.small_font)
        painter.setPen(self.theme.color("muted"))
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        for column in columns:
            rect = QRect(self._column_left(column), 0, self.pitch, self.header_height)
            painter.drawText(rect, flags, f"step {column}" if column == 0 else str(column))
        painter.restore()

    def _paint_forks(self, painter: QPainter) -> None:
        lanes, half = self.content.layout.lanes, self.row_height // 2
        usual, shown = QPen(self.theme.color("faint"), 1.3), QPen(self.theme.color("generated"), 2)
        for row, lane in enumerate(lanes):
            x = self._column_left(lane.column) - self.gap // 2
            if lane.parent_row is None:
                continue
            top, bottom = self._row_top(lane.parent_row) + half, self._row_top(row) + half
            if bottom < 0 or top > self.viewport().height():
                continue
            painter.setPen(shown if lane.nodes[0] in self._on_show else usual)
            lines = [
                QLineF(x - self.gap / 2, top, x, top),
                QLineF(x, top, x, bottom),
                QLineF(x, bottom, x + self.gap / 2, bottom),
            ]
            painter.drawLines(lines)

    def _paint_node(self, painter: QPainter, node: int, rect: QRect) -> None:
        theme, step = self.theme, self.content.tree.nodes[node].step
        if step is None:
            return
        shown, viewed = node in self._on_show, node == self._cursor
        pen = QPen(theme.color("generated" if shown else "border"), 1.3)
        fill = theme.color("generated_fill" if shown else "surface")
        if viewed:
            pen, fill = QPen(theme.color("selection"), 3), theme.color("selection_fill")
        elif node == self._hovered:
            pen = QPen(theme.color("selection"), 1.5)
        if under_other_settings(step, self.state.sampling) and not viewed:
            pen.setStyle(Qt.PenStyle.DashLine)
        inset = pen.widthF() / 2
        painter.setPen(QPen(theme.color("generated" if shown else "faint"), 1.3))
        parent = self.content.tree.nodes[node].parent
        if parent != ROOT and self.content.layout.row_of.get(parent) == self.content.layout.row_of[node]:
            painter.drawLine(rect.left() - self.gap, rect.center().y(), rect.left(), rect.center().y())
        painter.setPen(pen)
        painter.setBrush(fill)
        radius = theme.space(0.6)
        painter.drawRoundedRect(QRectF(rect).adjusted(inset, inset, -inset, -inset), radius, radius)
        inner = rect.adjusted(theme.space(0.6), 0, -theme.space(0.6), 0)
        foot = max(2, theme.space(0.4))
        bar = QRectF(inner.left(), rect.bottom() - foot - 1, inner.width() * step.probability, foot)
        painter.fillRect(bar, theme.color("after" if shown else "before"))
        font = self.bold_font if shown else self.piece_font
        text = ("! " if step.forced else "") + visible_piece(step.token.piece)
        self.write(painter, inner.adjusted(0, 0, 0, -foot), text, font, "text" if shown else "muted")

    def _paint_label(self, painter: QPainter, row: int) -> None:
        label, rect = self.content.labels[row], self.label_rect(row)
        lane = self.content.layout.lanes[row]
        shown = lane.nodes[-1] in self._on_show
        room = rect.adjusted(self.theme.space(0.5), 0, 0, 0)
        width = QFontMetrics(self.piece_font).horizontalAdvance(label.facts)
        font = self.small_bold_font if shown or label.strong else self.small_font
        self.write(painter, room, label.facts, self.piece_font, "text" if shown else "muted", right=True)
        left = room.adjusted(0, 0, -width - self.theme.space(0.8), 0)
        self.write(painter, left, label.name, font, "generated" if shown else "text")
        painter.setPen(QPen(self.theme.color("grid"), 1))
        painter.drawLine(self.label_width - 1, rect.top(), self.label_width - 1, rect.bottom())

    def write(
        self, painter: QPainter, rect: QRect, text: str, font: QFont, color: str, *, right: bool = False
    ) -> None:
        """Write one line of plain text, elided to ``rect``."""
        painter.setFont(font)
        painter.setPen(self.theme.color(color))
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        flags = side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        elided = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, flags, elided)

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._update_ranges()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() is not Qt.MouseButton.LeftButton:
            return
        point = event.position().toPoint()
        node, row = self.node_at(point), self.row_at(point)
        if node is None and row is not None and point.x() < self.label_width:
            node = self.content.layout.lanes[row].nodes[-1]
        if node is not None:
            self.choose(node)

    def choose(self, node: int) -> None:
        """Ask for a node, on the branch that its row goes on to."""
        row = self.content.layout.row_of[node]
        self.node_chosen.emit(node, self.content.layout.lanes[row].nodes[-1])

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        row = self.row_at(event.position().toPoint())
        if row is not None and event.position().x() < self.label_width:
            self.rename_wanted.emit(row)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: D102
        point = event.pos()
        row, node = self.row_at(point), self.node_at(point)
        if event.reason() is QContextMenuEvent.Reason.Keyboard and self._cursor is not None:
            row, node = self.content.layout.row_of.get(self._cursor), self._cursor
            point = self.node_rect(node).bottomLeft()
        if row is not None:
            self.menu_wanted.emit(row, -1 if node is None else node, self.viewport().mapToGlobal(point))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        point = event.position().toPoint()
        row, node = self.row_at(point), self.node_at(point)
        self.row_hovered.emit(-1 if row is None else row)
        self._point_at(-1 if node is None else node)

    def _point_at(self, node: int) -> None:
        if node == self._hovered:
            return
        self._hovered = node
        step = self.content.tree.nodes[node].step if node > ROOT else None
        if step is None:
            self.state.set_hover(None)
        elif node in self._on_show:
            self.state.set_hover(TokenRef("generated", step.index))
        else:
            self.state.set_hover(TokenRef("vocabulary", step.token.id))
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        row = None if self._cursor is None else self.content.layout.row_of.get(self._cursor)
        moves = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        move = moves.get(Qt.Key(event.key()))
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            move = None
        if row is None or self._cursor is None:
            super().keyPressEvent(event)
        elif event.key() == Qt.Key.Key_F2:
            self.rename_wanted.emit(row)
        elif move is None:
            super().keyPressEvent(event)
        else:
            target = self._neighbour(row, *move)
            if target is not None:
                self.choose(target)

    def _neighbour(self, row: int, down: int, right: int) -> int | None:
        """The node beside the cursor: along its branch, or in the nearest row as near to its step."""
        lanes, tree = self.content.layout.lanes, self.content.tree
        assert self._cursor is not None
        lane = lanes[row]
        column = lane.column_of(self._cursor)
        if right:
            parent = tree.nodes[self._cursor].parent
            return lane.node_at(column + 1) if right > 0 else (parent if parent != ROOT else None)
        if not 0 <= row + down < len(lanes):
            return None
        other = lanes[row + down]
        return other.nodes[min(max(column - other.column, 0), len(other.nodes) - 1)]

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.Leave:
            self._point_at(-1)
            self.row_hovered.emit(-1)
        elif isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point of the viewport."""
        node, row = self.node_at(point), self.row_at(point)
        if node is None:
            if row is not None and point.x() < self.label_width:
                return self.content.labels[row].told
            return ""
        step = self.content.tree.nodes[node].step
        assert step is not None
        how = f"chosen under: {step.params.summary}"
        if step.choice in ("forced", "beam"):
            how = "forced by hand" if step.forced else "taken by a beam search"
        elif under_other_settings(step, self.state.sampling):
            how += f" (now: {self.state.sampling.summary})"
        lines = [
            f"step {step.index}: {visible_piece(step.token.piece)}   token ID {step.token.id}",
            f"probability {step.probability:.6g}, rank {step.rank:,} (0 is the most likely)",
            how,
        ]
        if node not in self._on_show:
            lines.append("Click shows this branch in all panels; nothing is computed anew.")
        return "\n".join(lines)
