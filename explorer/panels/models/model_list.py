"""What there is to open, in groups: bundled, downloaded, recent, and worth downloading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from explorer.theme import Theme

_ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list.

    Attributes
    ----------
    name : str
        What it is opened by; empty for the heading of a group.
    title : str
        What is shown first.
    about : str
        What it is good for, or where it lies.
    """

    name: str
    title: str
    about: str = ""


class ModelList(QListWidget):
    """A list of models with a line about each.

    Signals
    -------
    picked : str
        A person chose that model, to look at it.
    opened : str
        A person wants that model now (double click, Enter).
    """

    picked = Signal(str)
    opened = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("model_list")
        self.setAccessibleName("Models")
        self.setItemDelegate(_EntryDelegate(theme, self))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.currentItemChanged.connect(self._on_current_changed)
        self.itemActivated.connect(self._on_activated)

    def set_groups(self, groups: Iterable[tuple[str, Iterable[Entry]]]) -> None:
        """Show these groups; the chosen model stays chosen if it is still there."""
        chosen = self.current_name()
        with QSignalBlocker(self):
            self.clear()
            for heading, entries in groups:
                found = list(entries)
                if not found:
                    continue
                self._add(Entry("", heading), Qt.ItemFlag.NoItemFlags)
                for entry in found:
                    self._add(entry, Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        self.choose(chosen)

    def choose(self, name: str) -> None:
        """Mark the model of that name, and no other; nobody picked it."""
        rows = [row for row in range(self.count()) if name and self.entry(row).name == name]
        with QSignalBlocker(self):
            self.setCurrentRow(rows[0] if rows else -1)

    def current_name(self) -> str:
        """What the chosen model is opened by; empty without one."""
        row = self.currentRow()
        return self.entry(row).name if row >= 0 else ""

    def entry(self, row: int) -> Entry:
        """What stands in that row."""
        entry = self.item(row).data(_ROLE)
        assert isinstance(entry, Entry)
        return entry

    def _add(self, entry: Entry, flags: Qt.ItemFlag) -> None:
        item = QListWidgetItem(entry.title)
        item.setData(_ROLE, entry)
        item.setFlags(flags)
        item.setToolTip(entry.name if entry.name != entry.title else "")
        self.addItem(item)

    def _on_current_changed(self, item: QListWidgetItem | None) -> None:
        if item is not None and item.data(_ROLE).name:
            self.picked.emit(item.data(_ROLE).name)

    def _on_activated(self, item: QListWidgetItem) -> None:
        if item.data(_ROLE).name:
            self.opened.emit(item.data(_ROLE).name)


class _EntryDelegate(QStyledItemDelegate):
    """Paints a heading in small grey letters, a model in two lines."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        entry: Entry = index.data(_ROLE)
        lines = self._theme.pixels("body") * 1.35
        if not entry.name:
            lines = self._theme.pixels("small") * 1.35 + self._theme.space(1)
        elif entry.about:
            lines += self._theme.pixels("small") * 1.35
        return QSize(self._theme.space(20), round(lines) + self._theme.space(1.5))

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        entry: Entry = index.data(_ROLE)
        theme = self._theme
        area: QRect = option.rect
        state: QStyle.StateFlag = option.state
        painter.save()
        inner = area.adjusted(theme.space(1.5), theme.space(0.75), -theme.space(1.5), -theme.space(0.75))
        if not entry.name:
            painter.setFont(theme.prose("small", bold=True))
            painter.setPen(theme.color("muted"))
            painter.drawText(inner, Qt.AlignmentFlag.AlignBottom, entry.title)
            painter.restore()
            return
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, theme.color("accent_fill"))
            mark = QRect(area.left(), area.top(), max(theme.space(0.5), 2), area.height())
            painter.fillRect(mark, theme.color("accent"))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, theme.color("raised"))
        painter.setFont(theme.prose("body", bold=True))
        painter.setPen(theme.color("text"))
        first = QRect(inner.left(), inner.top(), inner.width(), round(theme.pixels("body") * 1.35))
        title = painter.fontMetrics().elidedText(entry.title, Qt.TextElideMode.ElideMiddle, inner.width())
        painter.drawText(first, Qt.AlignmentFlag.AlignVCenter, title)
        if entry.about:
            painter.setFont(theme.prose("small"))
            painter.setPen(theme.color("muted"))
            second = QRect(inner.left(), first.bottom(), inner.width(), inner.bottom() - first.bottom() + 2)
            about = painter.fontMetrics().elidedText(entry.about, Qt.TextElideMode.ElideRight, inner.width())
            painter.drawText(second, Qt.AlignmentFlag.AlignVCenter, about)
        painter.restore()
