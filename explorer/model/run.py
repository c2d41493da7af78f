"""A text's way through a model, one step at a time: what all families have in common.

Decoders write one token after another (`explorer.model.generation`); encoders fill in masks
(`explorer.model.mask_filling`). Both choose from logits, can be forced, go back, and show attention.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from explorer.core.records import RunSnapshot, StepRecord
from explorer.core.sampling import RankedLogits, SamplingParams
from explorer.core.tokens import Token, TokenizedText
from explorer.model.attention import AttentionNotes
from explorer.model.errors import CancelledError, RunFinishedError, TextError
from explorer.model.run_attention import ReadableRun

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel


@dataclass(slots=True)
class Pending:
    """A forward pass whose token has not been chosen yet."""

    logits: torch.Tensor  # (1, V) float32, raw
    seconds: float


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
    On the device: the KV cache and the attention notes, both linear in length. On the host: 4 bytes per
    vocabulary entry and step (8 where the checkpoint's rules changed a logit).
    """

    def __init__(self, lm: LanguageModel, source: TokenizedText, params: SamplingParams) -> None:
        if not source.text.strip() or not source.tokens:
            raise TextError("The text is empty: type a sentence for the model to read.")
        self.lm = lm
        self.source = source
        self.params = params
        self.start_tokens: tuple[Token, ...] = ()
        self.steps: list[StepRecord] = []
        self.stop_reason: str | None = None
        self.notes = AttentionNotes()
        self._ids: Any = torch.tensor([source.ids], device=lm.device)  # (1, t)
        self._pending: Pending | None = None
        self._broken = False
        self._generator = torch.Generator(device=lm.device)
        if params.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(params.seed)
        self._generator_states: list[torch.Tensor] = []

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
    @abstractmethod
    def text(self) -> str:
        """What came out so far, detokenized, special tokens left out."""

    @property
    @abstractmethod
    def encoder_shape(self) -> tuple[int, int] | None:
        """(source tokens, hidden size) of what the encoder handed over; None without an encoder."""

    def snapshot(self, run_id: int = 0) -> RunSnapshot:
        """The run as it stands, as a value that may cross threads."""
        return RunSnapshot(
            run_id=run_id,
            family=self.lm.family,
            source=self.source,
            start_tokens=self.start_tokens,
            steps=tuple(self.steps),
            text=self.text,
            stop_reason=self.stop_reason,
            encoder_shape=self.encoder_shape,
            params=self.params,
        )

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
            The model's recorder was told to cancel; the run cannot go on.
        """
        if self._broken:
            raise CancelledError
        if self.finished:
            raise RunFinishedError(f"The run has ended ({self.stop_reason}); go back or reset to step again.")
        vocabulary = self.lm.text_tokenizer.vocabulary_size
        if force is not None and not 0 <= force < vocabulary:
            raise ValueError(f"There is no token {force}: IDs go from 0 to {vocabulary - 1}.")
        with torch.inference_mode():
            if self._pending is None:
                self._pending = self._forward()
            pending = self._pending
            scores = self._apply_rules(pending.logits)  # (1, V)
            if not math.isfinite(float(scores.max())):
                RankedLogits(scores[0].cpu().numpy())  # says what is wrong with them
            state = self._generator.get_state()
            token_id = self._choose(scores) if force is None else force
            record = self._record(pending, scores, token_id, forced=force is not None)
            self._accept(token_id)
        self._generator_states.append(state)
        self._pending = None
        self.steps.append(record)
        self._update_stop_reason()
        return record

    def back(self) -> StepRecord | None:
        """Take the last step back: cache, generator and text are as they were before it.

        The forward pass behind it stays at hand, so that stepping again, or forcing another token
        there, costs no model call.

        Returns
        -------
        StepRecord or None
            The step that was taken back; None when there was none.
        """
        if not self.steps:
            return None
        if self._pending is not None:
            self._forget_forward()
        record = self.steps.pop()
        self._generator.set_state(self._generator_states.pop())
        self._retract()
        self._pending = Pending(torch.from_numpy(record.logits)[None].to(self.lm.device), record.seconds)
        self._update_stop_reason()
        return record

    def finish(self, max_new_tokens: int | None = None) -> Self:
        """Step until there is no further step, or until there are ``max_new_tokens`` steps in all."""
        if max_new_tokens is not None:
            if max_new_tokens < 1:
                raise ValueError(f"max_new_tokens must be 1 or more, not {max_new_tokens}.")
            with torch.inference_mode():
                self._limit_steps(max_new_tokens)
            self._update_stop_reason()
        while not self.finished:
            self.step()
        return self

    @abstractmethod
    def _limit_steps(self, max_new_tokens: int) -> None:
        """Stop after so many steps in all."""

    @abstractmethod
    def _forward(self) -> Pending:
        """One forward pass, for the next step."""

    @abstractmethod
    def _forget_forward(self) -> None:
        """Undo the pending forward pass; never the one that read what was given."""

    @abstractmethod
    def _accept(self, token_id: int) -> None:
        """Put the chosen token where the next forward pass reads it."""

    @abstractmethod
    def _retract(self) -> None:
        """Undo `_accept`."""

    @abstractmethod
    def _why_stopped(self) -> str | None:
        """Why there is no further step; None while there is."""

    def _apply_rules(self, logits: torch.Tensor) -> torch.Tensor:
        """The checkpoint's own rules (banned words, forced tokens, penalties) on logits (1, V)."""
        return logits

    def _update_stop_reason(self) -> None:
        self.stop_reason = self._why_stopped()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note the model's attention for this run."""
        self.lm.recorder.notes = self.notes
        try:
            yield
        except BaseException:
            # A pass that broke off has written to some layers and not to others.
            self._broken = True
            raise
        finally:
            self.lm.recorder.notes = None

    def _choose(self, scores: torch.Tensor) -> int:
        if self.params.greedy:
            return int(scores.argmax(dim=-1))
        warped = _warpers(self.params)(self._ids, scores)
        probabilities = torch.softmax(warped, dim=-1)
        return int(torch.multinomial(probabilities, num_samples=1, generator=self._generator))

    def _record(self, pending: Pending, scores: torch.Tensor, token_id: int, *, forced: bool) -> StepRecord:
        logits = pending.logits[0].cpu().numpy()
        same = torch.equal(scores, pending.logits)
        return StepRecord(
            index=len(self.steps),
            token=self.lm.text_tokenizer.token(token_id),
            logits=logits,
            scores=logits if same else scores[0].cpu().numpy(),
            previous_ids=self._ids[0].cpu().numpy(),
            params=self.params,
            forced=forced,
            seconds=pending.seconds,
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
