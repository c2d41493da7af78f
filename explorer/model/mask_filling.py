"""Filling in masks, one at a time: what an encoder-only model does instead of a decoding loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from explorer.core.sampling import SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.tokens import TokenizedText
from explorer.model.attention import AttentionNotes
from explorer.model.run import Pending, Run

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel


class MaskFillingRun(Run):
    """A run of an encoder-only model: each step fills the leftmost mask that is left.

    The text is read once at the start, so that its attention is there before the first step, and once
    more for every mask after the first: a token that was filled in is read like any other. With one
    mask, its distribution is the model's own for that place.
    """

    def __init__(
        self,
        lm: LanguageModel,
        source: TokenizedText,
        params: SamplingParams,
        max_new_tokens: int | None = None,
    ) -> None:
        super().__init__(lm, source, params)
        mask_id = lm.text_tokenizer.mask_id
        self._mask_id = -1 if mask_id is None else mask_id
        self._places = [i for i, token in enumerate(source.tokens) if token.id == self._mask_id]
        self._limit = max_new_tokens
        self._notes_history: list[AttentionNotes] = []
        with torch.inference_mode():
            self._pending = self._forward()
        self._update_stop_reason()

    @property
    def text(self) -> str:
        """The text as filled in so far, detokenized, special tokens left out."""
        return self.lm.text_tokenizer.decode(self._ids[0].tolist())

    @property
    def encoder_shape(self) -> tuple[int, int]:
        """(tokens, hidden size) of what the encoder hands to the head."""
        return len(self.source), self.lm.info.hidden_size

    def _limit_steps(self, max_new_tokens: int) -> None:
        self._limit = max_new_tokens

    def _forward(self) -> Pending:
        started = time.perf_counter()
        self._notes_history.append(self.notes)
        self.notes = AttentionNotes()
        with self._noting():
            outputs = self.lm.model(self._ids, attention_mask=torch.ones_like(self._ids), return_dict=True)
        place = self._places[len(self.steps)] if len(self.steps) < len(self._places) else 0
        if not self.lm.has_head:
            return Pending(torch.zeros(1, 1), time.perf_counter() - started)
        logits = outputs.logits[:, place].to(copy=True, dtype=torch.float32)  # (1, V)
        return Pending(logits, time.perf_counter() - started)

    def _forget_forward(self) -> None:
        self._pending = None
        self.notes = self._notes_history.pop()

    def _accept(self, token_id: int) -> None:
        self._ids = self._ids.clone()  # the step's record keeps the ids that it was chosen after
        self._ids[0, self._places[len(self.steps)]] = token_id

    def _retract(self) -> None:
        self._ids = self._ids.clone()
        self._ids[0, self._places[len(self.steps)]] = self._mask_id

    def _why_stopped(self) -> str | None:
        if not self.lm.has_head:
            return "the model has no language-model head"
        if not self._places:
            mask = self.lm.text_tokenizer.mask_piece
            return f"the text has no {mask} to fill in" if mask else "the tokenizer has no mask token"
        if len(self.steps) == len(self._places):
            return "every mask is filled in"
        if self._limit is not None and len(self.steps) >= self._limit:
            return f"max_new_tokens ({self._limit}) reached"
        return None

    def _row_count(self) -> int:
        return 0

    def _cached_values(self, head: HeadRef) -> torch.Tensor | None:
        return None
