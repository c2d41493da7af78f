"""Filling in masks, one at a time: what an encoder-only model does instead of a decoding loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from explorer.core.branches import ROOT
from explorer.core.sampling import SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.stopping import Stopping
from explorer.core.tokens import TokenizedText
from explorer.model.attention_notes import AttentionNotes
from explorer.model.branching import Reading
from explorer.model.inside import StepInputs
from explorer.model.run import Run

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
        # A pass reads the whole text anew: its notes are whole, and nothing is cut off or put back.
        self._notes_at: dict[int, AttentionNotes] = {}
        with torch.inference_mode():
            self._read_here()
        self._settle()

    @property
    def text(self) -> str:
        """The text as filled in so far, detokenized, special tokens left out."""
        return self.lm.text_tokenizer.decode(self._ids[0].tolist())

    def text_around(self, index: int) -> tuple[str, str]:
        """The text before the mask that step ``index`` filled and the text up to it, detokenized."""
        ids, decode = self._ids[0].tolist(), self.lm.text_tokenizer.decode
        place = self._places[index]
        return decode(ids[:place]), decode(ids[: place + 1])

    @property
    def encoder_shape(self) -> tuple[int, int]:
        """(tokens, hidden size) of what the encoder hands to the head."""
        return len(self.source), self.lm.info.hidden_size

    def _stop_when(self, stopping: Stopping) -> None:
        self._limit = stopping.max_new_tokens

    def _forward(self) -> Reading:
        started = time.perf_counter()
        notes = self.lm.recorder.new_notes()
        with self._noting(notes):
            outputs = self.lm.model(self._ids, attention_mask=torch.ones_like(self._ids), return_dict=True)
        self._notes_at[self.node] = notes
        if not self.lm.has_head:
            return Reading(np.zeros(1, dtype=np.float32), time.perf_counter() - started)
        place = self._places[len(self.steps)] if self._places else 0
        on_device = outputs.logits[:, place].to(copy=True, dtype=torch.float32)  # (1, V)
        return Reading(on_device[0].cpu().numpy(), time.perf_counter() - started, on_device)

    def _accept(self, token_ids: list[int]) -> None:
        self._fill(len(self.steps), token_ids)

    def _retract(self, count: int) -> None:
        self._fill(len(self.steps) - count, [self._mask_id] * count)

    def _fill(self, first: int, token_ids: list[int]) -> None:
        """Write tokens into the masks' places from mask ``first`` on."""
        self._ids = self._ids.clone()  # records keep the ids that they were chosen after
        for place, token_id in zip(self._places[first:], token_ids, strict=False):
            self._ids[0, place] = token_id

    def _stash(self, readings: list[Reading]) -> None:
        """Nothing is cut off."""

    def _put_back(self, readings: list[Reading]) -> None:
        """Nothing was cut off."""

    def _settle(self) -> None:
        # On show is the pass that the last step was chosen from.
        self.notes = self._notes_at[self._branches.path[-2] if self.steps else ROOT]
        super()._settle()

    def inputs_of_steps(self) -> StepInputs:
        """The text as each step found it, one row of a batch each."""
        ids = torch.tensor(np.stack([step.previous_ids for step in self.steps]), device=self.lm.device)
        places = torch.tensor(self._places[: len(self.steps)], device=ids.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return StepInputs(inputs, torch.arange(len(places), device=ids.device), places)

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
