"""The decoding loop, one step at a time, equal to ``model.generate`` token for token.

``generate`` itself prepares the loop (encoder pass, processors, stopping criteria, keyword arguments)
through its ``custom_generate`` hook; the loop is then driven from here, so that it can pause, be
forced, and go back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, LogitsProcessorList, MaxLengthCriteria
from transformers.generation.stopping_criteria import EosTokenCriteria

from explorer.core.sampling import SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.tokens import TokenizedText
from explorer.model.run import Pending, Run

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

# Where neither the caller nor the checkpoint sets a limit; transformers would stop after 20.
DEFAULT_MAX_NEW_TOKENS = 128


@dataclass(slots=True)
class _Prepared:
    """What ``generate`` worked out before its loop."""

    input_ids: torch.Tensor  # (1, t): decoder start tokens, or the prompt
    processors: LogitsProcessorList
    stopping: Any
    kwargs: dict[str, Any]


class DecodingRun(Run):
    """A run of an encoder-decoder or a decoder-only model: one token after another."""

    def __init__(
        self,
        lm: LanguageModel,
        source: TokenizedText,
        params: SamplingParams,
        max_new_tokens: int | None = None,
    ) -> None:
        super().__init__(lm, source, params)
        self._max_new_tokens = max_new_tokens if max_new_tokens is not None else self._own_limit()
        self._kwargs_history: list[dict[str, Any]] = []
        self._prepared_for = self._settings_key()
        with torch.inference_mode(), self._noting():
            self._prepared = self._prepare(self._first_inputs())
        self._ids = self._prepared.input_ids
        self._start_length = self._ids.shape[1]
        given = () if lm.family == "decoder-only" else self._ids[0].tolist()
        self.start_tokens = tuple(lm.text_tokenizer.token(i) for i in given)
        self._update_stop_reason()

    @property
    def text(self) -> str:
        """What was generated so far, detokenized, special tokens left out."""
        return self.lm.text_tokenizer.decode(self.token_ids)

    @property
    def encoder_shape(self) -> tuple[int, int] | None:
        """(source tokens, hidden size) of what the encoder handed over; None without an encoder."""
        outputs = self._prepared.kwargs.get("encoder_outputs")
        if outputs is None:
            return None
        _, tokens, width = outputs[0].shape
        return int(tokens), int(width)

    # -- the loop, as generate prepares it --------------------------------------------------------

    def _own_limit(self) -> int:
        config = self.lm.model.generation_config
        if config.max_new_tokens is not None:
            return int(config.max_new_tokens)
        if config.max_length is not None and config.max_length > 1:
            taken = len(self.source) if self.lm.family == "decoder-only" else 1
            return max(1, int(config.max_length) - taken)
        return DEFAULT_MAX_NEW_TOKENS

    def _settings_key(self) -> tuple[float | None, int | None, int]:
        return (self.params.repetition_penalty, self.params.no_repeat_ngram_size, self._max_new_tokens)

    def _first_inputs(self) -> dict[str, Any]:
        ids = torch.tensor([self.source.ids], device=self.lm.device)
        if self.lm.family == "encoder-decoder":
            # Without a config the caches grow with the layers that use them: a decoder may be deeper
            # than its encoder, and no layer drops keys that a map still needs.
            cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        else:
            cache = DynamicCache()
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "past_key_values": cache}

    def _prepare(self, inputs: dict[str, Any]) -> _Prepared:
        """Let ``generate`` prepare everything, and stop it before its loop."""
        options: dict[str, Any] = {
            "do_sample": False,
            "num_beams": 1,
            "num_return_sequences": 1,
            "max_new_tokens": self._max_new_tokens,
            "use_cache": True,
            "return_dict_in_generate": False,
            "output_attentions": False,
        }
        if self.params.repetition_penalty is not None:
            options["repetition_penalty"] = float(self.params.repetition_penalty)
        if self.params.no_repeat_ngram_size is not None:
            options["no_repeat_ngram_size"] = self.params.no_repeat_ngram_size
        prepared: list[_Prepared] = []

        def take(
            model: Any,
            input_ids: Any,
            logits_processor: Any,
            stopping_criteria: Any,
            generation_config: Any,
            **kwargs: Any,
        ) -> Any:
            prepared.append(_Prepared(input_ids, logits_processor, stopping_criteria, kwargs))
            return input_ids

        self.lm.model.generate(**inputs, **options, custom_generate=take)
        return prepared[0]

    def _prepare_again_if_needed(self) -> None:
        """Processors and stopping criteria depend on settings that may have changed since."""
        key = self._settings_key()
        if key == self._prepared_for:
            return
        inputs = self._first_inputs()
        if "encoder_outputs" in self._prepared.kwargs:
            inputs["encoder_outputs"] = self._prepared.kwargs["encoder_outputs"]
        fresh = self._prepare(inputs)
        self._prepared.processors, self._prepared.stopping = fresh.processors, fresh.stopping
        self._prepared_for = key

    def _limit_steps(self, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens
        self._prepare_again_if_needed()

    def _apply_rules(self, logits: torch.Tensor) -> torch.Tensor:
        self._prepare_again_if_needed()
        ids: Any = self._ids
        return self._prepared.processors(ids, logits.clone())

    def _accept(self, token_id: int) -> None:
        self._ids = torch.cat([self._ids, self._ids.new_tensor([[token_id]])], dim=1)

    def _retract(self) -> None:
        self._ids = self._ids[:, :-1]

    def _forward(self) -> Pending:
        model, kwargs = self.lm.model, self._prepared.kwargs
        started = time.perf_counter()
        first = not self._kwargs_history
        inputs = model.prepare_inputs_for_generation(
            self._ids,
            next_sequence_length=None if first else 1,
            is_first_iteration=first,
            **kwargs,
        )
        self._kwargs_history.append(dict(kwargs))
        with self._noting():
            outputs = model(**inputs, return_dict=True)
        # The method that generate's own loop calls, so that masks and positions move on as they do there.
        self._prepared.kwargs = model._update_model_kwargs_for_generation(  # noqa: SLF001
            outputs, dict(kwargs), is_encoder_decoder=model.config.is_encoder_decoder
        )
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32)  # (1, V)
        return Pending(logits, time.perf_counter() - started)

    def _forget_forward(self) -> None:
        """Undo the pending forward pass, which is never the first: that one reads what was given."""
        self._pending = None
        self._prepared.kwargs = self._kwargs_history.pop()
        self._prepared.kwargs["past_key_values"].crop(-1)
        self.notes.forget_last()

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
                return type(criterion).__name__
        return None

    # -- attention ----------------------------------------------------------------------------------

    def _row_count(self) -> int:
        return self._start_length + len(self.steps) - 1 if self.steps else 0

    def _cached_values(self, head: HeadRef) -> torch.Tensor | None:
        if head.kind == "encoder":
            return None
        cache: Any = self._prepared.kwargs["past_key_values"]
        if isinstance(cache, EncoderDecoderCache):
            cache = cache.cross_attention_cache if head.kind == "cross" else cache.self_attention_cache
        values: torch.Tensor = cache.layers[head.layer].values[0]
        return values
