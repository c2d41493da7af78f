"""The only shared mutable state. Panels show it and write it; the controller answers to it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from explorer.app.generation_state import GenerationState
from explorer.app.language_state import LanguageState
from explorer.app.marked_heads import MarkedHeads
from explorer.app.model_state import ModelState
from explorer.app.temperature_state import TemperatureState
from explorer.app.vector_state import VectorState
from explorer.core.records import (
    AttentionMap,
    AttentionOverview,
    CellReading,
    ModelInfo,
    PairReading,
    RunSnapshot,
    StepRecord,
    TokenCloud,
)
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.selection import NOTHING, AttentionSummary, HeadRef, Place, Pooling, Selection, TokenRef
from explorer.core.tokens import Token, TokenizedText


class Emphasis(enum.IntEnum):
    """How strongly a token is to be drawn, weakest first."""

    NONE = 0
    SAME = 1  # another place with the same token ID as the selected or hovered one
    HOVERED = 2
    SELECTED = 3


# What a person may want to stop: a run to the end, or a search. All else is "other".
ActivityKind = Literal["generating", "searching", "other"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What the worker is doing.

    Attributes
    ----------
    text : str
        One line for the progress strip.
    fraction : float or None
        Done so far, 0 to 1; None when it cannot be known.
    kind : ActivityKind
        What sort of work it is.
    """

    text: str
    fraction: float | None = None
    kind: ActivityKind = "other"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that went wrong or that a person should know.

    Attributes
    ----------
    text : str
        One clear sentence: what is wrong and what to do.
    details : str
        A report to copy (traceback, versions); empty where there is nothing more to say.
    error : bool
        False for a mere remark.
    """

    text: str
    details: str = ""
    error: bool = True


class AppState(QObject):
    """What the window shows, with one past-tense signal per field.

    Lives on the GUI thread; every setter is called there only, does nothing when the value is
    unchanged, and emits after the new value is in place.
    """

    model_changed = Signal()
    cloud_changed = Signal()
    cloud_problem_changed = Signal()
    source_text_changed = Signal()
    source_changed = Signal()
    run_changed = Signal()
    viewed_step_changed = Signal()
    sampling_changed = Signal()
    head_changed = Signal()
    summary_changed = Signal()
    attention_changed = Signal()
    overview_changed = Signal()
    pooling_changed = Signal()
    selection_changed = Signal()
    hover_changed = Signal()
    pair_changed = Signal()
    cell_changed = Signal()
    activity_changed = Signal()
    notice_changed = Signal()
    stale_changed = Signal()

    all_maps_requested = Signal(object, str)
    model_requested = Signal(str)
    step_requested = Signal()
    force_requested = Signal(int)
    back_requested = Signal()
    finish_requested = Signal()
    reset_requested = Signal()
    stop_requested = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.vectors = VectorState(self)
        self.models = ModelState(self)
        self.generation = GenerationState(self)
        self.languages = LanguageState(self)
        self.languages.pair_changed.connect(self._update_stale)
        self.marked = MarkedHeads(self)
        self.temperatures = TemperatureState(self)
        self._model: ModelInfo | None = None
        self._cloud: TokenCloud | None = None
        self._cloud_problem = ""
        self._source_text = ""
        self._source: TokenizedText | None = None
        self._run: RunSnapshot | None = None
        self._viewed_step: int | None = None
        self._sampling: SamplingParams = GREEDY
        self._head: HeadRef | None = None
        self._summary: AttentionSummary = "head"
        self._attention: AttentionMap | None = None
        self._overview: AttentionOverview | None = None
        self._pooling: Pooling = "max"
        self._selection: Selection = NOTHING
        self._hover: TokenRef | None = None
        self._pair: PairReading | None = None
        self._cell: CellReading | None = None
        self._activity: Activity | None = None
        self._notice: Notice | None = None
        self._stale = False

    # -- the model ----------------------------------------------------------------------------

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model; None until the first one is ready."""
        return self._model

    def set_model(self, model: ModelInfo | None) -> None:
        """A model was loaded; what belonged to the one before goes."""
        if model is self._model:
            return
        self.set_selection(NOTHING)
        self.set_hover(None)
        self.set_run(None)
        self.set_cloud(None)
        self.set_cloud_problem("")
        self.set_source(None)
        self.vectors.clear()
        self.generation.clear()
        self._model = model
        self.languages.set_model(model)
        self.mark_heads(())
        self.set_head(_first_head(model))
        self.model_changed.emit()

    @property
    def cloud(self) -> TokenCloud | None:
        """The model's input embeddings in exact principal components; None until computed."""
        return self._cloud

    def set_cloud(self, cloud: TokenCloud | None) -> None:
        """Set the embedding cloud."""
        self._set("cloud", cloud)

    @property
    def cloud_problem(self) -> str:
        """Why the model's token vectors cannot be shown, in one sentence; empty while they can."""
        return self._cloud_problem

    def set_cloud_problem(self, problem: str) -> None:
        """The token vectors turned out to be unusable, e.g. because the checkpoint holds NaN."""
        self._set("cloud_problem", problem)

    # -- the sentence and its run -------------------------------------------------------------

    @property
    def source_text(self) -> str:
        """What is typed in the text field."""
        return self._source_text

    def set_source_text(self, text: str) -> None:
        """The person typed; everything that belongs to the old text is stale from here on."""
        self._set("source_text", text)
        self._update_stale()

    @property
    def source(self) -> TokenizedText | None:
        """The typed text, tokenized."""
        return self._source

    def set_source(self, source: TokenizedText | None) -> None:
        """The text was tokenized; a selection in the old sentence means nothing in the new one."""
        if source is self._source:
            return
        self._set("source", source)
        self.set_hover(None)
        self.set_selection(Selection.of(ref for ref in self._selection.refs if ref.side == "vocabulary"))

    @property
    def run(self) -> RunSnapshot | None:
        """The run as it last stood; None before the first."""
        return self._run

    def set_run(self, run: RunSnapshot | None, viewed: int | None = None) -> None:
        """The run moved on, back, or to another branch.

        With ``viewed`` that step is looked at; otherwise a step that was added, or a new run's last
        one, comes into view.
        """
        before = self._run
        if run is before:
            return
        self._run = run
        if run is not None:
            self.generation.remember(run)
        count = 0 if run is None else len(run.steps)
        same_run = before is not None and run is not None and before.run_id == run.run_id
        grew = before is None or count > len(before.steps)
        last = count - 1 if count else None
        if viewed is None or last is None:
            viewed = last
            if last is not None and same_run and not grew and self._viewed_step is not None:
                viewed = min(self._viewed_step, last)
        else:
            viewed = min(max(viewed, 0), last)
        changed = viewed != self._viewed_step
        self._viewed_step = viewed
        if run is None:
            self.set_attention(None)
            self.set_overview(None)
        self.set_selection(
            Selection.of(ref for ref in self._selection.refs if self.token_id(ref) is not None)
        )
        if self._hover is not None and self.token_id(self._hover) is None:
            self.set_hover(None)
        self.run_changed.emit()
        if changed:
            self.viewed_step_changed.emit()
        self._update_stale()

    @property
    def viewed_step(self) -> int | None:
        """Which step the generation and softmax panels look at; None before the first step."""
        return self._viewed_step

    def set_viewed_step(self, index: int | None) -> None:
        """Look at another step of the run; out-of-range indices are clamped."""
        count = 0 if self._run is None else len(self._run.steps)
        if index is not None:
            index = min(max(index, 0), count - 1) if count else None
        self._set("viewed_step", index)

    @property
    def step(self) -> StepRecord | None:
        """The viewed step itself."""
        if self._run is None or self._viewed_step is None:
            return None
        return self._run.steps[self._viewed_step]

    @property
    def stale(self) -> bool:
        """Whether the run on show belongs to an older text than the one typed, or to other languages."""
        return self._stale

    def _update_stale(self) -> None:
        run, typed = self._run, (self._source_text, self.languages.pair)
        self._set("stale", run is not None and (run.source.text, run.languages) != typed)

    @property
    def sampling(self) -> SamplingParams:
        """The settings that reshape what is shown and that the next step will use."""
        return self._sampling

    def set_sampling(self, params: SamplingParams) -> None:
        """A slider moved."""
        self._set("sampling", params)

    # -- attention ----------------------------------------------------------------------------

    @property
    def head(self) -> HeadRef | None:
        """The opened attention head."""
        return self._head

    def set_head(self, head: HeadRef | None) -> None:
        """Open another head; cross-attention has no rollout to go on with, marks are of one kind."""
        if head is not None and head.kind == "cross" and self._summary == "rollout":
            self.set_summary("head")
        if head is None or self._head is None or head.kind != self._head.kind:
            self.mark_heads(())
        self._set("head", head)

    @property
    def summary(self) -> AttentionSummary:
        """What the map shows: the opened head, a mean over its layer or the marked ones, or the rollout."""
        return self._summary

    def set_summary(self, summary: AttentionSummary) -> None:
        """Show one head, or what many come to."""
        self._set("summary", summary)

    @property
    def pooling(self) -> Pooling:
        """What stands for several weights in a thumbnail of a long text."""
        return self._pooling

    def set_pooling(self, pooling: Pooling) -> None:
        """Reduce long texts to thumbnails in another way."""
        self._set("pooling", pooling)

    def mark_heads(self, places: tuple[Place, ...]) -> None:
        """Put heads of the opened kind together; without any there is no mean over them to go on with."""
        if len(set(places)) < 2 and self._summary == "chosen":
            self.set_summary("head")
        self.marked.set_places(places)

    @property
    def attention(self) -> AttentionMap | None:
        """The last map that arrived; its ``head`` and ``summary`` say what it is."""
        return self._attention

    def set_attention(self, attention: AttentionMap | None) -> None:
        """A head's map was read."""
        self._set("attention", attention)

    @property
    def overview(self) -> AttentionOverview | None:
        """All heads of the opened kind as thumbnails."""
        return self._overview

    def set_overview(self, overview: AttentionOverview | None) -> None:
        """The thumbnails were read."""
        self._set("overview", overview)

    # -- what the person points at --------------------------------------------------------------

    @property
    def selection(self) -> Selection:
        """The sticky selection: a token and, for a pair, its partner."""
        return self._selection

    def set_selection(self, selection: Selection) -> None:
        """Set the selection; a selected generated token brings its step into view."""
        if selection == self._selection:
            return
        self._selection = selection
        if len(selection.refs) < 2:
            self.set_pair(None)
        self.selection_changed.emit()
        for ref in reversed(selection.refs):
            if ref.side == "generated":
                self.set_viewed_step(ref.index)
                break

    def select(self, ref: TokenRef | None, *, extend: bool = False) -> None:
        """A click (``extend`` with Ctrl or Shift held: pick the partner of a pair)."""
        if ref is None:
            self.set_selection(NOTHING)
        else:
            self.set_selection(self._selection.with_pick(ref) if extend else Selection(ref))

    def move_selection(self, delta: int) -> None:
        """An arrow key: ``delta`` tokens along source, start and generated tokens; stops at the ends."""
        refs = self.refs()
        if not refs:
            return
        if self._selection.token not in refs:
            self.select(refs[0] if delta > 0 else refs[-1])
            return
        here = refs.index(self._selection.token)
        self.select(refs[min(max(here + delta, 0), len(refs) - 1)])

    @property
    def hover(self) -> TokenRef | None:
        """The token under the pointer, in whichever panel."""
        return self._hover

    def set_hover(self, ref: TokenRef | None) -> None:
        """The pointer moved on or off a token."""
        self._set("hover", ref)

    @property
    def pair(self) -> PairReading | None:
        """The selected pair compared in the full space; None until it is read."""
        return self._pair

    def set_pair(self, pair: PairReading | None) -> None:
        """The pair was compared."""
        self._set("pair", pair)

    @property
    def cell(self) -> CellReading | None:
        """How the selected pair's weight in the opened head came about; None where it is no cell of it."""
        return self._cell

    def set_cell(self, cell: CellReading | None) -> None:
        """The weight was looked into."""
        self._set("cell", cell)

    def refs(self) -> tuple[TokenRef, ...]:
        """All tokens on show, in reading order."""
        source = (
            () if self._source is None else tuple(TokenRef("source", i) for i in range(len(self._source)))
        )
        run = () if self._run is None else tuple(ref for ref in self._run.refs() if ref.side != "source")
        return source + run

    def token(self, ref: TokenRef) -> Token | None:
        """The token behind ``ref``, from the typed text and the run; None for vocabulary refs."""
        if ref.side == "source":
            tokens = () if self._source is None else self._source.tokens
            return tokens[ref.index] if 0 <= ref.index < len(tokens) else None
        return None if self._run is None else self._run.token(ref)

    def token_id(self, ref: TokenRef) -> int | None:
        """The vocabulary row behind ``ref``; None when it points at nothing."""
        if ref.side == "vocabulary":
            return ref.index
        token = self.token(ref)
        return None if token is None else token.id

    def piece(self, token_id: int) -> str:
        """The piece of a vocabulary row, from the cloud or, before it is there, from the sentence."""
        if self._cloud is not None and 0 <= token_id < len(self._cloud.pieces):
            return self._cloud.pieces[token_id]
        for ref in self.refs():
            token = self.token(ref)
            if token is not None and token.id == token_id:
                return token.piece
        return f"#{token_id}"

    def emphasis(self, ref: TokenRef) -> Emphasis:
        """How strongly to draw the token at ``ref``."""
        if ref in self._selection.refs:
            return Emphasis.SELECTED
        if ref == self._hover:
            return Emphasis.HOVERED
        token_id = self.token_id(ref)
        return min(Emphasis.SAME, self.emphasis_of_id(token_id)) if token_id is not None else Emphasis.NONE

    def emphasis_of_id(self, token_id: int) -> Emphasis:
        """How strongly to draw a vocabulary row (a 3D point, a bar), wherever its token stands."""
        return self.emphasised_ids().get(token_id, Emphasis.NONE)

    def emphasised_ids(self) -> dict[int, Emphasis]:
        """The vocabulary rows that are not drawn as all others are, and how strongly."""
        found: dict[int, Emphasis] = {}
        hovered = None if self._hover is None else self.token_id(self._hover)
        if hovered is not None:
            found[hovered] = Emphasis.HOVERED
        for ref in self._selection.refs:
            token_id = self.token_id(ref)
            if token_id is not None:
                found[token_id] = Emphasis.SELECTED
        return found

    # -- what is going on -----------------------------------------------------------------------

    @property
    def activity(self) -> Activity | None:
        """What the worker is doing; None when it is idle."""
        return self._activity

    def set_activity(self, activity: Activity | None) -> None:
        """The worker began, went on or ended."""
        self._set("activity", activity)

    @property
    def notice(self) -> Notice | None:
        """The notice on show; None when there is none."""
        return self._notice

    def set_notice(self, notice: Notice | None) -> None:
        """Show a notice, or with None take it away."""
        self._set("notice", notice)

    def _set(self, name: str, value: Any) -> None:
        # The big frozen values compare by identity (eq=False), so that no array is ever compared.
        if getattr(self, f"_{name}") == value:
            return
        setattr(self, f"_{name}", value)
        getattr(self, f"{name}_changed").emit()


def _first_head(model: ModelInfo | None) -> HeadRef | None:
    if model is None or not model.attention_kinds:
        return None
    kind = "cross" if "cross" in model.attention_kinds else model.attention_kinds[-1]
    return HeadRef(kind, model.layers[kind] - 1, 0)
