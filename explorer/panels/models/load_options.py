"""Where a model is to be loaded to, and in which numbers, with what that comes to."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QWidget

from explorer.app.model_state import Surroundings
from explorer.core.devices import Device
from explorer.core.model_facts import LoadRequest, ModelFacts
from explorer.core.quantities import in_bytes
from explorer.core.records import ModelInfo
from explorer.theme import Theme

SEVERAL = "auto"


class LoadOptions(QWidget):
    """Device, dtype, the permission for pickles, and the verdict.

    Signals
    -------
    changed
        A person chose otherwise.
    """

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._surroundings: Surroundings | None = None
        self._facts: ModelFacts | None = None
        self._model: ModelInfo | None = None
        self.device = QComboBox(self)
        self.device.setObjectName("device_chooser")
        self.device.setAccessibleName("Device")
        self.dtype = QComboBox(self)
        self.dtype.setObjectName("dtype_chooser")
        self.dtype.setAccessibleName("Numbers that the weights are held in")
        self.pickle = QCheckBox("Read its pickled weights", self)
        self.pickle.setObjectName("allow_pickle")
        self.verdict = QLabel(self)
        self.verdict.setObjectName("verdict")
        self.verdict.setWordWrap(True)
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        for row, (text, widget) in enumerate((("Device", self.device), ("Numbers", self.dtype))):
            label = QLabel(text, self)
            label.setProperty("role", "muted")
            label.setBuddy(widget)
            # A GPU's name and a reason can be long; the list shows them whole.
            widget.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            widget.setMinimumContentsLength(12)
            grid.addWidget(label, row, 0)
            grid.addWidget(widget, row, 1)
        grid.addWidget(self.pickle, 2, 0, 1, 2)
        grid.addWidget(self.verdict, 3, 0, 1, 2)
        self._grid = grid
        self.device.activated.connect(self._on_device_chosen)
        self.dtype.activated.connect(self._on_chosen)
        self.pickle.toggled.connect(self._on_chosen)
        theme.changed.connect(self._update_look)
        self._update_look()

    # -- what it is about ------------------------------------------------------------------------------

    def set_surroundings(self, surroundings: Surroundings | None, wanted: LoadRequest) -> None:
        """Offer what this machine has; ``wanted`` is chosen the first time, the choice stays after that."""
        first = self._surroundings is None
        self._surroundings = surroundings
        chosen = wanted.device if first else self.chosen_device()
        dtype = wanted.dtype if first else self.chosen_dtype()
        if first:
            with QSignalBlocker(self.pickle):
                self.pickle.setChecked(wanted.allow_pickle)
        with QSignalBlocker(self.device):
            self.device.clear()
            for device in () if surroundings is None else surroundings.devices:
                free = f"{in_bytes(device.free_bytes)} of {in_bytes(device.total_bytes)} free"
                self.device.addItem(f"{device.name}: {device.description}, {free}", device.name)
            if surroundings is not None and any(d.name.startswith("cuda") for d in surroundings.devices):
                self.device.addItem("spread over all GPUs and, if need be, the CPU", SEVERAL)
            self.device.setCurrentIndex(max(self.device.findData(chosen), 0))
        self._offer_dtypes(dtype)
        self._update_verdict()

    def set_facts(self, facts: ModelFacts | None, model: ModelInfo | None) -> None:
        """About this model, while ``model`` is in force."""
        self._facts, self._model = facts, model
        self.pickle.setVisible(facts is not None and facts.pickled)
        self._update_verdict()

    def chosen_device(self) -> str | None:
        """The device's name; None before there is one to choose."""
        data = self.device.currentData()
        return None if data is None else str(data)

    def chosen_dtype(self) -> str:
        """The dtype's name."""
        return str(self.dtype.currentData() or "auto")

    def request(self, name: str) -> LoadRequest:
        """To load ``name`` as chosen."""
        return LoadRequest(
            name,
            self.chosen_device(),
            self.chosen_dtype(),
            allow_pickle=self.pickle.isChecked() and self.pickle.isVisibleTo(self),
            unload_first=self.must_unload(),
        )

    def fits(self) -> bool:
        """Whether nothing that is known speaks against it, be it after unloading the model in force."""
        device = self._device()
        if device is None or self._facts is None:
            return True
        given_back = self._given_back(device)
        return self._facts.fits(device, self.chosen_dtype(), given_back=given_back) is not False

    def must_unload(self) -> bool:
        """Whether it fits only in the place of the model in force."""
        device = self._device()
        if device is None or self._facts is None:
            return False
        return self._facts.fits(device, self.chosen_dtype()) is False and self.fits()

    def allowed(self) -> bool:
        """Whether its weights may be read: always, but for pickles."""
        return self._facts is None or not self._facts.pickled or self.pickle.isChecked()

    # -- parts ---------------------------------------------------------------------------------------------

    def _device(self) -> Device | None:
        found = () if self._surroundings is None else self._surroundings.devices
        return next((device for device in found if device.name == self.chosen_device()), None)

    def _given_back(self, device: Device) -> int:
        return 0 if self._model is None else self._model.placement.get(device.name, 0)

    def _offer_dtypes(self, chosen: str) -> None:
        kind = (self.chosen_device() or "cpu").split(":")[0]
        kind = "cuda" if kind == SEVERAL else kind
        choices = () if self._surroundings is None else self._surroundings.precisions.get(kind, ())
        with QSignalBlocker(self.dtype):
            self.dtype.clear()
            rows = self.dtype.model()
            assert isinstance(rows, QStandardItemModel)
            for choice in choices:
                text = self._dtype_text(choice.name)
                why = f" ({choice.unavailable})" if choice.unavailable else ""
                self.dtype.addItem(f"{text}{why}", choice.name)
                rows.item(self.dtype.count() - 1).setEnabled(not choice.unavailable)
            index = self.dtype.findData(chosen)
            usable = index >= 0 and rows.item(index).isEnabled()
            self.dtype.setCurrentIndex(index if usable else 0)

    def _dtype_text(self, name: str) -> str:
        if name == "auto":
            on_cpu = self.chosen_device() == "cpu"
            return "auto: float32 on the CPU" if on_cpu else "auto: as it is stored"
        return {"int8": "8-bit", "int4": "4-bit"}.get(name, name)

    def _on_device_chosen(self) -> None:
        self._offer_dtypes(self.chosen_dtype())
        self._on_chosen()

    def _on_chosen(self) -> None:
        self._update_verdict()
        self.changed.emit()

    def _update_verdict(self) -> None:
        facts, device = self._facts, self._device()
        text, tone = "", "muted"
        if facts is not None and device is not None:
            needed = facts.needed_bytes(device, self.chosen_dtype())
            if needed is not None:
                room = (
                    f"{in_bytes(needed)} of the {in_bytes(device.free_bytes)} that are free on {device.name}"
                )
                if facts.fits(device, self.chosen_dtype()):
                    text, tone = f"Fits: needs {room}.", "generated"
                elif self.fits() and self._model is not None:
                    text = f"Fits only in the place of {self._model.name}: needs {room}."
                    tone = "selection"
                else:
                    text, tone = f"Does not fit: needs {room}.", "error"
        elif facts is not None and self.chosen_device() == SEVERAL:
            text = "What goes where is decided when it is loaded, and shown then."
        if facts is not None and facts.pickled and not self.pickle.isChecked():
            text = (
                "Its weights are pickled, a format that can run code: allow it only for a source you trust."
            )
            tone = "error"
        self.verdict.setText(text)
        color = getattr(self._theme.palette, tone)
        self.verdict.setStyleSheet(f"color: {color}; font-weight: 600;")

    def _update_look(self) -> None:
        self._grid.setHorizontalSpacing(self._theme.space(2))
        self._grid.setVerticalSpacing(self._theme.space(1))
        self._update_verdict()
