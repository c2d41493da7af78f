"""How one attention weight came about: the picture, its heading, and the exact numbers under the pointer."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QStackedLayout, QVBoxLayout, QWidget

from explorer.panels.attention.map_footer import Reading, Readout
from explorer.panels.attention.weight_canvas import WeightCanvas
from explorer.panels.attention.weight_reading import WeightContent
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.panels.widgets.segmented import Segmented
from explorer.theme import Theme

UNKNOWN = (
    "This architecture keeps queries and keys to itself: its weights can be read, but not how one came about."
)
EMPTY = "Select a cell (click one in the matrix) to see how its weight came about."
_POINT = "Point at a bar, a step or a colour to read it to every digit."


class WeightView(QWidget):
    """Shows one `WeightContent`; without one, says how to get there."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("weight_view")
        self.setAccessibleName("How one attention weight came about")
        self.theme = theme
        self.content: WeightContent | None = None
        self._shown = QWidget(self)
        self._hint = EmptyHint(theme, self)
        self._hint.set_text(EMPTY)
        self.heading = Readout(theme, self._shown)
        self.heading.setObjectName("weight_heading")
        self.reading = Readout(theme, self._shown)
        self.reading.setObjectName("weight_reading")
        self.order = Segmented(theme, "weight_order", self._shown)
        self.order.set_names(
            ("in order", "sorted"),
            (
                "The dimensions as the model has them.",
                "The dimensions by their product: those that raise the score most come first.",
            ),
        )
        self.order.set_current("in order")
        self.canvas = WeightCanvas(theme)
        self.scroll_area = QScrollArea(self._shown)
        self.scroll_area.setObjectName("weight_scroll")
        self.scroll_area.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll_area.setWidgetResizable(True)
        self.scroll_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll_area.setWidget(self.canvas)
        self.scroll_area.viewport().installEventFilter(self)
        top = QHBoxLayout()
        top.addWidget(self.heading, 1)
        top.addWidget(self.order)
        self._column = QVBoxLayout(self._shown)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(top)
        self._column.addWidget(self.scroll_area, 1)
        self._column.addWidget(self.reading)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._hint)
        self._stack.addWidget(self._shown)
        self.order.chosen.connect(lambda name: self.canvas.set_sorted(name == "sorted"))
        self.canvas.described.connect(self._on_described)
        self._on_described("")
        self.update_theme()

    def set_content(self, content: WeightContent | None) -> None:
        """Show how another weight came about; None where no cell is selected."""
        self.content = content
        self.canvas.set_content(content)
        self._stack.setCurrentWidget(self._hint if content is None else self._shown)
        if content is not None:
            query, key = content.query, content.key
            facts = f"{content.cell.weight:.4f}"
            self.heading.set_reading(Reading(query.label, key.label, query.ref.side, key.ref.side, facts))
            self._arrange()

    def set_unknown(self, unknown: bool) -> None:
        """Say that nobody knows how a weight came about, where the model keeps it to itself."""
        self._hint.set_text(UNKNOWN if unknown else EMPTY)

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        self.canvas.set_dimmed(dimmed)

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.order.update_theme()
        self._column.setSpacing(self.theme.space(0.5))
        for line in (self.heading, self.reading):
            line.updateGeometry()
        self._arrange()

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(40), self.theme.space(20))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._arrange()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        # The room changes with the scroll bar too, of which this widget's own size knows nothing.
        if watched is self.scroll_area.viewport() and event.type() == QEvent.Type.Resize:
            self._arrange()
        return super().eventFilter(watched, event)

    def _arrange(self) -> None:
        self.canvas.arrange(self.scroll_area.viewport().size())

    def _on_described(self, text: str) -> None:
        self.reading.set_reading(Reading(facts=text or _POINT))
