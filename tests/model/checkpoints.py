"""Small random-weight checkpoints, made in the test and saved like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

WORDS = """
the cat sat on a mat and the dog ran to king queen man woman machine learning is
attention all you need one two three four five six seven eight nine ten
"""
TEXT = "the cat sat on a mat and the dog ran"
VOCABULARY = 96


def make_tokenizer(*, bos: bool = False, eos: bool = True) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE over a few words, padded to exactly `VOCABULARY` pieces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(VOCABULARY - tokenizer.get_vocab_size())])
    template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def t5(**changes: Any) -> transformers.PreTrainedModel:
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        **changes,
    )
    return transformers.T5ForConditionalGeneration(config)


def _bart_like(config_class: Any, model_class: Any, **changes: Any) -> transformers.PreTrainedModel:
    settings = {
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 128,
        "decoder_start_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "forced_eos_token_id": None,
    }
    return model_class(config_class(**{**settings, **changes}))


def marian(**changes: Any) -> transformers.PreTrainedModel:
    return _bart_like(transformers.MarianConfig, transformers.MarianMTModel, **changes)


def bart(**changes: Any) -> transformers.PreTrainedModel:
    return _bart_like(transformers.BartConfig, transformers.BartForConditionalGeneration, **changes)


_IDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_STACK = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
}
# Two key heads for four query heads.
_GROUPED = {**_STACK, "num_key_value_heads": 2}


def mt5() -> transformers.PreTrainedModel:
    settings = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    return transformers.MT5ForConditionalGeneration(
        transformers.MT5Config(decoder_start_token_id=0, **_IDS, **settings)
    )


def gemma3_with_pictures() -> transformers.PreTrainedModel:
    """A decoder whose config holds another for a tower that reads pictures; here it only reads text."""
    text = {**_IDS, **_GROUPED, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}
    pictures = {**_STACK, "num_hidden_layers": 3, "image_size": 16, "patch_size": 8}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=pictures, mm_tokens_per_image=4, image_token_id=95, **_IDS
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _stack(model_class: Any, **settings: Any) -> Callable[[], transformers.PreTrainedModel]:
    return lambda: model_class(model_class.config_class(**{**_IDS, **settings}))


ENCODER_DECODERS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "t5": t5,
    "t5 v1.1": lambda: t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "t5, deeper encoder": lambda: t5_depths(3, 1),
    "t5, deeper decoder": lambda: t5_depths(1, 3),
    "marian": marian,
    "marian, deeper encoder": lambda: marian(encoder_layers=3, decoder_layers=1),
    "marian, deeper decoder": lambda: marian(encoder_layers=1, decoder_layers=3),
    "marian, other head counts": lambda: marian(encoder_attention_heads=2, decoder_attention_heads=8),
    "bart": bart,
    "bart, forced end": lambda: bart(forced_eos_token_id=2, forced_bos_token_id=1),
    "bart, deeper encoder": lambda: bart(encoder_layers=3, decoder_layers=1),
    "bart, deeper decoder": lambda: bart(encoder_layers=1, decoder_layers=3),
    "mt5": mt5,
    "mbart": lambda: _bart_like(transformers.MBartConfig, transformers.MBartForConditionalGeneration),
    # It tells positions by what is no padding, so that its decoder cannot start with the padding token.
    "m2m100": lambda: _bart_like(
        transformers.M2M100Config, transformers.M2M100ForConditionalGeneration, decoder_start_token_id=2
    ),
    "pegasus": lambda: _bart_like(transformers.PegasusConfig, transformers.PegasusForConditionalGeneration),
}
DECODER_ONLY: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "gpt2": _stack(transformers.GPT2LMHeadModel, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    "gpt-neox": _stack(transformers.GPTNeoXForCausalLM, **_STACK),
    "llama": _stack(transformers.LlamaForCausalLM, **_GROUPED),
    "qwen2": _stack(transformers.Qwen2ForCausalLM, **_GROUPED),
    "qwen3": _stack(transformers.Qwen3ForCausalLM, head_dim=8, **_GROUPED),
    "mistral, sliding window": _stack(transformers.MistralForCausalLM, sliding_window=6, **_GROUPED),
    "gemma": _stack(transformers.GemmaForCausalLM, head_dim=8, **_GROUPED),
    "gemma 2, soft cap": _stack(
        transformers.Gemma2ForCausalLM,
        head_dim=8,
        sliding_window=6,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=5.0,
        **_GROUPED,
    ),
    "gemma 3": _stack(
        transformers.Gemma3ForCausalLM, head_dim=8, sliding_window=6, query_pre_attn_scalar=8, **_GROUPED
    ),
}
DECODER_ONLY["gemma 3, with a tower for pictures"] = gemma3_with_pictures
ENCODER_ONLY: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "bert": _stack(transformers.BertForMaskedLM, **_STACK),
    "roberta": _stack(transformers.RobertaForMaskedLM, **_STACK),
    "distilbert": _stack(
        transformers.DistilBertForMaskedLM,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        max_position_embeddings=128,
    ),
    "modernbert, sliding window": _stack(
        transformers.ModernBertForMaskedLM, cls_token_id=1, sep_token_id=2, local_attention=8, **_STACK
    ),
    "bert without a head": _stack(transformers.BertModel, **_STACK),
}
# Architectures whose fast attention cannot be read: by family, since each has a way of its own.
EAGER_ENCODER_DECODERS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "mvp": lambda: _bart_like(transformers.MvpConfig, transformers.MvpForConditionalGeneration),
    "prophetnet": _stack(
        transformers.ProphetNetForConditionalGeneration,
        hidden_size=32,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=128,
        decoder_start_token_id=2,
    ),
    # Its encoder looks through a window, so that it has no weights between every two tokens.
    "led": lambda: _bart_like(
        transformers.LEDConfig,
        transformers.LEDForConditionalGeneration,
        max_encoder_position_embeddings=128,
        max_decoder_position_embeddings=128,
        attention_window=[8, 8],
    ),
}
EAGER_DECODERS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "bloom": _stack(transformers.BloomForCausalLM, hidden_size=32, n_layer=2, n_head=4),
    "codegen": _stack(
        transformers.CodeGenForCausalLM, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=128
    ),
    "gpt-j": _stack(
        transformers.GPTJForCausalLM, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=128
    ),
    "gpt-neo, local layers": _stack(
        transformers.GPTNeoForCausalLM,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        window_size=6,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=128,
    ),
    # Through the attention interface, but with a learned sink that takes part of every row.
    "gpt-oss, sinks": _stack(
        transformers.GptOssForCausalLM,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=6,
        **_GROUPED,
    ),
    # Likewise, with two softmaxes of which one is taken from the other.
    "diffllama": _stack(transformers.DiffLlamaForCausalLM, **_STACK),
}
EAGER_ENCODERS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "deberta": _stack(transformers.DebertaForMaskedLM, **_STACK),
    "deberta-v2": _stack(
        transformers.DebertaV2ForMaskedLM,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        **_STACK,
    ),
    "mpnet": _stack(transformers.MPNetForMaskedLM, **_STACK),
    # Its layers are one module, called again and again.
    "albert": _stack(transformers.AlbertForMaskedLM, embedding_size=16, **_STACK),
    "convbert, fewer heads than declared": _stack(
        transformers.ConvBertForMaskedLM, embedding_size=32, **_STACK
    ),
}
EAGER = {**EAGER_ENCODER_DECODERS, **EAGER_DECODERS, **EAGER_ENCODERS}
WITHOUT_MAPS: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "fnet": _stack(
        transformers.FNetForMaskedLM,
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=48,
        max_position_embeddings=128,
    ),
}
ALL = {**ENCODER_DECODERS, **DECODER_ONLY, **ENCODER_ONLY}


def t5_depths(encoder: int, decoder: int) -> transformers.PreTrainedModel:
    model = t5()
    config = model.config.to_dict() | {"num_layers": encoder, "num_decoder_layers": decoder}
    return transformers.T5ForConditionalGeneration(transformers.T5Config.from_dict(config))


def save(
    make: Callable[[], transformers.PreTrainedModel], folder: Path, *, seed: int = 0, **tokenizer: Any
) -> Path:
    """Save a fresh random checkpoint with its tokenizer into ``folder``.

    Weights are drawn wide, so that attention and next-token choices are far from uniform.
    """
    torch.manual_seed(seed)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.25)
    model.save_pretrained(folder)
    make_tokenizer(**tokenizer).save_pretrained(folder)
    return folder
