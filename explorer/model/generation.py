"""The decoding loop, one step at a time, equal to ``model.generate`` token for token.

``generate`` itself prepares the loop (encoder pass, processors, stopping criteria, keyword arguments)
through its ``custom_generate`` hook; the loop is then driven from here, so that it can pause, be
forced, go back and branch.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache, EncoderDecoderCache, MaxLengthCriteria
from transformers.generation.stopping_criteria import (
    EosTokenCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)
from transformers.modeling_outputs import BaseModelOutputWithPast

from explorer.core.beams import BeamSearch
from explorer.core.branches import ROOT
from explorer.core.sampling import SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.stopping import Stopping
from explorer.core.tokens import TokenizedText
from explorer.model import kv_cache
from explorer.model.beam_search import WIDTHS, Prepared, Report, Search
from explorer.model.branching import IdHistory, Reading, Stash
from explorer.model.errors import ModelError
from explorer.model.inside import StepInputs
from explorer.model.languages import target_options
from explorer.model.run import Run

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

# Where neither the caller nor the checkpoint sets a limit; transformers would stop after 20.
DEFAULT_MAX_NEW_TOKENS = 128
# What transformers' configs call layers that look back through a state of fixed size.
RUNNING_STATES = frozenset({"conv", "linear_attention", "mamba"})


class DecodingRun(Run):
    """A run of an encoder-decoder or a decoder-only model: one token after another."""

    def __init__(
        self,
        lm: LanguageModel,
        source: TokenizedText,
        params: SamplingParams,
        max_new_tokens: int | None = None,
        target_language: str | None = None,
    ) -> None:
        _check_cache(lm)
        super().__init__(lm, source, params)
        own = lm.own_languages.target
        self.target_language = own if target_language is None else target_language
        self._max_new_tokens = max_new_tokens if max_new_tokens is not None else self._own_limit()
        # Keyword arguments that get longer with every pass, such as the attention mask.
        self._growing: frozenset[str] = frozenset()
        self._prepared_for = self._settings_key()
        with torch.inference_mode(), self._noting():
            self._prepared = self._prepare(self._first_inputs())
        self._ids = self._prepared.input_ids
        self._start_length = self._ids.shape[1]
        self._history = IdHistory(self._ids[0].tolist())
        given = () if lm.family == "decoder-only" else self._ids[0].tolist()
        self.start_tokens = tuple(lm.text_tokenizer.token(i) for i in given)
        self._settle()

    @property
    def text(self) -> str:
        """What was generated so far, detokenized, special tokens left out."""
        return self.lm.text_tokenizer.decode(self.token_ids)

    def text_around(self, index: int) -> tuple[str, str]:
        """The text before the token of step ``index`` and the text up to it, detokenized."""
        ids, decode = self.token_ids, self.lm.text_tokenizer.decode
        return decode(ids[:index]), decode(ids[: index + 1])

    @property
    def encoder_shape(self) -> tuple[int, int] | None:
        """(source tokens, hidden size) of what the encoder handed over; None without an encoder."""
        outputs = self._prepared.kwargs.get("encoder_outputs")
        if outputs is None:
            return None
        _, tokens, width = outputs[0].shape
        return int(tokens), int(width)

    @property
    def cache(self) -> Any:
        """The KV cache of the branch that the run stands on, on the model's device."""
        return self._prepared.kwargs["past_key_values"]

    # -- the loop, as generate prepares it --------------------------------------------------------

    def _own_limit(self) -> int:
        config = self.lm.model.generation_config
        if config.max_new_tokens is not None:
            return int(config.max_new_tokens)
        if config.max_length is not None and config.max_length > 1:
            taken = len(self.source) if self.lm.family == "decoder-only" else 1
            return max(1, int(config.max_length) - taken)
        return DEFAULT_MAX_NEW_TOKENS

    def _settings_key(self) -> tuple[float | None, int | None, int, tuple[str, ...]]:
        penalties = self.params.repetition_penalty, self.params.no_repeat_ngram_size
        return (*penalties, self._max_new_tokens, self.stopping.strings)

    def _first_inputs(self) -> dict[str, Any]:
        ids = torch.tensor([self.source.ids], device=self.lm.device)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "past_key_values": self._new_cache(),
        }

    def _inputs_again(self) -> dict[str, Any]:
        """The same with what the encoder has given already, which is not to be computed anew."""
        inputs = self._first_inputs()
        if "encoder_outputs" in self._prepared.kwargs:
            inputs["encoder_outputs"] = copy.copy(self._prepared.kwargs["encoder_outputs"])
        return inputs

    def _new_cache(self) -> Any:
        if self.lm.family == "encoder-decoder":
            # Without a config the caches grow with the layers that use them: a decoder may be deeper
            # than its encoder, and no layer drops keys that a map still needs.
            return EncoderDecoderCache(DynamicCache(), DynamicCache())
        return DynamicCache()

    def _prepare(self, inputs: dict[str, Any], **changes: Any) -> Prepared:
        """Let ``generate`` prepare everything, and stop it before its loop."""
        options: dict[str, Any] = {
            "do_sample": False,
            "num_beams": 1,
            "num_return_sequences": 1,
            "max_new_tokens": self._max_new_tokens,
            "use_cache": True,
            "return_dict_in_generate": False,
            "output_attentions": False,
            **self._language_options(),
            **changes,
        }
        if self.params.repetition_penalty is not None:
            options["repetition_penalty"] = float(self.params.repetition_penalty)
        if self.params.no_repeat_ngram_size is not None:
            options["no_repeat_ngram_size"] = self.params.no_repeat_ngram_size
        strings = self._stop_strings()
        if strings:
            # A hook of one's own is not handed the tokenizer that ``stop_strings`` would need.
            criterion = StopStringCriteria(self.lm.text_tokenizer.tokenizer, strings)
            options["stopping_criteria"] = StoppingCriteriaList([criterion])
        prepared: list[Prepared] = []

        def take(
            model: Any,
            input_ids: Any,
            logits_processor: Any,
            stopping_criteria: Any,
            generation_config: Any,
            **kwargs: Any,
        ) -> Any:
            prepared.append(
                Prepared(input_ids, logits_processor, stopping_criteria, generation_config, kwargs)
            )
            return input_ids

        config = self.lm.model.generation_config
        own, config.stop_strings = config.stop_strings, None
        try:
            self.lm.model.generate(**inputs, **options, custom_generate=take)
        finally:
            config.stop_strings = own
        return prepared[0]

    def _language_options(self) -> dict[str, int]:
        if self.target_language == self.lm.own_languages.target:
            return {}
        known = self.lm.text_tokenizer.languages
        return target_options(self.lm.model.generation_config, known, self.target_language)

    def _prepare_again_if_needed(self) -> None:
        """Processors and stopping criteria depend on settings that may have changed since."""
        key = self._settings_key()
        if key == self._prepared_for:
            return
        fresh = self._prepare(self._inputs_again())
        self._prepared.processors, self._prepared.stopping = fresh.processors, fresh.stopping
        self._prepared_for = key

    def _stop_when(self, stopping: Stopping) -> None:
        limit = stopping.max_new_tokens
        self._max_new_tokens = self._own_limit() if limit is None else limit
        self._prepare_again_if_needed()

    def _apply_rules(self, logits: torch.Tensor) -> torch.Tensor:
        self._prepare_again_if_needed()
        ids: Any = self._ids
        scores: torch.Tensor = self._prepared.processors(ids, logits.clone())
        return scores

    def _accept(self, token_ids: list[int]) -> None:
        self._history.extend(token_ids)
        self._ids = torch.cat([self._ids, self._ids.new_tensor([token_ids])], dim=1)

    def _retract(self, count: int) -> None:
        self._history.drop(count)
        self._ids = self._ids[:, :-count]

    def _previous_ids(self) -> npt.NDArray[np.int64]:
        return self._history.view()

    def _forward(self) -> Reading:
        model, kwargs = self.lm.model, self._prepared.kwargs
        started = time.perf_counter()
        first = self.node == ROOT
        inputs = model.prepare_inputs_for_generation(
            self._ids,
            next_sequence_length=None if first else 1,
            is_first_iteration=first,
            **kwargs,
        )
        passes = self.notes.passes
        try:
            with self._noting():
                outputs = model(**inputs, return_dict=True)
        except BaseException:
            # A pass that broke off has written to some layers and not to others.
            self._undo_pass(passes, first=first)
            raise
        self._move_on(outputs, 1)
        on_device = outputs.logits[:, -1].to(copy=True, dtype=torch.float32)  # (1, V)
        return Reading(on_device[0].cpu().numpy(), time.perf_counter() - started, on_device)

    def _undo_pass(self, passes: int, *, first: bool) -> None:
        self.notes.shorten(passes)
        if first:
            self._prepared.kwargs["past_key_values"] = self._new_cache()
        else:
            kv_cache.shorten(self.cache, self._start_length + passes - 1)

    def _move_on(self, outputs: Any, passes: int) -> None:
        """Bring masks and positions up to date, by the method that generate's own loop calls."""
        model, before = self.lm.model, self._prepared.kwargs
        after = model._update_model_kwargs_for_generation(  # noqa: SLF001
            outputs,
            dict(before),
            is_encoder_decoder=model.config.is_encoder_decoder,
            num_new_tokens=passes,
        )
        self._growing |= {
            name
            for name, value in after.items()
            if isinstance(value, torch.Tensor) and name in before and value.shape != before[name].shape
        }
        self._prepared.kwargs = after

    def _stash(self, readings: list[Reading]) -> None:
        kwargs, count = self._prepared.kwargs, len(readings)
        positions = kv_cache.last_positions(self.cache, count)[0]  # (count, n)
        self.cache.crop(-count)
        for reading, position, notes in zip(readings, positions, self.notes.take_back(count), strict=True):
            reading.stash = Stash(position.clone(), notes)
        for name in self._growing:
            kwargs[name] = kwargs[name][..., :-count]

    def _put_back(self, readings: list[Reading]) -> None:
        stashes = [reading.stash for reading in readings if reading.stash is not None]
        kv_cache.append(self.cache, [stash.cache for stash in stashes])
        self.notes.put_back([stash.notes for stash in stashes])
        self._move_on(BaseModelOutputWithPast(past_key_values=self.cache), len(stashes))
        for reading in readings:
            reading.stash = None

    def _why_stopped(self) -> str | None:
        limit = self.lm.text_tokenizer.context_length
        if limit is not None and self._ids.shape[1] > limit:
            return f"the model's context of {limit} tokens is full"
        if not self.steps:
            return None
        for criterion in self._prepared.stopping:
            if bool(criterion(self._ids, None).all()):
                if isinstance(criterion, EosTokenCriteria):
                    return "end-of-sequence token"
                if isinstance(criterion, MaxLengthCriteria):
                    return f"max_new_tokens ({self._max_new_tokens}) reached"
                if isinstance(criterion, StopStringCriteria):
                    return f"stop string {self._stop_string()} written"
                return type(criterion).__name__
        return None

    def _stop_strings(self) -> list[str]:
        """A person's stop strings, or else the checkpoint's own."""
        own = self.lm.model.generation_config.stop_strings or []
        return list(self.stopping.strings) or ([own] if isinstance(own, str) else list(own))

    def _stop_string(self) -> str:
        """Which stop string was written last, in quotes."""
        text = self.lm.text_tokenizer.decode(self.token_ids)
        found = max(self._stop_strings(), key=text.rfind)
        return f"“{found}”"

    def inputs_of_steps(self) -> StepInputs:
        """The tokens up to the last step's, read at once."""
        ids = self._ids[:, :-1]
        inputs: dict[str, Any] = {"use_cache": False}
        if self.lm.family == "encoder-decoder":
            inputs["encoder_outputs"] = self._prepared.kwargs["encoder_outputs"]
            inputs["decoder_input_ids"] = ids
        else:
            inputs["input_ids"] = ids
            if "logits_to_keep" in inspect.signature(self.lm.model.forward).parameters:
                inputs["logits_to_keep"] = 1
        positions = torch.arange(self._start_length - 1, ids.shape[1], device=ids.device)
        return StepInputs(inputs, torch.zeros_like(positions), positions)

    # -- beam search -------------------------------------------------------------------------------

    def beam_search(
        self,
        width: int,
        length_penalty: float | None = None,
        max_new_tokens: int | None = None,
        *,
        report: Report | None = None,
        run_id: int = 0,
    ) -> BeamSearch:
        """Search from the first step on, following ``width`` hypotheses; equal to ``model.generate``.

        Every hypothesis of every step becomes a node of `tree`, with its pass: `go_to` shows it in full
        without the model. The run then stands at the end of the best one. Settings other than these are
        the checkpoint's, and the run's penalties.

        Parameters
        ----------
        width : int
            Hypotheses kept at each step, 2 to 8.
        length_penalty : float or None
            Exponent of the length in a hypothesis's score; None takes the checkpoint's, 1 for most.
        max_new_tokens : int or None
            Where the search ends at the latest; None takes the run's limit.
        report : callable or None
            ``report(steps, most steps)``, called before each step.
        run_id : int
            For the result's.

        Raises
        ------
        ValueError
            A parameter is out of range.
        LogitsError
            There is nothing to choose from; the run stands where it stood.
        CancelledError
            The model's recorder was told to cancel; likewise. What was found stays in the tree.
        """
        if width not in WIDTHS:
            raise ValueError(f"A beam search follows {WIDTHS[0]} to {WIDTHS[-1]} hypotheses, not {width}.")
        if length_penalty is not None and not math.isfinite(length_penalty):
            raise ValueError(f"length_penalty must be a finite number, not {length_penalty}.")
        most = self._max_new_tokens if max_new_tokens is None else max_new_tokens
        if most < 1:
            raise ValueError(f"max_new_tokens must be 1 or more, not {most}.")
        context = self.lm.text_tokenizer.context_length
        if context is not None:
            # The last token is written when the context is full, and not read any more.
            most = max(1, min(most, context - self._start_length + 1))
        changes: dict[str, Any] = {"num_beams": width, "max_new_tokens": most}
        if length_penalty is not None:
            changes["length_penalty"] = float(length_penalty)
        stood = self.node
        try:
            self.go_to(ROOT)
            with torch.inference_mode():
                self._read_here()
                prepared = self._prepare(self._inputs_again(), **changes)
                cache = kv_cache.repeated(self.cache, width)
                prepared.kwargs["past_key_values"] = cache
                search = Search(self.lm, self._branches, prepared, self.params, self._noting)
                steps, hypotheses = search.run(report)
        except BaseException:
            self.go_to(stood)
            raise
        self.go_to(hypotheses[0].node if hypotheses else stood)
        return BeamSearch(run_id, width, search.length_penalty, steps, hypotheses)

    # -- attention ----------------------------------------------------------------------------------

    def _row_count(self) -> int:
        return self._start_length + len(self.steps) - 1 if self.steps else 0

    def _cached_values(self, head: HeadRef) -> torch.Tensor | None:
        if head.kind == "encoder":
            return None
        cache = self.cache
        if isinstance(cache, EncoderDecoderCache):
            cache = cache.cross_attention_cache if head.kind == "cross" else cache.self_attention_cache
        values: torch.Tensor = cache.layers[head.layer].values[0]
        return values


def _check_cache(lm: LanguageModel) -> None:
    """Refuse a model whose past is not one row of keys and values per token, to be cut off one by one."""
    kinds = getattr(lm.config.get_text_config(), "layer_types", None) or ()
    if getattr(lm.model, "_is_stateful", False) or set(kinds) & RUNNING_STATES:
        raise ModelError(
            f"{lm.name} keeps a running state in place of keys and values, which no step can be taken back "
            "from: its tokens and vectors can be looked at, but it cannot be run here."
        )
