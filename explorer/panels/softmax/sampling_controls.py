"""Sliders and presets for how the next token is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from explorer.core.own_settings import NO_OWN_SETTINGS, OwnSettings
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.panels.softmax.labelled_slider import LabelledSlider
from explorer.panels.softmax.sampling_actions import SamplingActions
from explorer.panels.softmax.scale import Scale
from explorer.panels.softmax.stages import StageRow
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme


@dataclass(frozen=True, slots=True)
class Setting:
    """One slider: which field of `SamplingParams` it sets, and how.

    Attributes
    ----------
    field, label, tooltip
        The field's name, what it is called on screen, and what it does, for a beginner.
    scale : Scale
        Its range.
    """

    field: str
    label: str
    tooltip: str
    scale: Scale


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings with a name and one line of why."""

    name: str
    why: str
    params: SamplingParams


SETTINGS = (
    Setting(
        "temperature",
        "Temperature",
        "Divides the logits. Below 1 sharpens, above 1 flattens; at the left end the most likely token is"
        " always taken (greedy).",
        Scale(0.05, 10.0, 0.05, 2, 0.0, "greedy", True, logarithmic=True, entry_low=0.0),
    ),
    Setting(
        "top_k",
        "Top-k",
        "Keeps the k most likely tokens and cuts the rest. The right end is off: all stay.",
        Scale(1, 2, 1, 0, None, "off", False, logarithmic=True),
    ),
    Setting(
        "top_p",
        "Top-p",
        "Keeps the fewest most likely tokens that together reach this probability. The right end is off.",
        Scale(0.0, 1.0, 0.01, 3, None, "off", False),
    ),
    Setting(
        "min_p",
        "Min-p",
        "Keeps tokens that are at least this fraction as likely as the most likely one. The left end is off.",
        Scale(0.001, 1.0, 0.01, 3, None, "off", True, logarithmic=True, entry_low=0.0),
    ),
)

MORE_SETTINGS = (
    Setting(
        "typical_p",
        "Typical-p",
        "Keeps the tokens whose surprise is nearest to the expected one, until they reach this"
        " probability. The right end is off.",
        Scale(0.01, 1.0, 0.01, 3, None, "off", False),
    ),
    Setting(
        "repetition_penalty",
        "Repetition",
        "Repetition penalty: divides positive logits of tokens that are already there, and multiplies"
        " negative ones. 1 is off; the left end leaves what the checkpoint sets.",
        Scale(1.0, 2.0, 0.05, 2, None, "model's", True, entry_low=0.01, entry_high=100.0),
    ),
    Setting(
        "no_repeat_ngram_size",
        "No repeat",
        "Bans tokens that would complete a run of so many tokens that is already there. 0 is off; the"
        " left end leaves what the checkpoint sets.",
        Scale(0, 10, 1, 0, None, "model's", True, entry_high=1000, positions=11),
    ),
)

PRESETS = (
    Preset("Greedy", "Always the most likely token: no chance in it.", GREEDY),
    Preset("Focused", "Sharper, and the tail is cut: few surprises.", SamplingParams(0.6, top_p=0.9)),
    Preset("Balanced", "The model's own odds, without the tail.", SamplingParams(1.0, top_p=0.95)),
    Preset("Creative", "Flatter: unlikely tokens get a chance.", SamplingParams(1.5, min_p=0.05)),
)


# The preset that a checkpoint brings along, where it does.
OWN = "Model's"
_OWN_WHY = "What the checkpoint sets for sampling."


