"""The line over the overview that says which heads are looked at: measure, relation, number, how many."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QSlider, QWidget

from explorer.core.head_measures import MEASURES, HeadFilter, Measure, PerHead, measure_named
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

_POSITIONS = 500
_UNITS = {measure.name: measure.unit for measure in MEASURES}
AT_LEAST, AT_MOST = "≥", "≤"


class HeadFilterBar(QWidget):
    """Sets a `HeadFilter`. The slider runs over what this sentence's heads measure.

    Signals
    -------
    filter_changed
        A person set another measure, relation or number; `filter` has it.
    mark_requested
        A person wants the heads that pass put together.
    """

    filter_changed = Signal()
    mark_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setObjectName("head_filter")
        self._filter: HeadFilter | None = None
        self._measures: Mapping[Measure, PerHead] = {}
        self._low, self._high = 0.0, 1.0
        self.measure_box = QComboBox(self)
        self.measure_box.setObjectName("head_filter_measure")
        self.measure_box.setAccessibleName("Measure to filter heads by")
        self.measure_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.relation_button = QPushButton(AT_LEAST, self)
        self.relation_button.setObjectName("head_filter_relation")
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setObjectName("head_filter_slider")
        self.slider.setAccessibleName("Threshold")
        self.slider.setRange(0, _POSITIONS)
        self.slider.setPageStep(_POSITIONS // 10)
        self.entry = QLineEdit(self)
        self.entry.setObjectName("head_filter_entry")
        self.entry.setAccessibleName("Threshold, exact value")
        self.entry.setProperty("face", "mono")
        self.entry.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.count = QLabel(self)
        self.count.setObjectName("head_filter_count")
        self.count.setTextFormat(Qt.TextFormat.PlainText)
        self.count.setToolTip("How many of all heads pass; the others are pale.")
        self.mark_button = QPushButton("mean", self)
        self.mark_button.setObjectName("head_filter_mark")
        self.mark_button.setToolTip("Mark the heads that pass and draw the mean of their maps.")
        self._layout = WrappingLayout(self, spacing=theme.space(1))
        for widget in (
            self.measure_box,
            self.relation_button,
            self.slider,
            self.entry,
            self.count,
            self.mark_button,
        ):
            self._layout.addWidget(widget)
        self.measure_box.activated.connect(self._on_measure_chosen)
        self.relation_button.clicked.connect(self._on_relation_clicked)
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.entry.editingFinished.connect(self._on_entry_finished)
        self.mark_button.clicked.connect(self.mark_requested)
        self.update_theme()

    @property
    def filter(self) -> HeadFilter | None:
        """What is set; None until it was on show with measured heads."""
        return self._filter

    def set_measures(self, measures: Mapping[Measure, PerHead]) -> None:
        """Other numbers, as after a step, or of another kind of attention; the filter stays as it is."""
        self._measures = measures
        names = [measure.name for measure in measures]
        if names and self._filter is None:
            values = next(iter(measures.values()))
            self._filter = HeadFilter(names[0], True, float(np.median(values)))
        chosen = "" if self._filter is None else self._filter.measure
        # What was chosen stays on offer, also where this kind of attention has not got it.
        offered = names if chosen in names or not chosen else [*names, chosen]
        if offered != [self.measure_box.itemData(i) for i in range(self.measure_box.count())]:
            self.measure_box.clear()
            for index, name in enumerate(offered):
                meaning = next(measure.meaning for measure in MEASURES if measure.name == name)
                self.measure_box.addItem(_short(name), name)
                self.measure_box.setItemData(index, f"{name}: {meaning}", Qt.ItemDataRole.ToolTipRole)
        self._update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        pad, metrics = self.theme.space(1), QFontMetrics(self.theme.mono())
        self.slider.setMinimumHeight(self.theme.space(3.4))
        self.entry.setFixedWidth(metrics.horizontalAdvance("0.0000") + self.theme.space(2.5))
        for button in (self.relation_button, self.mark_button):
            button.setStyleSheet(f"QPushButton {{ padding: {round(pad * 0.4)}px {round(pad * 0.9)}px; }}")
        self.measure_box.setStyleSheet(f"QComboBox {{ padding: {round(pad * 0.4)}px {round(pad * 0.6)}px; }}")
        self._layout.setSpacing(pad)
        self._give_room_to_the_slider()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._give_room_to_the_slider()

    def _give_room_to_the_slider(self) -> None:
        """What the others leave of one line; where that is too little, the measure's name gets less."""
        others = (self.relation_button, self.count, self.mark_button)
        widths = [self.entry.minimumWidth(), *(widget.sizeHint().width() for widget in others)]
        left = self.width() - sum(widths) - 5 * self._layout.spacing() - 1
        least, most = self.theme.space(6), self.theme.space(30)
        name = min(self.measure_box.sizeHint().width(), max(left - least, self.theme.space(11)))
        self.measure_box.setFixedWidth(name)
        self.slider.setFixedWidth(min(max(left - name, least), most))
        self._layout.invalidate()
        self.updateGeometry()

    def _update(self) -> None:
        """Show the filter, and how many heads pass it here."""
        chosen = self._filter
        passing = None if chosen is None else chosen.passing(self._measures)
        values = None if chosen is None else measure_named(self._measures, chosen.measure)
        for widget in (self.slider, self.entry, self.relation_button, self.mark_button):
            widget.setEnabled(values is not None)
        if chosen is None or values is None or passing is None:
            self._say("nothing to measure yet" if not self._measures else "not measured on these maps")
            return
        self._low = min(float(values.min()), chosen.threshold)
        self._high = max(float(values.max()), chosen.threshold)
        span = self._high - self._low
        with QSignalBlocker(self.slider), QSignalBlocker(self.measure_box), QSignalBlocker(self.entry):
            share = (chosen.threshold - self._low) / span if span else 0.0
            self.slider.setValue(round(share * _POSITIONS))
            self.measure_box.setCurrentIndex(self.measure_box.findData(chosen.measure))
            self.measure_box.setToolTip(f"Measure to filter heads by: {chosen.measure}.")
            if not self.entry.hasFocus() or not self.entry.isModified():
                self.entry.setText(f"{chosen.threshold:.4g}")
                self.entry.setCursorPosition(0)
        self.relation_button.setText(AT_LEAST if chosen.at_least else AT_MOST)
        unit = _UNITS[chosen.measure]
        self.entry.setToolTip(
            f"Type a number and press Enter. The heads measure {values.min():.4g} to {values.max():.4g}"
            f"{' ' + unit if unit else ''} here."
        )
        self.relation_button.setToolTip(
            "Heads with this much and more pass; click for this much and less."
            if chosen.at_least
            else "Heads with this much and less pass; click for this much and more."
        )
        count = int(passing.sum())
        self.mark_button.setEnabled(count > 1)
        self._say(f"{unit + ' · ' if unit else ''}{count} of {passing.size}")

    def _say(self, text: str) -> None:
        if text != self.count.text():
            self.count.setText(text)
            self._give_room_to_the_slider()

    def _set(self, chosen: HeadFilter) -> None:
        if chosen != self._filter:
            self._filter = chosen
            self._update()
            self.filter_changed.emit()

    def _on_measure_chosen(self, index: int) -> None:
        name = self.measure_box.itemData(index)
        values = measure_named(self._measures, name)
        if values is not None and self._filter is not None and name != self._filter.measure:
            # A threshold in bits says nothing of a share: begin in the middle again.
            self._set(HeadFilter(name, self._filter.at_least, float(np.median(values))))

    def _on_relation_clicked(self) -> None:
        if self._filter is not None:
            chosen = self._filter
            self._set(HeadFilter(chosen.measure, not chosen.at_least, chosen.threshold))

    def _on_slider_moved(self, position: int) -> None:
        if self._filter is not None:
            # The ends are the very values, so that the head that has them is on the right side.
            ends = {0: self._low, _POSITIONS: self._high}
            value = ends.get(position, self._low + (self._high - self._low) * position / _POSITIONS)
            self._set(HeadFilter(self._filter.measure, self._filter.at_least, value))

    def _on_entry_finished(self) -> None:
        chosen = self._filter
        if chosen is None or not self.entry.isModified():
            return
        try:
            value = float(self.entry.text().replace(",", "."))
        except ValueError:
            value = chosen.threshold  # what cannot be read changes nothing
        self.entry.setModified(False)
        if np.isfinite(value) and value != chosen.threshold:
            self._set(HeadFilter(chosen.measure, chosen.at_least, value))
        else:
            self._update()


def _short(name: str) -> str:
    """A measure's name for a narrow box, e.g. ``to previous``."""
    return name.replace("to the ", "to ").removesuffix("s").removesuffix(" token")
