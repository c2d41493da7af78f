"""Random-weight checkpoints of well-known sizes, made on the fly: speed does not ask for sense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from explorer.core.records import Family


@dataclass(frozen=True, slots=True)
class Size:
    """A checkpoint to make: what it is like, and how."""

    name: str
    family: Family
    make: Callable[[], transformers.PreTrainedModel]


def sizes(quick: bool) -> tuple[Size, ...]:
    """T5-small, GPT-2 (124 M) and Marian-base, or small ones of the same kinds."""
    if quick:
        return (
            Size("small T5", "encoder-decoder", lambda: _t5(2000, d_model=128, d_ff=256, layers=2, heads=4)),
            Size("small GPT-2", "decoder-only", lambda: _gpt2(2000, n_embd=128, n_layer=2, n_head=4)),
            Size("small Marian", "encoder-decoder", lambda: _marian(2000, width=128, layers=2, heads=4)),
        )
    return (
        Size("T5-small", "encoder-decoder", lambda: _t5(32_128, d_model=512, d_ff=2048, layers=6, heads=8)),
        Size("GPT-2", "decoder-only", lambda: _gpt2(50_257, n_embd=768, n_layer=12, n_head=12)),
        Size("Marian-base", "encoder-decoder", lambda: _marian(58_101, width=512, layers=6, heads=8)),
    )


def eager() -> Size:
    """A small model whose fast attention cannot be read."""
    return Size("small BLOOM", "decoder-only", lambda: _bloom(2000, hidden_size=128, n_layer=2, n_head=4))


def save(size: Size, folder: Path) -> Path:
    """Make the checkpoint in a folder of its own inside ``folder``, where it is not there yet."""
    own = folder / size.name
    if not own.is_dir():
        torch.manual_seed(0)
        model: Any = size.make()
        # Both sides are to write as many tokens as they are told to.
        model.generation_config.eos_token_id = None
        model.generation_config.forced_eos_token_id = None
        model.save_pretrained(own)
        _tokenizer(model.config.vocab_size).save_pretrained(own)
    return own


def text(tokens: int) -> str:
    """A text of so many tokens."""
    return " ".join(f"w{7 + 13 * i % 1900}" for i in range(tokens))


def _tokenizer(vocabulary: int) -> transformers.PreTrainedTokenizerFast:
    """One token per word: ``w0``, ``w1`` and so on."""
    words = {"<pad>": 0, "<unk>": 1, **{f"w{i}": i + 2 for i in range(vocabulary - 2)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = transformers.PreTrainedTokenizerFast  # untyped
    made: transformers.PreTrainedTokenizerFast = fast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    return made


def _t5(vocabulary: int, d_model: int, d_ff: int, layers: int, heads: int) -> transformers.PreTrainedModel:
    settings: dict[str, Any] = {"decoder_start_token_id": 0, "pad_token_id": 0}
    config = transformers.T5Config(
        vocab_size=vocabulary,
        d_model=d_model,
        d_kv=d_model // heads,
        d_ff=d_ff,
        num_layers=layers,
        num_heads=heads,
        **settings,
    )
    return transformers.T5ForConditionalGeneration(config)


def _gpt2(vocabulary: int, **sizes: Any) -> transformers.PreTrainedModel:
    config = transformers.GPT2Config(vocab_size=vocabulary, pad_token_id=0, **sizes)
    return transformers.GPT2LMHeadModel(config)


def _bloom(vocabulary: int, **sizes: Any) -> transformers.PreTrainedModel:
    config = transformers.BloomConfig(vocab_size=vocabulary, pad_token_id=0, **sizes)
    return transformers.BloomForCausalLM(config)


def _marian(vocabulary: int, width: int, layers: int, heads: int) -> transformers.PreTrainedModel:
    config = transformers.MarianConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_position_embeddings=512,
        decoder_start_token_id=0,
        pad_token_id=0,
        forced_eos_token_id=None,
    )
    return transformers.MarianMTModel(config)
