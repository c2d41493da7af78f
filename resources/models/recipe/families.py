"""The three models: what each is made of, how its examples are batched, and what it is asked to predict."""

# mypy: disable-error-code="no-untyped-call"
# torch and transformers are typed in part.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from corpus import Pair, english_sentences
from tokenizing import MAX_LENGTH, train_gpt_tokenizer, train_mlm_tokenizer, train_translation_tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

Batch = dict[str, Tensor]
Example = tuple[list[int], ...]
"""Token IDs: (source, target) for a translation, (sentence,) otherwise."""


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    vocabulary: int
    layers: int
    width: int = 256
    heads: int = 8
    feed_forward: int = 1024
    dropout: float = 0.1


class Family(Protocol):
    """One kind of model and its training objective."""

    name: str
    size: Size
    label_smoothing: float
    max_megabytes: int

    def train_tokenizer(self, pairs: Sequence[Pair]) -> PreTrainedTokenizerFast:
        """Learn the pieces from the training sentences."""
        ...

    def build_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Make the model with random weights."""
        ...

    def generation_config(self, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig | None:
        """Say how the model generates; None if it does not."""
        ...

    def encode(self, pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
        """Turn pairs into token IDs."""
        ...

    def collate(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, seed: int) -> Batch:
        """Pad examples to one batch; ``seed`` decides all that is random in it."""
        ...

    def loss(self, model: PreTrainedModel, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
        """Sum the negative log-likelihoods (nats) of the predicted tokens, and count these."""
        ...


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Stack rows of IDs into one (rows, longest) int64 tensor, filled up on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


@dataclass
class Translation:
    """Encoder-decoder, Marian: French in, English out, one token after another."""

    name: str = "fr-en"
    size: Size = Size(vocabulary=8000, layers=3)
    label_smoothing: float = 0.1
    max_megabytes: int = 20

    def train_tokenizer(self, pairs: Sequence[Pair]) -> PreTrainedTokenizerFast:
        """Learn one set of pieces from both languages."""
        french = dict.fromkeys(pair.french for pair in pairs)
        return train_translation_tokenizer([*english_sentences(pairs), *french], self.size.vocabulary)

    def build_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Make the model; the padding token starts the decoder, as in every Marian checkpoint."""
        size = self.size
        config = MarianConfig(
            vocab_size=len(tokenizer),
            decoder_vocab_size=len(tokenizer),
            d_model=size.width,
            encoder_layers=size.layers,
            decoder_layers=size.layers,
            encoder_attention_heads=size.heads,
            decoder_attention_heads=size.heads,
            encoder_ffn_dim=size.feed_forward,
            decoder_ffn_dim=size.feed_forward,
            activation_function="relu",
            dropout=size.dropout,
            max_position_embeddings=MAX_LENGTH,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
            forced_eos_token_id=None,
        )
        return MarianMTModel(config)

    def generation_config(self, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
        """Forbid the padding token, which training never asks for."""
        return GenerationConfig(
            max_new_tokens=64,
            num_beams=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
            bad_words_ids=[[tokenizer.pad_token_id]],
        )

    def encode(self, pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
        """Give (French, English) IDs; both end with ``</s>``."""
        sources = tokenizer([pair.french for pair in pairs], truncation=True)["input_ids"]
        targets = tokenizer([pair.english for pair in pairs], truncation=True)["input_ids"]
        return list(zip(sources, targets, strict=True))

    def collate(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, seed: int) -> Batch:
        """Pad both sides; the decoder sees the target one place later than it has to predict it."""
        sources, targets = zip(*examples, strict=True)
        start = pad_id = tokenizer.pad_token_id
        return {
            "input_ids": pad(sources, pad_id),
            "attention_mask": _lengths_mask(sources),
            "decoder_input_ids": pad([[start, *target[:-1]] for target in targets], pad_id),
            "labels": pad(targets, -100),
        }

    def loss(self, model: PreTrainedModel, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
        """Predict each English token from the French sentence and the English tokens before it."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return _token_loss(model(**inputs, use_cache=False).logits, batch["labels"], label_smoothing)


@dataclass
class Continuation:
    """Decoder-only, GPT-2: continues an English sentence."""

    name: str = "en-gpt"
    size: Size = Size(vocabulary=4096, layers=4)
    label_smoothing: float = 0.0
    max_megabytes: int = 12

    def train_tokenizer(self, pairs: Sequence[Pair]) -> PreTrainedTokenizerFast:
        """Learn byte-level pieces from the English side."""
        return train_gpt_tokenizer(english_sentences(pairs), self.size.vocabulary)

    def build_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Make the model; input and output embeddings are one matrix, as in GPT-2."""
        size = self.size
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_LENGTH,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            n_inner=size.feed_forward,
            # The same function as GPT-2's "gelu_new", computed in one step instead of eight.
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=size.dropout,
            embd_pdrop=size.dropout,
            attn_pdrop=size.dropout,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return GPT2LMHeadModel(config)

    def generation_config(self, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
        """End at ``</s>``, or after 40 tokens: the sentences of the corpus are shorter."""
        return GenerationConfig(
            max_new_tokens=40,
            num_beams=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    def encode(self, pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
        """Give each English sentence once, between ``<s>`` and ``</s>``."""
        rows = tokenizer(english_sentences(pairs), truncation=True, max_length=MAX_LENGTH - 1)["input_ids"]
        return [([*row, tokenizer.eos_token_id],) for row in rows]

    def collate(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, seed: int) -> Batch:
        """Pad on the right: a causal model never looks there, so that no mask is needed."""
        rows = [row for (row,) in examples]
        return {
            "input_ids": pad([row[:-1] for row in rows], tokenizer.pad_token_id),
            "labels": pad([row[1:] for row in rows], -100),
        }

    def loss(self, model: PreTrainedModel, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
        """Predict each token, the end included, from those before it."""
        output = model(input_ids=batch["input_ids"], use_cache=False)
        return _token_loss(output.logits, batch["labels"], label_smoothing)


@dataclass
class MaskFilling:
    """Encoder-only, BERT: fills a mask in an English sentence from both sides.

    Of the tokens of a sentence, one in five and at least one are to be predicted: more than BERT's 15 %,
    since the sentences are short. Of these 80 % are masked, 10 % replaced by any piece and 10 % left, as
    in section 3.1 of Devlin et al. 2018, "BERT".
    """

    name: str = "en-mlm"
    size: Size = Size(vocabulary=4096, layers=4)
    label_smoothing: float = 0.0
    max_megabytes: int = 12
    predicted_share: float = 0.2

    def train_tokenizer(self, pairs: Sequence[Pair]) -> PreTrainedTokenizerFast:
        """Learn word pieces from the English side."""
        return train_mlm_tokenizer(english_sentences(pairs), self.size.vocabulary)

    def build_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Make the model; input and output embeddings are one matrix, as in BERT."""
        size = self.size
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            hidden_dropout_prob=size.dropout,
            attention_probs_dropout_prob=size.dropout,
            max_position_embeddings=MAX_LENGTH,
            pad_token_id=tokenizer.pad_token_id,
        )
        return BertForMaskedLM(config)

    def generation_config(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Encoders do not generate."""

    def encode(self, pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast) -> list[Example]:
        """Give each English sentence once, between ``[CLS]`` and ``[SEP]``."""
        return [(row,) for row in tokenizer(english_sentences(pairs), truncation=True)["input_ids"]]

    def collate(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, seed: int) -> Batch:
        """Choose anew what is masked, so that each pass over the data asks other questions."""
        rows = [row for (row,) in examples]
        input_ids = pad(rows, tokenizer.pad_token_id)
        generator = torch.Generator().manual_seed(seed)

        draws = torch.rand(input_ids.shape, generator=generator)
        places = torch.arange(input_ids.shape[1])
        lengths = torch.tensor([[len(row)] for row in rows])
        draws[(places == 0) | (places >= lengths - 1)] = 2.0  # never [CLS], [SEP] or padding
        threshold = draws.min(dim=1, keepdim=True).values.clamp(min=self.predicted_share)
        predicted = draws <= threshold

        labels = input_ids.masked_fill(~predicted, -100)
        manner = torch.rand(input_ids.shape, generator=generator)
        first_plain = max(tokenizer.all_special_ids) + 1
        anything = torch.randint(first_plain, len(tokenizer), input_ids.shape, generator=generator)
        input_ids = torch.where(predicted & (manner < 0.8), tokenizer.mask_token_id, input_ids)
        input_ids = torch.where(predicted & (manner >= 0.9), anything, input_ids)
        return {"input_ids": input_ids, "attention_mask": _lengths_mask(rows), "labels": labels}

    def loss(self, model: PreTrainedModel, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
        """Predict the chosen tokens; the vocabulary's scores are computed for these alone, which is cheap."""
        predicted = batch["labels"] != -100
        hidden = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        logits = model.get_submodule("cls")(hidden.last_hidden_state[predicted])  # (predicted, vocabulary)
        return _token_loss(logits, batch["labels"][predicted], label_smoothing)


FAMILIES: dict[str, type[Translation] | type[Continuation] | type[MaskFilling]] = {
    "fr-en": Translation,
    "en-gpt": Continuation,
    "en-mlm": MaskFilling,
}


def make_family(name: str, **sizes: int | float) -> Family:
    """Make a family by its name, with its usual size or parts of another."""
    family = FAMILIES[name]()
    family.size = replace(family.size, **sizes)  # type: ignore[arg-type]
    return family


def _token_loss(logits: Tensor, labels: Tensor, label_smoothing: float) -> tuple[Tensor, int]:
    logits, labels = logits.flatten(0, -2).float(), labels.flatten()
    total = cross_entropy(logits, labels, reduction="sum", label_smoothing=label_smoothing)
    return total, int((labels != -100).sum())


def _lengths_mask(rows: Sequence[Sequence[int]]) -> Tensor:
    return pad([[1] * len(row) for row in rows], 0)
