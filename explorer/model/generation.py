"""The decoding loop, one step at a time, equal to ``model.generate`` token for token.

``generate`` itself prepares the loop (encoder pass, processors, stopping criteria, keyword arguments)
through its ``custom_generate`` hook; the loop is then driven from here, so that it can pause, be
forced, and go back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessorList,
    MaxLengthCriteria,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from transformers.generation.stopping_criteria import EosTokenCriteria

from explorer.core.head_measures import Flags, Measure, PerHead, head_measures, is_punctuation
from explorer.core.records import AttentionMap, AttentionOverview, CellReading, RunSnapshot, StepRecord
from explorer.core.sampling import SamplingParams
from explorer.core.selection import AttentionKind, HeadRef
from explorer.core.tokens import Token, TokenizedText
from explorer.model.attention import OVERVIEW_CELLS, AttentionNotes
from explorer.model.errors import CancelledError, ModelError, RunFinishedError, TextError

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


@dataclass(slots=True)
class _Pending:
    """A forward pass whose token has not been chosen yet."""

    logits: torch.Tensor  # (1, V) float32, raw
    seconds: float


class Run:
    """One text's way through the model. Made by `LanguageModel.generate`; used from one thread at a time.

    Attributes
    ----------
    source : TokenizedText
        What the encoder (or, for a decoder-only model, the prompt) reads.
    params : SamplingParams
        How the next token will be chosen; may be replaced between steps.
    start_tokens : tuple of Token
        What the decoder was given before its first step.
    steps : list of StepRecord
        The steps so far.
    stop_reason : str or None
        Why the loop ended; None while it can go on.

    Notes
    -----
    On the device: the KV cache and the attention notes, both linear in length. On the host: 4 bytes per
    vocabulary entry and step (8 where the checkpoint's rules changed a logit).
    """

    def __init__(
        self,
        lm: LanguageModel,
        source: TokenizedText,
        params: SamplingParams,
        max_new_tokens: int | None = None,
    ) -> None:
        if lm.family == "encoder-only":
            raise ModelError(
                f"{lm.name} is an encoder-only model: it fills in masked tokens "
                "and has no decoding loop to step."
            )
        if not source.text.strip() or not source.tokens:
            raise TextError("The text is empty: type a sentence for the model to read.")
        self.lm = lm
        self.source = source
        self.params = params
        self.steps: list[StepRecord] = []
        self.stop_reason: str | None = None
        self.notes = AttentionNotes()
        self._max_new_tokens = max_new_tokens if max_new_tokens is not None else self._own_limit()
        self._generator = torch.Generator(device=lm.device)
        if params.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(params.seed)
        self._generator_states: list[torch.Tensor] = []
        self._kwargs_history: list[dict[str, Any]] = []
        self._pending: _Pending | None = None
        self._broken = False
        self._prepared_for: tuple[float | None, int | None, int] = self._settings_key()
        with torch.inference_mode(), self._noting():
            self._prepared = self._prepare(self._first_inputs())
        # A LongTensor, which torch's stubs forget at every cat.
        self._ids: Any = self._prepared.input_ids
        self._start_length = self._ids.shape[1]
        given = () if lm.family == "decoder-only" else self._ids[0].tolist()
        self.start_tokens: tuple[Token, ...] = tuple(lm.text_tokenizer.token(i) for i in given)
        self._update_stop_reason()

    # -- what it has come to ------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the loop has ended."""
        return self.stop_reason is not None

    @property
    def token_ids(self) -> list[int]:
        """Generated token IDs so far."""
        return [step.token.id for step in self.steps]

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
        """Take one decoder step.

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
            self._prepare_again_if_needed()
            if self._pending is None:
                self._pending = self._forward()
            pending = self._pending
            scores = self._prepared.processors(self._ids, pending.logits.clone())  # (1, V)
            self._generator_states.append(self._generator.get_state())
            token_id = self._choose(scores) if force is None else force
            record = self._record(pending, scores, token_id, forced=force is not None)
            self._ids = torch.cat([self._ids, self._ids.new_tensor([[token_id]])], dim=1)
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
        self._ids = self._ids[:, :-1]
        self._pending = _Pending(torch.from_numpy(record.logits)[None].to(self.lm.device), record.seconds)
        self._update_stop_reason()
        return record

    def finish(self, max_new_tokens: int | None = None) -> Run:
        """Step until the loop ends; with ``max_new_tokens``, after that many tokens in all at the latest."""
        if max_new_tokens is not None:
            if max_new_tokens < 1:
                raise ValueError(f"max_new_tokens must be 1 or more, not {max_new_tokens}.")
            self._max_new_tokens = max_new_tokens
            with torch.inference_mode():
                self._prepare_again_if_needed()
            self._update_stop_reason()
        while not self.finished:
            self.step()
        return self

    # -- attention ------------------------------------------------------------------------------

    def attention(
        self, kind: AttentionKind, layer: int | None = None, head: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Attention weights, float32; each row sums to 1.

        Parameters
        ----------
        kind : AttentionKind
            ``encoder``, ``decoder`` or ``cross``.
        layer, head : int or None
            From 0. With both: (query, key). Without a head: (head, query, key). With neither:
            (layer, head, query, key).

        Raises
        ------
        ValueError
            The model has no such attention, layer or head; the message says what it has.
        """
        info = self.lm.info
        if kind not in info.layers:
            raise ValueError(
                f"{self.lm.name} has no {kind} attention; it has {', '.join(info.attention_kinds)}."
            )
        if layer is None:
            if head is not None:
                raise ValueError("Give the layer too when you give a head.")
            return np.stack([self.attention(kind, index) for index in range(info.layers[kind])])
        if not 0 <= layer < info.layers[kind]:
            raise ValueError(f"{kind} attention has layers 0 to {info.layers[kind] - 1}, not {layer}.")
        if head is not None and not 0 <= head < info.heads[kind]:
            raise ValueError(f"{kind} attention has heads 0 to {info.heads[kind] - 1}, not {head}.")
        heads = slice(None) if head is None else slice(head, head + 1)
        with torch.inference_mode():
            weights = self._weights(kind, layer, heads)
        array: npt.NDArray[np.float32] = weights.cpu().numpy()
        return array if head is None else array[0]

    def attention_map(self, head: HeadRef) -> AttentionMap:
        """One head's map, with what its rows and columns stand for."""
        weights = self.attention(head.kind, head.layer, head.head)
        return AttentionMap(head, weights, *self.snapshot().attention_axes(head.kind))

    def overview(self, kind: AttentionKind) -> AttentionOverview:
        """Every head of ``kind``: max-pooled on the device to at most 64 x 64 cells, and measured.

        O(layers * heads * query * key * head_dim); one layer's maps at a time are held in full.
        """
        info = self.lm.info
        thumbnails: list[torch.Tensor] = []
        measured: list[dict[Measure, PerHead]] = []
        pooled = False
        queries = keys = 0
        special, punctuation = self._key_flags(kind)
        with torch.inference_mode():
            for layer in range(info.layers[kind]):
                weights = self._weights(kind, layer, slice(None))  # (H, q, k)
                _, queries, keys = weights.shape
                measured.append(
                    head_measures(
                        weights.cpu().numpy()[None],
                        special=special,
                        punctuation=punctuation,
                        same_axes=kind != "cross",
                    )
                )
                if queries and max(queries, keys) > OVERVIEW_CELLS:
                    cells = (min(queries, OVERVIEW_CELLS), min(keys, OVERVIEW_CELLS))
                    weights = torch.nn.functional.adaptive_max_pool2d(weights, cells)
                    pooled = True
                thumbnails.append(weights)
            array = torch.stack(thumbnails).cpu().numpy()
        measures = {name: np.concatenate([layer[name] for layer in measured]) for name in measured[0]}
        return AttentionOverview(kind, array, queries, keys, "max" if pooled else "none", measures)

    def inspect(self, head: HeadRef, row: int, column: int) -> CellReading:
        """How one weight came about: query, key, scores, softmax row, and the values that it mixes.

        Raises
        ------
        ValueError
            The model has no such head, or its map no such cell.
        """
        rows, columns = self.attention(head.kind, head.layer, head.head).shape
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f"The map has {rows} rows and {columns} columns; there is no cell ({row}, {column})."
            )
        cache: Any = self._prepared.kwargs["past_key_values"]
        with torch.inference_mode():
            values = None
            if head.kind == "cross":
                values = cache.cross_attention_cache.layers[head.layer].values[0]
            elif head.kind == "decoder":
                own: Any = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
                values = own.layers[head.layer].values[0]
            return self.notes.cell(head, row, column, columns, values)

    def _key_flags(self, kind: AttentionKind) -> tuple[Flags, Flags]:
        """(key,) bool twice: which key columns are special tokens, and which punctuation alone."""
        snapshot = self.snapshot()
        _, keys = snapshot.attention_axes(kind)
        tokens = [snapshot.token(ref) for ref in keys]
        special = [token is not None and token.special for token in tokens]
        marks = [token is not None and is_punctuation(token.text) for token in tokens]
        return np.array(special, dtype=np.bool_), np.array(marks, dtype=np.bool_)

    def _weights(self, kind: AttentionKind, layer: int, heads: slice) -> torch.Tensor:
        if kind == "encoder":
            return self.notes.weights(kind, layer, heads)
        rows = self._row_count()
        if rows == 0:
            count = len(range(self.lm.info.heads[kind])[heads])
            columns = 0 if kind == "decoder" else len(self.source)
            return torch.zeros(count, 0, columns, device=self.lm.device)
        weights = self.notes.weights(kind, layer, heads, rows)
        return weights[:, :, :rows] if kind == "decoder" else weights

    def _row_count(self) -> int:
        """Query rows of the decoder that belong to the steps on show (a pending pass is not shown)."""
        return self._start_length + len(self.steps) - 1 if self.steps else 0

    # -- how it is done ---------------------------------------------------------------------------

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

    def _forward(self) -> _Pending:
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
        return _Pending(logits, time.perf_counter() - started)

    def _forget_forward(self) -> None:
        """Undo the pending forward pass, which is never the first: that one reads what was given."""
        self._pending = None
        self._prepared.kwargs = self._kwargs_history.pop()
        self._prepared.kwargs["past_key_values"].crop(-1)
        self.notes.forget_last()

    def _choose(self, scores: torch.Tensor) -> int:
        if self.params.greedy:
            return int(scores.argmax(dim=-1))
        warped = _warpers(self.params)(self._ids, scores)
        probabilities = torch.softmax(warped, dim=-1)
        return int(torch.multinomial(probabilities, num_samples=1, generator=self._generator))

    def _record(self, pending: _Pending, scores: torch.Tensor, token_id: int, *, forced: bool) -> StepRecord:
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

    def _update_stop_reason(self) -> None:
        self.stop_reason = self._why_stopped()

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
