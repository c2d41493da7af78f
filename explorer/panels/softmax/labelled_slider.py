"""A number with a name: label, slider and a box for exact entry."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QLineEdit, QSizePolicy, QSlider, QWidget

from explorer.panels.softmax.scale import Scale
from explorer.panels.widgets.piece_text import shorten
from explorer.theme import Theme

_LONGEST_SHOWN = 24
_STEPS = {
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Left: -1,
}


class LabelledSlider(QWidget):
    """One setting, by hand or by number; a double click on its name resets it.

    Signals
    -------
    value_edited : float or None
        A person chose another value; not emitted by `set_value`.
    refused : str
        What a person typed is no value; the sentence says what is.
    """

    value_edited = Signal(object)
    refused = Signal(str)

    def __init__(
        self,
        theme: Theme,
        name: str,
        label: str,
        scale: Scale,
        default: float | None,
        tooltip: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setObjectName(name)
        self._scale = scale
        self._default = default
        self._value = default
        reset = scale.text(default)
        self.label = QLabel(label, self)
        self.label.setToolTip(f"{tooltip}\nDouble click: back to {reset}.")
        self.label.installEventFilter(self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setObjectName(f"{name}_slider")
        self.slider.setAccessibleName(label)
        self.slider.setToolTip(tooltip)
        self.slider.setPageStep(scale.positions // 10)
        self.slider.installEventFilter(self)
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.label.setBuddy(self.slider)
        self.entry = QLineEdit(self)
        self.entry.setObjectName(f"{name}_entry")
        self.entry.setProperty("face", "mono")
        self.entry.setAccessibleName(f"{label}, exact value")
        self.entry.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.entry.setToolTip(f"Type a number, or “{scale.off_text}”, and press Enter.")
        self.entry.installEventFilter(self)
        self.entry.editingFinished.connect(self._on_entry_finished)
        self.setFocusProxy(self.slider)
        self._layout = QGridLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setColumnStretch(1, 1)
        for column, widget in enumerate((self.label, self.slider, self.entry)):
            self._layout.addWidget(widget, 0, column, Qt.AlignmentFlag.AlignVCenter)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.update_theme()
        self._update_range()

    @property
    def value(self) -> float | None:
        """What is set."""
        return self._value

    def set_value(self, value: float | None) -> None:
        """Show ``value``; nothing is emitted."""
        self._value = value
        self._show()

    def set_scale(self, scale: Scale) -> None:
        """Run over another range; the value stays."""
        if scale != self._scale:
            self._scale = scale
            self._update_range()

    def set_label_width(self, width: int) -> None:
        """Make room for the longest name of a column of sliders, so that they start on one line."""
        self.label.setMinimumWidth(width)

    def update_theme(self) -> None:
        """Sizes changed."""
        self._layout.setSpacing(self.theme.space(1.5))
        self.slider.setMinimumWidth(self.theme.space(10))
        # The style sheet's handle is taller than the groove that Qt takes the hint from.
        self.slider.setMinimumHeight(self.theme.space(3.4))
        metrics = QFontMetrics(self.theme.mono())
        self.entry.setFixedWidth(metrics.horizontalAdvance("0.00000") + self.theme.space(3))

    def sizeHint(self) -> QSize:  # noqa: D102
        return self._layout.sizeHint()

    def _update_range(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, self._scale.last_position)
        self._show()

    def _show(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(self._scale.position(self._value))
        text = self._scale.text(self._value)
        if self.entry.text() != text:
            with QSignalBlocker(self.entry):
                self.entry.setText(text)
                self.entry.setCursorPosition(0)

    def _edit(self, value: float | None) -> None:
        changed = value != self._value
        self._value = value
        self._show()
        if changed:
            self.value_edited.emit(value)

    def _on_slider_moved(self, position: int) -> None:
        self._edit(self._scale.value(position))

    def _on_entry_finished(self) -> None:
        text = self.entry.text()
        try:
            self._edit(self._scale.parse(text))
        except ValueError:
            # What cannot be read changes nothing: the box goes back to the value in force.
            self._show()
            low, high = self._scale.entry_range
            shown = shorten(text.strip(), _LONGEST_SHOWN)
            self.refused.emit(
                f"{self.label.text()} takes a number from {low:g} to {high:g} or “{self._scale.off_text}”, "
                f"not “{shown}”."
            )

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if watched is self.label and event.type() == QEvent.Type.MouseButtonDblClick:
            assert isinstance(event, QMouseEvent)
            self._edit(self._default)
            return True
        if event.type() == QEvent.Type.KeyPress and watched in (self.slider, self.entry):
            assert isinstance(event, QKeyEvent)
            return self._press(watched, event)
        return super().eventFilter(watched, event)

    def _press(self, watched: QObject, event: QKeyEvent) -> bool:
        """Arrow keys step the value, not the slider's positions; in the box, only up and down do."""
        key = Qt.Key(event.key())
        if watched is self.entry and key == Qt.Key.Key_Escape:
            self._show()
            return True
        steps = _STEPS.get(key)
        if steps is None or (watched is self.entry and key in (Qt.Key.Key_Left, Qt.Key.Key_Right)):
            return False
        self._edit(self._scale.stepped(self._value, steps))
        return True
