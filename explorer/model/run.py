"""A text's way through a model, one step at a time: what all families have in common.

Decoders write one token after another (`explorer.model.generation`); encoders fill in masks
(`explorer.model.mask_filling`). Both choose from logits, can be forced, go back, and show attention.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from explorer.core.beams import BeamSearch
from explorer.core.branches import ROOT, RunTree
from explorer.core.inside import InsideReading
from explorer.core.records import RunSnapshot, StepRecord
from explorer.core.sampling import RankedLogits, SamplingParams
from explorer.core.stopping import BY_CHECKPOINT, Stopping
from explorer.core.tokens import Token, TokenizedText
from explorer.model.attention_notes import Notes
from explorer.model.branching import Branches, Reading
from explorer.model.errors import RunFinishedError, TextError
from explorer.model.run_attention import ReadableRun

if TYPE_CHECKING:
    from explorer.model.inside import StepInputs
    from explorer.model.language_model import LanguageModel


class Run(ReadableRun):
    """One text's way through the model. Made by `LanguageModel.generate`; used from one thread at a time.

    Attributes
    ----------
    source : TokenizedText
        What the encoder (or, for a decoder-only model, the prompt) reads.
    params : SamplingParams
        How the next token will be chosen; may be replaced between steps.
    start_tokens : tuple of Token
        What the decoder was given before its first step; empty without a decoder of its own.
    steps : list of StepRecord
        The steps so far.
    stop_reason : str or None
        Why there is no further step; None while there is.

    Notes
    -----
    Every step ever taken stays, as a node of `tree`, with the forward pass that followed it. On the
    device: one position of the KV cache and of the attention notes per node, wherever it is. On the host:
    4 bytes per vocabulary entry and pass, and as many for a step whose logits the checkpoint's rules
    changed.
    """

    def __init__(self, lm: LanguageModel, source: TokenizedText, params: SamplingParams) -> None:
        if not source.text.strip() or not source.tokens:
            raise TextError("The text is empty: type a sentence for the model to read.")
        self.lm = lm
        self.source = source
        self.params = params
        self.stopping = BY_CHECKPOINT
        # The language that is written; empty where the model was not told one.
        self.target_language = ""
        self.start_tokens: tuple[Token, ...] = ()
        self.steps: list[StepRecord] = []
        self.stop_reason: str | None = None
        self.notes = lm.recorder.new_notes()
        self._run_id = 0
        self._shown: RunSnapshot | None = None
        self._ids: Any = torch.tensor([source.ids], device=lm.device)  # (1, t)
        self._generator = torch.Generator(device=lm.device)
        self._seed()
        self._branches = Branches(self._generator.get_state())

    # -- what it has come to ------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether there is no further step."""
        return self.stop_reason is not None

    @property
    def token_ids(self) -> list[int]:
        """Token IDs chosen so far."""
        return [step.token.id for step in self.steps]

    @property
    def tree(self) -> RunTree:
        """Every step ever taken, on this branch and on others."""
        return self._branches.value()

    @property
    def node(self) -> int:
        """The node of the tree that the run stands at; `ROOT` before the first step."""
        return self._branches.current

    @property
    @abstractmethod
    def text(self) -> str:
        """What came out so far, detokenized, special tokens left out."""

    @abstractmethod
    def text_around(self, index: int) -> tuple[str, str]:
        """The text before the token of step ``index`` and the text up to it, detokenized."""

    @property
    @abstractmethod
    def encoder_shape(self) -> tuple[int, int] | None:
        """(source tokens, hidden size) of what the encoder handed over; None without an encoder."""

    def snapshot(self, run_id: int | None = None) -> RunSnapshot:
        """The run as it stands, as a value that may cross threads; the same one until it moves.

        ``run_id`` is taken down for this and later snapshots.
        """
        if run_id is not None and run_id != self._run_id:
            self._run_id, self._shown = run_id, None
        if self._shown is None or self._shown.params is not self.params:
            self._shown = RunSnapshot(
                run_id=self._run_id,
                family=self.lm.family,
                source=self.source,
                start_tokens=self.start_tokens,
                steps=tuple(self.steps),
                text=self.text,
                stop_reason=self.stop_reason,
                encoder_shape=self.encoder_shape,
                params=self.params,
                tree=self.tree,
                target_language=self.target_language,
            )
        return self._shown

    # -- the loop -----------------------------------------------------------------------------

    def step(self, force: int | None = None) -> StepRecord:
        """Take one step: write one more token, or fill one more mask.

        Parameters
        ----------
        force : int or None
            Take this token whatever the distribution says.

        Returns
        -------
        StepRecord
            What the model said and what was chosen.

        Raises
        ------
        RunFinishedError
            The loop has ended.
        ValueError
            ``force`` is no token of the vocabulary.
        LogitsError
            The logits hold NaN, or every token is suppressed; forcing a token is no way around it.
        CancelledError
            The model's recorder was told to cancel; the run stands where it stood.

        Notes
        -----
        Where the same token was taken at this place before, its node is entered again and nothing is
        computed: a pass is only run where none has been. What failed leaves the run as it was.
        """
        if self.finished:
            raise RunFinishedError(f"The run has ended ({self.stop_reason}); go back or reset to step again.")
        vocabulary = self.lm.text_tokenizer.vocabulary_size
        if force is not None and not 0 <= force < vocabulary:
            raise ValueError(f"There is no token {force}: IDs go from 0 to {vocabulary - 1}.")
        branches = self._branches
        with torch.inference_mode():
            reading = self._read_here()
            logits = self._on_device(reading)
            scores = self._apply_rules(logits)  # (1, V)
            if not math.isfinite(float(scores.max())):
                RankedLogits(scores[0].cpu().numpy())  # says what is wrong with them
            token_id, state = (
                (force, branches.here.generator_state) if force is not None else self._choose(scores)
            )
            record = self._record(reading, logits, scores, token_id, forced=force is not None)
            reading.on_device = None
            self._enter([branches.grow(branches.current, record, state)])
        self._settle()
        return self.steps[-1]

    def back(self) -> StepRecord | None:
        """Go back before the last step; it stays in the tree, with all that was computed.

        Stepping again, or forcing another token there, costs no model call.

        Returns
        -------
        StepRecord or None
            The step that was taken back; None when there was none.
        """
        if not self.steps:
            return None
        record = self.steps[-1]
        self.go_to(self._branches.here.node.parent)
        return record

    def go_to(self, node: int) -> None:
        """Stand at another node of the tree: its steps are then the run's, with text, attention and all.

        No model call: what the passes in between left in the cache is cut off and put back,
        O(steps left and entered + tokens in the cache).

        Raises
        ------
        ValueError
            There is no such node.
        """
        self._branches.check(node)
        leave, enter = self._branches.way_to(node)
        with torch.inference_mode():
            if leave:
                self._leave(leave)
            if enter:
                self._enter(enter)
        self._settle()

    def restart(self) -> None:
        """Stand before the first step again, with the generator seeded anew as the settings say.

        Every branch stays, with its passes: a run that takes the same tokens again costs no model call.
        Tokens are those of a new run under the same settings.
        """
        self._seed()
        self._branches.places[ROOT].generator_state = self._generator.get_state()
        self.go_to(ROOT)

    def _seed(self) -> None:
        self._seeded_with = self.params.seed
        if self.params.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self.params.seed)

    def name_branch(self, node: int, name: str) -> None:
        """Call the branch that begins at ``node`` by a name; an empty one takes it away.

        Raises
        ------
        ValueError
            There is no such node.
        """
        self._branches.check(node)
        if name.strip():
            self._branches.names[node] = name.strip()
        else:
            self._branches.names.pop(node, None)
        self._shown = None

    def beam_search(
        self,
        width: int,
        length_penalty: float | None = None,
        max_new_tokens: int | None = None,
        *,
        report: Callable[[int, int], None] | None = None,
        run_id: int = 0,
    ) -> BeamSearch:
        """Follow several hypotheses at once; see `explorer.model.generation.DecodingRun.beam_search`.

        Raises
        ------
        ValueError
            The model fills in masks: it writes no sequence that beams could follow.
        """
        raise ValueError(
            f"{self.lm.name} fills in masks and writes no text, so that there is nothing to search; "
            "beam search needs an encoder-decoder or a decoder-only model."
        )

    def stop_when(self, stopping: Stopping) -> None:
        """End the loop at other conditions from here on; a run that had ended by the old ones may go on.

        No model call. An encoder-only run has no text that grows, so that stop strings say nothing to it.
        """
        self.stopping = stopping
        with torch.inference_mode():
            self._stop_when(stopping)
        self._settle()

    def finish(self, max_new_tokens: int | None = None) -> Self:
        """Step until there is no further step, or until there are ``max_new_tokens`` steps in all."""
        if max_new_tokens is not None:
            self.stop_when(Stopping(max_new_tokens, self.stopping.strings))
        while not self.finished:
            self.step()
        return self

    def inside(self, top: int = 5, *, run_id: int = 0) -> InsideReading:
        """What every part of every layer added at each step, and what each layer would already choose.

        One extra pass; see `explorer.model.inside.read_inside`.
        """
        from explorer.model.inside import read_inside

        return read_inside(self, run_id, top)

    @abstractmethod
    def inputs_of_steps(self) -> StepInputs:
        """What makes the model read all steps of the branch at once; there is at least one."""

    @abstractmethod
    def _stop_when(self, stopping: Stopping) -> None:
        """Stop after so many steps in all, or at a string."""

    @abstractmethod
    def _forward(self) -> Reading:
        """One forward pass, for the step after the current node."""

    @abstractmethod
    def _accept(self, token_ids: list[int]) -> None:
        """Put tokens where the next forward pass reads them."""

    @abstractmethod
    def _retract(self, count: int) -> None:
        """Undo `_accept` for the last ``count`` tokens."""

    @abstractmethod
    def _stash(self, readings: list[Reading]) -> None:
        """Take the last passes out of cache and notes; these are theirs, oldest first."""

    @abstractmethod
    def _put_back(self, readings: list[Reading]) -> None:
        """Undo `_stash`."""

    def _read_here(self) -> Reading:
        """The pass that read all up to the current node; run now where it has not been."""
        here = self._branches.here
        if here.reading is None:
            here.reading = self._forward()
        return here.reading

    def _on_device(self, reading: Reading) -> torch.Tensor:
        """Raw logits (1, V) on the model's device."""
        if reading.on_device is None:
            # A copy: the host's is shared with records, which views may have made read-only.
            return torch.tensor(reading.logits, device=self.lm.device)[None]
        return reading.on_device

    def _leave(self, nodes: list[int]) -> None:
        """Go back before the first of the path's last nodes."""
        branches = self._branches
        places = [branches.places[node] for node in nodes]
        readings = [place.reading for place in places if place.reading is not None]
        if readings:
            self._stash(readings)
        self._retract(len(nodes))
        del branches.path[-len(nodes) :]
        del self.steps[-len(nodes) :]
        self._generator.set_state(branches.here.generator_state)

    def _enter(self, nodes: list[int]) -> None:
        """Go on along nodes that follow each other, the first of them the current one."""
        branches = self._branches
        places = [branches.places[node] for node in nodes]
        steps = [branches.record(node) for node in nodes]
        readings = [place.reading for place in places if place.reading is not None]
        if readings:
            self._put_back(readings)
        self._accept([step.token.id for step in steps])
        branches.path += nodes
        self.steps += steps
        self._generator.set_state(places[-1].generator_state)

    @abstractmethod
    def _why_stopped(self) -> str | None:
        """Why there is no further step; None while there is."""

    def _apply_rules(self, logits: torch.Tensor) -> torch.Tensor:
        """The checkpoint's own rules (banned words, forced tokens, penalties) on logits (1, V)."""
        return logits

    def _settle(self) -> None:
        """Bring up to date what depends on where the run stands."""
        self.stop_reason = self._why_stopped()
        self._shown = None

    @contextmanager
    def _noting(self, notes: Notes | None = None) -> Iterator[None]:
        """Note the model's attention, for this run where nothing else is given."""
        self.lm.recorder.notes = self.notes if notes is None else notes
        try:
            yield
        finally:
            self.lm.recorder.notes = None

    def _choose(self, scores: torch.Tensor) -> tuple[int, torch.Tensor]:
        """The next token and the generator's state after it was drawn."""
        if self.params.greedy:
            return int(scores.argmax(dim=-1)), self._branches.here.generator_state
        if self.node == ROOT and self.params.seed != self._seeded_with:
            self._seed()  # the settings were changed before the first draw
            self._branches.here.generator_state = self._generator.get_state()
        warped = _warpers(self.params)(self._ids, scores)
        probabilities = torch.softmax(warped, dim=-1)
        token_id = int(torch.multinomial(probabilities, num_samples=1, generator=self._generator))
        return token_id, self._generator.get_state()

    def _previous_ids(self) -> npt.NDArray[np.int64]:
        """(t,) what the next step comes after."""
        ids: npt.NDArray[np.int64] = self._ids[0].cpu().numpy()
        return ids

    def _record(
        self, reading: Reading, logits: torch.Tensor, scores: torch.Tensor, token_id: int, *, forced: bool
    ) -> StepRecord:
        same = torch.equal(scores, logits)
        return StepRecord(
            index=len(self.steps),
            token=self.lm.text_tokenizer.token(token_id),
            logits=reading.logits,
            scores=reading.logits if same else scores[0].cpu().numpy(),
            previous_ids=self._previous_ids(),
            params=self.params,
            forced=forced,
            seconds=reading.seconds,
        )


def _warpers(params: SamplingParams) -> LogitsProcessorList:
    """The steps that ``generate(do_sample=True)`` would add for ``params``, in its order."""
    chain = LogitsProcessorList()
    if params.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(float(params.temperature)))
    if params.top_k:
        chain.append(TopKLogitsWarper(int(params.top_k)))
    if params.top_p is not None and params.top_p < 1.0:
        chain.append(TopPLogitsWarper(float(params.top_p)))
    if params.min_p is not None:
        chain.append(MinPLogitsWarper(float(params.min_p)))
    if params.typical_p is not None and params.typical_p < 1.0:
        chain.append(TypicalLogitsWarper(float(params.typical_p)))
    return chain
