"""The three tokenizers, each of the kind that its family of models is known for."""

# mypy: disable-error-code="no-untyped-call"
# torch and transformers are typed in part.
from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

MAX_LENGTH = 128
MAX_ALPHABET = 200
"""Rarer characters than these become the unknown token; byte-level pieces know no unknown."""


def train_translation_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a BPE over both languages, in the manner of Marian: ``▁`` for a space, ``</s>`` at the end.

    An apostrophe stays with the word before it (``▁l'`` ``apprentissage``) and punctuation stands alone.
    """
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("’", "'")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Split(Regex("'"), "merged_with_previous"),
            pre_tokenizers.Split(Regex(r'[.,;:!?"«»()-]'), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(specials.values()),
        limit_alphabet=MAX_ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = ("</s>", tokenizer.token_to_id("</s>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[end]
    )
    return _wrap(tokenizer, specials)


def train_gpt_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE, in the manner of GPT-2: any text has pieces, ``Ġ`` stands for a space.

    ``<s>`` goes before every text, so that an empty prompt, too, gives the model something to start from.
    ``</s>`` is not added: a prompt is to be continued, so only training appends it.
    """
    specials = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = Tokenizer(models.BPE())
    # A sentence's first word gets the same piece as elsewhere, so that "I" has one embedding, not two.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(specials.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[start]),
        ]
    )
    return _wrap(tokenizer, specials)


def train_mlm_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train a WordPiece, in the manner of BERT: ``##`` continues a word, ``[CLS]`` and ``[SEP]`` frame."""
    specials = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.BertNormalizer(lowercase=False), normalizers.NFKC(), normalizers.Replace("’", "'")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # BERT's own decoder leaves "don ' t", since it tidies one piece at a time.
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(), decoders.Fuse(), decoders.Replace(" ' ", "'")]
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(specials.values()),
        limit_alphabet=MAX_ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    frame = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=frame
    )
    return _wrap(tokenizer, specials)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the two files that ``AutoTokenizer`` reads, in the form that older versions read, too."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.model_max_length,
        "clean_up_tokenization_spaces": False,
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read a tokenizer that ``save_tokenizer`` wrote."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    specials = {name: token for name, token in config.items() if name.endswith("_token")}
    return _wrap(Tokenizer.from_file(str(folder / "tokenizer.json")), specials)


def _wrap(tokenizer: Tokenizer, specials: dict[str, str]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        **specials,
    )
