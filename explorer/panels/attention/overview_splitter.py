"""How the overview of heads and the opened map share the room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from explorer.panels.attention.head_chooser import HeadChooser
from explorer.theme import Theme

_WIDE_ASPECT = 2.4
_LOW_STEPS = 32
_NARROW_STEPS = 85
_SHARE = 0.36
_MOST_SHARE = 0.55


class OverviewSplitter(QSplitter):
    """The overview above the map, or left of it where the room is wide or low.

    Where the room is both low and narrow there is only the map: two unreadable pictures help nobody.

    Until a person drags the handle, the overview takes what it needs and at most about a third;
    after that, the share that it was given.
    """

    def __init__(
        self, theme: Theme, chooser: HeadChooser, map_side: QWidget, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("attention_splitter")
        self.theme = theme
        self._chooser = chooser
        self._share: float | None = None
        self.setChildrenCollapsible(False)
        self.addWidget(chooser)
        self.addWidget(map_side)
        self.splitterMoved.connect(self._on_moved)

    def arrange(self) -> None:
        """Divide the room anew."""
        low = self.height() < self.theme.space(_LOW_STEPS)
        narrow = self.width() <= self.theme.space(_NARROW_STEPS)
        # Who filters heads wants to see which.
        self._chooser.setVisible(not low or not narrow or self._chooser.filtering)
        wide = low or self.width() > _WIDE_ASPECT * self.height()
        orientation = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if self.orientation() != orientation:
            self.setOrientation(orientation)
            self._share = None
        self.setHandleWidth(self.theme.space(1.5))
        room = self.width() if wide else self.height()
        if self._share is not None:
            wanted = round(room * self._share)
        elif wide:
            wanted = round(room * _SHARE)
        else:
            natural = self._chooser.overview.natural_height(self.width())
            wanted = min(natural, round(room * _SHARE))
            # Many layers get more, so that each is more than a stripe.
            readable = self._chooser.overview.readable_height()
            wanted = max(wanted, min(readable, round(room * _MOST_SHARE)))
        self.setSizes([wanted, max(1, room - wanted)])

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self.arrange()

    def _on_moved(self, _position: int, _index: int) -> None:
        first, second = self.sizes()
        self._share = first / max(1, first + second)
