"""In words, where the window stands: which step, and which moment inside it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from explorer.app.state import AppState
from explorer.core.moments import Moment
from explorer.core.records import ModelInfo, RunSnapshot, StepRecord
from explorer.core.tokens import Token
from explorer.panels.generation.step_card import how_chosen
from explorer.panels.widgets.piece_text import probability_text, shorten, visible_piece, visible_text
from explorer.theme import Theme


def moment_text(state: AppState) -> str:
    """The step, the moment inside it, and what came out there; empty without a run."""
    run, step, moment = state.run, state.step, state.generation.moment
    if state.model is None or run is None or state.stale:
        return ""
    where = "before the first step" if step is None else f"step {step.index} of 0–{len(run.steps) - 1}"
    if moment is None:
        return where
    told = _read_once(state.model, run, moment)
    if not told:
        told = _decoded(state.model, run, step, moment) if step is None else _chosen(state, run, step, moment)
    return f"{where}   ·   inside: {told}"


def _read_once(model: ModelInfo, run: RunSnapshot, moment: Moment) -> str:
    """What happens to the text that is read; empty for a moment of the decoder."""
    count = len(run.source)
    shape = f"{count:,} × {model.hidden_size:,}"
    last = model.layers.get("encoder", 1) - 1
    if moment.stage == "tokenize":
        return f"tokenize, {count:,} tokens"
    if moment.stage == "embed":
        return f"embed, {shape}: one vector a token"
    if moment.stage == "encoder":
        once = "" if model.family == "encoder-only" else ", once for the whole run"
        handed = " – handed on" if moment.layer == last else ""
        return f"encoder layer {moment.layer} of 0–{last}, {shape}{handed}{once}"
    if moment.stage == "start" and run.start_tokens:
        return f"start token {_name(run.start_tokens[-1])}, given, not chosen"
    return ""


def _chosen(state: AppState, run: RunSnapshot, step: StepRecord, moment: Moment) -> str:
    """What happens to the one vector that the step's token is chosen from."""
    if moment.stage == "logits":
        return f"logits, {step.logits.size:,} scores, highest {float(step.logits.max()):.2f}"
    if moment.stage == "softmax":
        token_id, probability = step.best[0]
        piece = shorten(visible_piece(state.piece(token_id)), 20)
        return f"softmax, {piece} at {probability_text(probability)}, {step.entropy_bits:.2f} bits"
    if moment.stage == "choose":
        return f"choose, {_name(step.token)}: {how_chosen(step)}"
    if moment.stage == "feed":
        if run.family == "encoder-only":
            return f"fill in, {_name(step.token)} takes the mask's place"
        return f"feed back, {_name(step.token)} is read next"
    if moment.stage == "detokenize":
        return f"detokenize, {shorten(visible_text(run.text), 60)}"
    assert state.model is not None
    return _decoded(state.model, run, step, moment)


def _decoded(model: ModelInfo, run: RunSnapshot, step: StepRecord | None, moment: Moment) -> str:
    last = model.layers.get("decoder", 1) - 1
    given: Token | None = run.start_tokens[-1] if run.start_tokens else run.source.tokens[-1]
    if step is not None and step.index > 0:
        given = run.steps[step.index - 1].token
    reads = f", reading {_name(given)}" if given is not None else ""
    return f"{moment.stage} layer {moment.layer} of 0–{last}{reads}"


def _name(token: Token) -> str:
    return shorten(visible_piece(token.piece), 20)


class MomentLine(QLabel):
    """`moment_text`, at the foot of the window."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._theme = theme
        self.setObjectName("moment_line")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAccessibleName("Where the window stands")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        generation = state.generation
        for changed in (
            state.model_changed,
            state.run_changed,
            state.viewed_step_changed,
            state.stale_changed,
            generation.moment_changed,
        ):
            changed.connect(self._update)
        theme.changed.connect(self._update)
        self._update()

    def _update(self) -> None:
        text = moment_text(self._state)
        self.setProperty("role", "facts" if self._state.generation.moment is None else "small")
        self.style().polish(self)
        self.setContentsMargins(0, 0, self._theme.space(2), 0)
        self.setText(text)
        self.setToolTip("A step is one token written; inside it are its moments (Alt+Right, Alt+Left).")
