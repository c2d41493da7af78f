"""Beam search, one step at a time, equal to ``model.generate(num_beams=…)``; every hypothesis a branch.

``generate`` prepares the search through its ``custom_generate`` hook, and what each step decides is
decided by the methods of its own loop (``GenerationMixin._beam_search`` of transformers 5.23). The loop
itself is driven from here, so that it can be cancelled between steps, starts from what the run has
computed already, and leaves every hypothesis in the run's tree with its pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import MaxLengthCriteria
from transformers.modeling_outputs import BaseModelOutputWithPast

from explorer.core.beams import BeamStep, Hypothesis
from explorer.core.branches import ROOT
from explorer.core.records import StepRecord
from explorer.core.sampling import RankedLogits, SamplingParams
from explorer.model import kv_cache
from explorer.model.attention_notes import BatchNotes
from explorer.model.branching import Branches, Reading, Stash
from explorer.model.errors import CancelledError

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

WIDTHS = range(2, 9)
# generate gives places that hold no hypothesis -1e9; the sum of a real one is nowhere near.
NO_HYPOTHESIS = -1e8

Ids = tuple[int, ...]
Report = Callable[[int, int], None]


@dataclass(slots=True)
class Prepared:
    """What ``generate`` worked out before its loop.

    Attributes
    ----------
    input_ids : torch.Tensor
        (sequences, t) decoder start tokens, or the prompt.
    processors, stopping, config : LogitsProcessorList, StoppingCriteriaList, GenerationConfig
        As ``generate`` hands them to its loops.
    kwargs : dict
        What the model's next forward pass is given besides.
    """

    input_ids: torch.Tensor
    processors: Any
    stopping: Any
    config: Any
    kwargs: dict[str, Any]


@dataclass(slots=True)
class _Found:
    """A hypothesis as the search knows it: its node, and the sum of its tokens' log-probabilities."""

    node: int
    log_probability: float


