"""Position encodings, read from the modules of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from explorer.core.positions import PositionEncoding, cosine_matrix

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel

# Positions that are read of a table; and of a bias, whose map is square.
MOST_POSITIONS = 512
BIAS_POSITIONS = 64
# Module names of position tables: BART and Marian families, GPT-2, BERT family.
_TABLES = {"embed_positions", "wpe", "position_embeddings"}
_NO_ENCODING = (
    "No table of positions, no relative bias and no rotary angles were found in this model: "
    "either only the causal mask tells places apart, or the model has a way that is not known here."
)
_ALIBI = (
    "This model has no position encoding to look up: ALiBi lowers each attention score in proportion to "
    "the distance, by a fixed slope per head."
)


def read_positions(lm: LanguageModel) -> tuple[PositionEncoding, ...]:
    """Read what the checkpoint has, encoder before decoder; one of kind ``none`` where there is nothing.

    At most the first `MOST_POSITIONS` positions of a table and `BIAS_POSITIONS` of a relative bias.
    """
    found: list[PositionEncoding] = []
    seen: set[tuple[str, str]] = set()
    with torch.inference_mode():
        for path, module in lm.model.named_modules():
            last = path.rpartition(".")[2]
            stack = _stack(lm, path)
            # A bias or rotary module of its own in every layer: the first stands for them, and says so.
            if (last, stack) in seen:
                continue
            read: list[PositionEncoding] = []
            if last in _TABLES and _table(module) is not None:
                read = [_read_table(lm, path, module, stack)]
            elif hasattr(module, "relative_attention_bias") and hasattr(module, "compute_bias"):
                last = "relative_attention_bias"
                read = [] if (last, stack) in seen else [_read_bias(lm, path, module, stack)]
            elif last == "rotary_emb":
                read = _read_rotary(lm, path, module, stack)
            if read:
                seen.add((last, stack))
                found += read
    if not found:
        alibi = getattr(lm.config, "alibi", False) or lm.config.model_type in {"bloom", "mpt"}
        found.append(PositionEncoding("none", "", _stack(lm, ""), "", _ALIBI if alibi else _NO_ENCODING))
    return tuple(sorted(found, key=lambda one: one.stack == "decoder"))


def _stack(lm: LanguageModel, path: str) -> Literal["encoder", "decoder"]:
    if lm.family == "encoder-decoder":
        return "decoder" if "decoder" in path.split(".") else "encoder"
    return "decoder" if lm.family == "decoder-only" else "encoder"


def _table(module: Any) -> torch.Tensor | None:
    """(rows, D) of a table module; M2M100 keeps its sinusoids in a buffer of another name."""
    for name in ("weight", "weights"):
        table = getattr(module, name, None)
        if isinstance(table, torch.Tensor) and table.dim() == 2:
            return table
    return None


def _read_table(
    lm: LanguageModel, path: str, module: Any, stack: Literal["encoder", "decoder"]
) -> PositionEncoding:
    table = _table(module)
    assert table is not None
    offset = _offset(module)
    usable = table.shape[0] - offset
    shown = min(usable, MOST_POSITIONS)
    # A copy: the record outlives the model, and must not keep its table alive.
    vectors = table[offset : offset + shown].float().cpu().numpy().copy()
    fixed = "Sinusoidal" in type(module).__name__ or bool(getattr(lm.config, "sinusoidal_pos_embds", False))
    parts = [
        "Sinusoids of falling frequency, fixed and not learned, are added to the token vectors."
        if fixed
        else "Learned vectors, one for each position, are added to the token vectors."
    ]
    if offset:
        parts.append(f"Position 0 is row {offset} of the table: the first {offset} rows are never positions.")
    parts.append(f"{shown} of {usable} positions." if shown < usable else f"{usable} positions.")
    return PositionEncoding(
        "sinusoidal" if fixed else "learned",
        stack,
        stack,
        path,
        " ".join(parts),
        vectors=vectors,
        cosines=cosine_matrix(vectors),
    )


def _offset(module: Any) -> int:
    """Row of position 0: RoBERTa and M2M100 count from after the padding token, BART from row 2."""
    padding = getattr(module, "padding_idx", None)
    if padding is not None:
        return int(padding) + 1
    return int(getattr(module, "offset", 0))


def _read_bias(
    lm: LanguageModel, path: str, module: Any, stack: Literal["encoder", "decoder"]
) -> PositionEncoding:
    bias = module.compute_bias(BIAS_POSITIONS, BIAS_POSITIONS)[0].float().cpu().numpy()
    own = sum(1 for name, _ in lm.model.named_modules() if name.endswith(".relative_attention_bias"))
    stacks = 2 if lm.family == "encoder-decoder" else 1
    sharing = "every layer has its own" if own > stacks else "all layers of the stack share it"
    note = (
        "A learned number for each head and distance is added to the attention scores; "
        f"nothing is added to the token vectors. Layer 0, first {BIAS_POSITIONS} positions; {sharing}."
    )
    return PositionEncoding(
        "relative bias",
        stack,
        stack,
        f"{path}.relative_attention_bias",
        note,
        bias=bias,
        causal=bool(getattr(module, "is_decoder", False)),
    )


def _read_rotary(
    lm: LanguageModel, path: str, module: Any, stack: Literal["encoder", "decoder"]
) -> list[PositionEncoding]:
    """One for each kind of layer that turns by angles of its own (Gemma 3, ModernBERT)."""
    config = lm.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    encodings = []
    for name, buffer in module.named_buffers():
        if not name.endswith("inv_freq") or name.endswith("original_inv_freq"):
            continue
        kind = name.removesuffix("inv_freq").strip("_")
        turned = 2 * buffer.shape[0]
        share = "all" if turned == width else str(turned)
        parts = [
            "Nothing is added to the token vectors: queries and keys are turned, pair by pair of dimensions, "
            f"by position times frequency; {share} of each head's {width} dimensions."
        ]
        scaling = getattr(module, f"{kind}_attention_scaling" if kind else "attention_scaling", 1.0)
        if scaling != 1.0:
            parts.append(f"What was turned is also multiplied by {scaling:.4g}.")
        rope = getattr(module, "rope_type", "default")
        rope = rope.get(kind, "default") if isinstance(rope, dict) else rope
        if rope != "default":
            parts.append(f"Frequencies are stretched for long texts ({rope}); these are as they stand now.")
        encodings.append(
            PositionEncoding(
                "rotary",
                kind.removesuffix("_attention") or stack,
                stack,
                f"{path}.{name}",
                " ".join(parts),
                frequencies=buffer.double().cpu().numpy(),
            )
        )
    return encodings
