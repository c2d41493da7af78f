"""What a config says of a model before there is one: family, layers, heads, context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from explorer.core.records import Family
from explorer.core.selection import AttentionKind
from explorer.model.errors import ModelError

# RoBERTa counts positions from pad_token_id + 1, so that its table holds two rows more than it can use.
_OFFSET_POSITIONS = frozenset(
    {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm"}
)


def family_of(config: Any, where: Path | str) -> Family:
    """Which family a config's architecture belongs to.

    Looked up in transformers' own tables: trying classes in turn is wrong, since for example
    ``AutoModelForCausalLM`` loads BART and BERT without complaint.

    Raises
    ------
    ModelError
        The architecture is of none of the three families.
    """
    architecture = architecture_of(config)
    if architecture in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values() and config.is_encoder_decoder:
        return "encoder-decoder"
    if architecture in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "decoder-only"
    if architecture in MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return "encoder-only"
    if is_bare(config):
        # A bare stack: facebook/bart-base and sentence encoders are saved so.
        if config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and config.is_encoder_decoder:
            return "encoder-decoder"
        if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return "encoder-only"
        if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return "decoder-only"
    if not architecture:
        raise ModelError(
            f"The config.json in {where} does not say which architecture it is (architectures); "
            "take the config that belongs to the weights."
        )
    raise ModelError(
        f"The model in {where} is a {architecture}, which has no language-model head that this program "
        "knows; take a checkpoint for translation, text generation or mask filling."
    )


def architecture_of(config: Any) -> str:
    """The class that the checkpoint was saved from; empty where the config does not say."""
    names = getattr(config, "architectures", None)
    return str(names[0]) if isinstance(names, list | tuple) and names else ""


def is_bare(config: Any) -> bool:
    """Whether the checkpoint was saved from a stack without a head."""
    return architecture_of(config) in MODEL_MAPPING_NAMES.values()


def context_length(config: Any) -> int | None:
    """Most positions that a model has; None where it has no fixed number (T5's relative positions)."""
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(length, int) or length < 1:
        return None
    return length - (2 if config.model_type in _OFFSET_POSITIONS else 0)


def attention_layout(
    config: Any, family: Family
) -> tuple[dict[AttentionKind, int], dict[AttentionKind, int], dict[AttentionKind, int]]:
    """Layers, query heads and key heads (fewer, where queries share them), by attention kind.

    Of a model without attention heads, such as Mamba, 0 heads.
    """
    if family == "encoder-decoder":
        encoder = int(getattr(config, "encoder_layers", None) or config.num_hidden_layers)
        decoder = getattr(config, "decoder_layers", None) or getattr(config, "num_decoder_layers", None)
        decoder = int(decoder or config.num_hidden_layers)
        encoder_heads = int(getattr(config, "encoder_attention_heads", None) or config.num_attention_heads)
        decoder_heads = int(getattr(config, "decoder_attention_heads", None) or config.num_attention_heads)
        heads: dict[AttentionKind, int] = {
            "encoder": encoder_heads,
            "decoder": decoder_heads,
            "cross": decoder_heads,
        }
        return {"encoder": encoder, "decoder": decoder, "cross": decoder}, heads, dict(heads)
    kind: AttentionKind = "decoder" if family == "decoder-only" else "encoder"
    config = config.get_text_config()  # of one that reads pictures too, the part that reads and writes text
    query_heads = int(getattr(config, "num_attention_heads", None) or 0)
    key_heads = int(getattr(config, "num_key_value_heads", None) or query_heads)
    return {kind: int(config.num_hidden_layers)}, {kind: query_heads}, {kind: key_heads}