class Search:
    """A beam search from a run's first step on.

    Parameters
    ----------
    lm : LanguageModel
        The model.
    branches : Branches
        The run's tree; its root has been read, and the run stands there.
    prepared : Prepared
        What ``generate`` prepared for this width, its sequences repeated so many times.
    params : SamplingParams
        The run's settings, for the steps' records.
    note : callable
        ``note(notes)`` gives a context in which the model's attention is noted.

    Notes
    -----
    Per step one forward pass of ``width`` sequences, and per hypothesis one node: its position in the
    cache, its attention notes, and on the host 4 bytes per vocabulary entry, and as many again where the
    checkpoint's rules changed what it was chosen from.
    """

    def __init__(
        self,
        lm: LanguageModel,
        branches: Branches,
        prepared: Prepared,
        params: SamplingParams,
        note: Callable[[BatchNotes], Any],
    ) -> None:
        self._lm, self._branches, self._params, self._note = lm, branches, params, note
        self._prepared = prepared
        config, ids = prepared.config, prepared.input_ids
        self.width = int(config.num_beams)
        self.length_penalty = float(config.length_penalty)
        self._early_stopping = config.early_stopping
        self._max_length = int(config.max_length)
        self._given = self._length = int(ids.shape[1])
        eos = config._eos_token_tensor  # noqa: SLF001 - as the loop itself asks for it
        candidates = max(2, 1 + (0 if eos is None else eos.shape[0]))
        self._candidates = candidates * self.width
        vocabulary = branches.places[ROOT].reading.logits.size  # type: ignore[union-attr]
        if vocabulary < candidates:
            raise ValueError(
                f"A beam search chooses from at least {candidates} tokens; this model has only {vocabulary}."
            )
        # (1, width, length) tokens; (1, width) sums and marks, as generate's loop keeps them.
        fill = config._pad_token_tensor  # noqa: SLF001
        fill = (fill or eos[0]) if eos is not None else -1
        self._running = torch.full((1, self.width, self._max_length), int(fill), device=ids.device)
        self._running[:, :, : self._given] = ids
        self._ended = self._running.clone()
        self._sums = torch.zeros((1, self.width), device=ids.device)
        self._sums[:, 1:] = -1e9
        self._scores = torch.full((1, self.width), -1e9, device=ids.device)
        self._is_ended = torch.zeros((1, self.width), dtype=torch.bool, device=ids.device)
        self._can_improve = torch.ones((1, 1), dtype=torch.bool, device=ids.device)
        self._parents = torch.full(
            (1, self.width, self._max_length - self._given), -1, dtype=torch.int32, device=ids.device
        )
        self._ended_parents = self._parents.clone()
        # What the running sequences are in the tree; None where a place holds no hypothesis.
        self._beams: list[_Found | None] = [_Found(ROOT, 0.0), *[None] * (self.width - 1)]
        self._kept: dict[Ids, _Found] = {}

    def run(self, report: Report | None = None) -> tuple[tuple[BeamStep, ...], tuple[Hypothesis, ...]]:
        """Search to the end; what is in the tree when an error or a cancellation ends it stays there."""
        steps: list[BeamStep] = []
        going_on = True
        while going_on:
            if self._lm.recorder.cancel.is_set():
                raise CancelledError
            if report is not None:
                report(len(steps), self._max_length - self._given)
            logits = self._first_logits() if not steps else self._forward()
            step, going_on = self._choose(logits)
            steps.append(step)
        return tuple(steps), self._hypotheses()

    # -- the model ------------------------------------------------------------------------------

    def _first_logits(self) -> torch.Tensor:
        """The run's own first pass, for every sequence: (width, V)."""
        reading = self._branches.places[ROOT].reading
        assert reading is not None
        self._move_on(BaseModelOutputWithPast(past_key_values=self._prepared.kwargs["past_key_values"]))
        logits = torch.tensor(reading.logits, device=self._running.device)
        return logits.expand(self.width, -1)

    def _forward(self) -> torch.Tensor:
        """One pass of all running sequences, each kept at its node: (width, V) raw logits."""
        model, kwargs = self._lm.model, self._prepared.kwargs
        started = time.perf_counter()
        inputs = model.prepare_inputs_for_generation(
            self._running[0, :, : self._length], next_sequence_length=1, **kwargs
        )
        notes = self._lm.recorder.new_batch_notes()
        with self._note(notes):
            outputs = model(**inputs, return_dict=True)
        self._move_on(outputs)
        logits: torch.Tensor = outputs.logits[:, -1].to(copy=True, dtype=torch.float32)
        on_host, split = logits.cpu().numpy(), notes.split()
        positions = kv_cache.last_positions(self._prepared.kwargs["past_key_values"], 1)[:, 0]  # (width, n)
        seconds = time.perf_counter() - started
        for index, beam in enumerate(self._beams):
            if beam is None or self._branches.places[beam.node].reading is not None:
                continue
            self._branches.places[beam.node].reading = Reading(
                on_host[index].copy(), seconds, stash=Stash(positions[index].clone(), split[index])
            )
        return logits

    def _move_on(self, outputs: Any) -> None:
        model = self._lm.model
        self._prepared.kwargs = model._update_model_kwargs_for_generation(  # noqa: SLF001
            outputs, self._prepared.kwargs, is_encoder_decoder=model.config.is_encoder_decoder
        )

    # -- what a step decides, by generate's own methods -------------------------------------------

    def _choose(self, logits: torch.Tensor) -> tuple[BeamStep, bool]:
        """Choose the next hypotheses from logits (width, V); and whether the search goes on."""
        model: Any = self._lm.model
        length, width = self._length, self.width
        own = torch.log_softmax(logits, dim=-1)
        log_probs = self._prepared.processors(self._running[0, :, :length], own.clone())
        ruled = (log_probs != own).any(dim=1).tolist()
        accumulated = (log_probs[None] + self._sums[:, :, None]).reshape(1, -1)
        if not math.isfinite(float(accumulated.max())):
            for row in log_probs.cpu().numpy():
                RankedLogits(row)  # says what is wrong with the first that cannot be chosen from
        sums, candidates, parents = model._get_top_k_continuations(  # noqa: SLF001
            accumulated_log_probs=accumulated,
            running_sequences=self._running,
            running_beam_indices=self._parents,
            cur_len=length,
            decoder_prompt_len=self._given,
            do_sample=False,
            beams_to_keep=self._candidates,
            num_beams=width,
            batch_size=1,
        )
        hits = self._prepared.stopping(candidates[0, :, : length + 1], None)[None]  # (1, candidates)
        before = self._running
        self._running, self._sums, self._parents = model._get_running_beams_for_next_iteration(  # noqa: SLF001
            topk_log_probs=sums,
            topk_running_sequences=candidates,
            topk_running_beam_indices=parents,
            next_token_hits_stopping_criteria=hits,
            num_beams=width,
        )
        first = torch.arange(self._candidates, device=hits.device) < width
        self._ended, self._scores, self._ended_parents, self._is_ended = model._update_finished_beams(  # noqa: SLF001
            sequences=self._ended,
            topk_running_sequences=candidates,
            beam_scores=self._scores,
            topk_log_probs=sums,
            beam_indices=self._ended_parents,
            topk_running_beam_indices=parents,
            is_early_stop_heuristic_unsatisfied=self._can_improve,
            is_sent_finished=self._is_ended,
            next_token_hits_stopping_criteria=hits,
            top_num_beam_mask=first,
            num_beams=width,
            cur_len=length,
            decoder_prompt_len=self._given,
            length_penalty=self.length_penalty,
            early_stopping=self._early_stopping,
        )
        scores = [row if changed else None for row, changed in zip(log_probs, ruled, strict=True)]
        step = self._into_tree(before, scores, candidates, sums, parents)
        order = self._parents[0, :, length - self._given]
        kv_cache.reorder(self._prepared.kwargs["past_key_values"], order)
        self._length = length + 1
        self._can_improve = model._check_early_stop_heuristic(  # noqa: SLF001
            is_early_stop_heuristic_unsatisfied=self._can_improve,
            running_beam_scores=self._sums,
            beam_scores=self._scores,
            is_sent_finished=self._is_ended,
            cur_len=self._length,
            max_length=self._max_length,
            decoder_prompt_len=self._given,
            early_stopping=self._early_stopping,
            length_penalty=self.length_penalty,
        )
        going_on = model._beam_search_has_unfinished_sequences(  # noqa: SLF001
            self._can_improve, self._is_ended, hits, self._early_stopping
        )
        return step, bool(going_on)

    # -- the tree ---------------------------------------------------------------------------------

    def _into_tree(
        self,
        before: torch.Tensor,
        scores: list[torch.Tensor | None],
        candidates: torch.Tensor,
        sums: torch.Tensor,
        parents: torch.Tensor,
    ) -> BeamStep:
        """Give every hypothesis that this step kept, running or ended, its node.

        ``scores`` are each running sequence's log-probabilities (V,), None where no rule changed them.
        """
        place = self._length - self._given
        tokens = candidates[0, :, self._length].tolist()
        came_from = parents[0, :, place].tolist()
        ids = [tuple(row) for row in candidates[0, :, self._given : self._length + 1].tolist()]
        totals = sums[0].tolist()
        number = {key: index for index, key in reversed(list(enumerate(ids)))}
        made: dict[Ids, _Found | None] = {}
        rows: dict[int, tuple[Any, Any]] = {}

        def found(key: Ids) -> _Found | None:
            if key not in made:
                index = number[key]
                parent = self._beams[came_from[index]]
                if parent is None or totals[index] < NO_HYPOTHESIS:
                    made[key] = None
                else:
                    beam = came_from[index]
                    if beam not in rows:
                        row = scores[beam]
                        rows[beam] = (
                            None if row is None else row.cpu().numpy(),
                            before[0, beam].tolist()[: self._length],
                        )
                    node = self._grow(parent.node, tokens[index], place, *rows[beam])
                    made[key] = _Found(node, totals[index])
            return made[key]

        running = [tuple(row) for row in self._running[0, :, self._given : self._length + 1].tolist()]
        # A place without a hypothesis may hold what an ended one does, or a running one before it.
        real = [total >= NO_HYPOTHESIS for total in self._sums[0].tolist()]
        beams = [found(key) if is_real else None for key, is_real in zip(running, real, strict=True)]
        ended = []
        for key in self._ended_ids():
            if len(key) == place + 1 and key not in self._kept:
                kept = found(key)
                if kept is not None:
                    self._kept[key] = kept
                    ended.append(kept.node)
        self._beams = beams
        going = [beam for beam in beams if beam is not None]
        return BeamStep(
            tuple(beam.node for beam in going), tuple(beam.log_probability for beam in going), tuple(ended)
        )

    def _grow(self, parent: int, token_id: int, index: int, scores: Any, previous_ids: list[int]) -> int:
        reading = self._branches.places[parent].reading
        assert reading is not None
        record = StepRecord(
            index=index,
            token=self._lm.text_tokenizer.token(token_id),
            logits=reading.logits,
            scores=reading.logits if scores is None else scores,
            previous_ids=np.array(previous_ids, dtype=np.int64),
            params=self._params,
            forced=False,
            seconds=reading.seconds,
            beam=True,
        )
        return self._branches.grow(parent, record)

    def _ended_ids(self) -> list[Ids]:
        """What the sequences kept aside generated, best first; empty for a place that holds none."""
        lengths = (self._ended_parents[0] >= 0).sum(dim=1).tolist()
        rows = self._ended[0, :, self._given :].tolist()
        return [tuple(row[:length]) for row, length in zip(rows, lengths, strict=True)]

    def _hypotheses(self) -> tuple[Hypothesis, ...]:
        """The results, best first."""
        results = []
        for ids, score in zip(self._ended_ids(), self._scores[0].tolist(), strict=True):
            found = self._kept.get(ids)
            if found is None:
                continue
            whole = torch.cat([self._prepared.input_ids[:1], self._running.new_tensor([ids])], dim=1)
            ended_itself = any(
                bool(criterion(whole, None).all())
                for criterion in self._prepared.stopping
                if not isinstance(criterion, MaxLengthCriteria)
            )
            text = self._lm.text_tokenizer.decode(list(ids))
            results.append(Hypothesis(found.node, ids, text, found.log_probability, score, ended_itself))
        return tuple(results)
