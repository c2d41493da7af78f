"""The chain from raw logits to the distribution, stage by stage, in transformers' order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QPushButton, QWidget

from explorer.core.records import StepRecord
from explorer.core.sampling import Distribution, SamplingParams
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it is called, which settings take part in it, and what it does."""

    name: str
    fields: tuple[str, ...]
    why: str


STAGES = (
    Stage("logits", (), "Softmax of the raw logits, as the model's head gave them."),
    Stage(
        "penalties",
        ("repetition_penalty", "no_repeat_ngram_size"),
        "After the checkpoint's own rules, the repetition penalty and the n-grams that may not repeat.",
    ),
    Stage("temperature", ("temperature",), "After dividing by the temperature."),
    Stage("top-k", ("top_k",), "After cutting all but the k most likely."),
    Stage("top-p", ("top_p",), "After cutting what is not needed to reach the mass p."),
    Stage("min-p", ("min_p",), "After cutting what is too unlikely beside the most likely."),
    Stage("typical-p", ("typical_p",), "After cutting what is least typical."),
    Stage("result", (), "All stages: what a token is drawn from."),
)


def after_stage(step: StepRecord, params: SamplingParams, name: str) -> Distribution:
    """Return the distribution after the stage ``name``, made to sum to 1; costs what any reshaping does."""
    if name == STAGES[-1].name:
        return step.distribution(params)
    if name == STAGES[0].name:
        return step.ranked_logits.unshaped
    fields: list[str] = []
    for stage in STAGES:
        fields += stage.fields
        if stage.name == name:
            break
    return step.distribution(SamplingParams(**{field: getattr(params, field) for field in fields}))


class StageRow(QWidget):
    """The stages as numbered buttons, of which one is down.

    Signals
    -------
    stage_chosen : str
        A person wants to look at the distribution after that stage.
    """

    stage_chosen = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._group = QButtonGroup(self)
        self._row = WrappingLayout(self)
        self.buttons: dict[str, QPushButton] = {}
        for number, stage in enumerate(STAGES, start=1):
            button = QPushButton(f"{number} {stage.name}", self)
            button.setObjectName(f"stage_{stage.name}")
            button.setCheckable(True)
            button.setToolTip(f"Stage {number} of {len(STAGES)}. {stage.why}")
            button.clicked.connect(lambda _checked, name=stage.name: self.stage_chosen.emit(name))
            self._group.addButton(button)
            self._row.addWidget(button)
            self.buttons[stage.name] = button
        self.buttons[STAGES[-1].name].setChecked(True)

    def style_buttons(self, style: str, spacing: int) -> None:
        """Sizes changed."""
        self._row.setSpacing(spacing)
        for button in self.buttons.values():
            button.setStyleSheet(style)

    def names(self) -> Sequence[str]:
        """The stages, in order."""
        return tuple(self.buttons)