class SamplingControls(QWidget):
    """The settings as sliders, and the presets.

    Signals
    -------
    params_edited : SamplingParams
        A person changed the settings; not emitted by `set_params`.
    refused : str
        What was typed or pasted cannot be taken; the sentence says why.
    """

    params_edited = Signal(object)
    refused = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._params = SamplingParams()
        self._own_settings = NO_OWN_SETTINGS
        self.sliders: dict[str, LabelledSlider] = {}
        for setting in (*SETTINGS, *MORE_SETTINGS):
            slider = LabelledSlider(
                theme, setting.field, setting.label, setting.scale, _default(setting), setting.tooltip, self
            )
            slider.value_edited.connect(
                lambda value, field=setting.field: self._edit(self._params.with_changes(**{field: value}))
            )
            slider.refused.connect(self.refused)
            self.sliders[setting.field] = slider
        self.actions_row = SamplingActions(theme, self)
        self.actions_row.refused.connect(self.refused)
        self.actions_row.seed_edited.connect(lambda seed: self._edit(self._params.with_changes(seed=seed)))
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._columns = 0
        self.presets: dict[str, QPushButton] = {}
        self._preset_row = WrappingLayout()
        self._shapes = {preset.name: preset for preset in (*PRESETS, Preset(OWN, _OWN_WHY, SamplingParams()))}
        for name in self._shapes:
            button = QPushButton(name, self)
            button.setObjectName(f"preset_{name.lower()}")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            # A click sets the state, and the state says which preset is down.
            button.clicked.connect(partial(self._on_preset_clicked, name))
            button.installEventFilter(self)
            self.presets[name] = button
            self._preset_row.addWidget(button)
        self.own = QLabel(self)
        self.own.setObjectName("own_settings")
        self.own.setProperty("role", "hint")
        self.own.setTextFormat(Qt.TextFormat.PlainText)
        self.own.setWordWrap(True)
        self.own.hide()
        self.why = QLabel(self)
        self.why.setObjectName("preset_why")
        self.why.setProperty("role", "hint")
        self.why.setTextFormat(Qt.TextFormat.PlainText)
        self.why.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.more = QPushButton("more", self)
        self.more.setObjectName("more_settings")
        self.more.setCheckable(True)
        self.more.setToolTip(
            "Show typical-p, the penalties, the model's own settings, and the distribution after each stage"
        )
        self.more.toggled.connect(self._on_more_toggled)
        self._preset_row.addWidget(self.more)
        self.stages = StageRow(theme, self)
        self.stages.hide()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(self._grid)
        self._column.addLayout(self._preset_row)
        self._column.addWidget(self.why)
        self._column.addWidget(self.stages)
        self._column.addWidget(self.actions_row)
        self._column.addWidget(self.own)
        self._column.addStretch(1)
        self.set_model(2, NO_OWN_SETTINGS)
        self.update_theme()
        self.arrange(1)

    def set_params(self, params: SamplingParams) -> None:
        """Show ``params``; nothing is emitted."""
        self._params = params
        self.actions_row.set_params(params)
        for field, slider in self.sliders.items():
            slider.set_value(getattr(params, field))
        for name, preset in self._shapes.items():
            self.presets[name].setChecked(name in self._offered() and params == self._with_preset(preset))
        self._update_why()

    def set_model(self, vocabulary_size: int, own: OwnSettings) -> None:
        """Let top-k run up to the whole vocabulary, and say what the checkpoint sets by itself."""
        self._own_settings = own
        self._shapes[OWN] = Preset(OWN, _OWN_WHY, own.sampling or SamplingParams())
        for name, preset in self._shapes.items():
            self.presets[name].setVisible(name in self._offered())
            self.presets[name].setToolTip(f"{preset.why}\n{preset.params.summary}")
        self.own.setText(own.summary or "The model's own settings set nothing.")
        self._set_largest_top_k(vocabulary_size)
        self.set_params(self._params)

    def _offered(self) -> list[str]:
        """Names of the presets that are on show: the model's own where it has one."""
        return [name for name in self._shapes if name != OWN or self._own_settings.sampling is not None]

    def _set_largest_top_k(self, size: int) -> None:
        scale = next(setting.scale for setting in SETTINGS if setting.field == "top_k")
        self.sliders["top_k"].set_scale(replace(scale, high=max(1, size)))

    def arrange(self, columns: int) -> None:
        """Lay the sliders out in so many columns."""
        if columns == self._columns:
            return
        self._columns = columns
        shown = self._shown()
        rows = -(-len(shown) // columns)
        for slider in self.sliders.values():
            self._grid.removeWidget(slider)
            slider.setVisible(slider in shown)
        for index, slider in enumerate(shown):
            self._grid.addWidget(slider, index % rows, index // rows)
        for column in range(self._grid.columnCount()):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)

    def _shown(self) -> list[LabelledSlider]:
        """The sliders that are on show."""
        settings = (*SETTINGS, *MORE_SETTINGS) if self.more.isChecked() else SETTINGS
        return [self.sliders[setting.field] for setting in settings]

    def _on_more_toggled(self, more: bool) -> None:
        self.stages.setVisible(more)
        self.own.setVisible(more)
        columns, self._columns = self._columns, 0
        self.arrange(columns)

    def width_in(self, columns: int) -> int:
        """How wide it wants to be with the sliders in so many columns and the presets in one row."""
        presets = [self.presets[preset.name] for preset in PRESETS]
        buttons = [button.sizeHint().width() for button in (*presets, self.more)]
        row = sum(buttons) + (len(buttons) - 1) * self._preset_row.spacing()
        return max(row, self.theme.space(52) * columns + self._grid.horizontalSpacing() * (columns - 1))

    def height_in(self, columns: int) -> int:
        """How high it is with the sliders in so many columns and the presets in one row."""
        rows = -(-len(self._shown()) // columns)
        slider = next(iter(self.sliders.values())).sizeHint().height()
        preset = next(iter(self.presets.values())).sizeHint().height()
        below = preset + self.why.sizeHint().height() + self.actions_row.draw.sizeHint().height()
        spacing = (rows - 1) * self._grid.verticalSpacing() + 3 * self._column.spacing()
        return rows * slider + below + spacing

    def update_theme(self) -> None:
        """Sizes changed."""
        theme = self.theme
        self._grid.setVerticalSpacing(theme.space(0.5))
        self._grid.setHorizontalSpacing(theme.space(4))
        self._column.setSpacing(theme.space(1))
        self._preset_row.setSpacing(theme.space(1))
        for button in (*self.presets.values(), self.more):
            button.setStyleSheet(compact_button(theme.space(0.6), theme.space(1.2), theme.pixels("body")))
        style = compact_button(theme.space(0.4), theme.space(1.2), theme.pixels("small"))
        self.actions_row.style_buttons(style, theme.space(1))
        style = compact_button(theme.space(0.2), theme.space(0.8), theme.pixels("small"))
        self.stages.style_buttons(style, theme.space(0.6))
        for line in (self.why, self.own):
            line.setFont(theme.prose("small"))
            line.setStyleSheet(f"font-size: {theme.pixels('small')}px;")
        for slider in self.sliders.values():
            slider.update_theme()
        widest = max(slider.label.sizeHint().width() for slider in self.sliders.values())
        for slider in self.sliders.values():
            slider.set_label_width(widest)

    def _with_preset(self, preset: Preset) -> SamplingParams:
        """The settings in force with the preset's shape; penalties and seed stay."""
        names = ("temperature", "top_k", "top_p", "min_p", "typical_p")
        return self._params.with_changes(**{name: getattr(preset.params, name) for name in names})

    def _update_why(self) -> None:
        """One line of why: of the preset under the pointer, or else of the one in force."""
        pointed = next((name for name in self._offered() if self.presets[name].underMouse()), None)
        name = pointed or next((name for name in self._offered() if self.presets[name].isChecked()), None)
        self.why.setText("Settings of your own." if name is None else self._shapes[name].why)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if event.type() in (QEvent.Type.Enter, QEvent.Type.Leave):
            self._update_why()
        return super().eventFilter(watched, event)

    def _on_preset_clicked(self, name: str, _checked: bool = False) -> None:
        self._edit(self._with_preset(self._shapes[name]))

    def _edit(self, params: SamplingParams) -> None:
        self.set_params(params)
        self.params_edited.emit(params)


def _default(setting: Setting) -> float | None:
    value: float | None = getattr(SamplingParams(), setting.field)
    return value


def compact_button(vertical: int, horizontal: int, pixels: int) -> str:
    """A style with this padding and text height whose text is as wide when checked as when not."""
    return (
        f"QPushButton {{ padding: {vertical}px {horizontal}px; font-size: {pixels}px; }}"
        " QPushButton:checked { font-weight: 400; }"
    )
