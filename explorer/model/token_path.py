"""A sentence's vectors on their way through the model: embedding, position, every layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from explorer.core.selection import TokenRef
from explorer.core.vectors import TokenPath
from explorer.model.embedding_space import CLOUD_COMPONENTS

if TYPE_CHECKING:
    from explorer.model.language_model import LanguageModel
    from explorer.model.run import Run

# Relative change below which the layers' input is the embedding itself.
SAME = 1e-4


def read_path(run: Run, run_id: int) -> TokenPath:
    """Read the hidden states of all tokens of a run, in one extra pass.

    An encoder-decoder's source tokens move through the encoder and then rest; its start and generated
    tokens wait meanwhile and then move through the decoder. A decoder-only model's tokens move together.
    Coordinates are in the vocabulary's principal components, one fixed projection for all stages.
    """
    lm = run.lm
    snapshot = run.snapshot(run_id)
    refs = snapshot.refs() if lm.family != "encoder-only" else snapshot.refs()[: len(run.source)]
    ids = [token.id for token in map(snapshot.token, refs) if token is not None]
    scale = embedding_scale(lm)
    count = len(run.source)
    with torch.inference_mode():
        table = lm.embedding.weight
        rows = table[torch.tensor(ids, device=table.device)].float().cpu()  # (T, D)
        stacks = _hidden_states(lm, ids, count)
    parts: list[tuple[str, torch.Tensor]] = []
    at = {
        name: (0, count) if name == "encoder" else (len(ids) - states[0].shape[0], len(ids))
        for name, states in stacks.items()
    }
    now = rows * scale
    parts.append(("input embedding", now))
    notes = []
    if scale != 1.0:
        notes.append(f"The model multiplies its embeddings by {scale:.4g}; the picture divides by it again.")
    entered = now.clone()
    for name, states in stacks.items():
        start, end = at[name]
        entered[start:end] = states[0]
    change = float((entered - now).norm() / max(float(now.norm()), 1e-30))
    if change > SAME:
        parts.append((f"plus position{' and norm' if _enters_with_norm(lm) else ''}", entered))
    else:
        notes.append("No positions are added to these vectors: this model has them inside its attention.")
    now = entered
    for name, states in stacks.items():
        start, end = at[name]
        for layer, state in enumerate(states[1:]):
            now = now.clone()
            now[start:end] = state
            last = " and final norm" if layer == len(states) - 2 and _ends_with_norm(lm, name) else ""
            parts.append((f"after {name} layer {layer}{last}", now))
    return _assemble(lm, refs, parts, scale, tuple(notes), run_id)


def _assemble(
    lm: LanguageModel,
    refs: tuple[TokenRef, ...],
    parts: list[tuple[str, torch.Tensor]],
    scale: float,
    notes: tuple[str, ...],
    run_id: int,
) -> TokenPath:
    space = lm.embedding_space()
    components = min(CLOUD_COMPONENTS, space.size, space.dimensions)
    vectors = np.stack([states.to(torch.float64).numpy() for _, states in parts])  # (S, T, D)
    coordinates = np.stack([space.project(states / scale, components) for states in vectors])
    gram = vectors @ vectors.transpose(0, 2, 1)
    return TokenPath(refs, tuple(name for name, _ in parts), coordinates, gram, scale, notes, run_id)


def _hidden_states(lm: LanguageModel, ids: list[int], count: int) -> dict[str, list[torch.Tensor]]:
    """Per stack, what enters its first layer and what leaves each: (T, D) float32 on the CPU."""
    tensor = torch.tensor([ids], device=lm.device)
    if lm.family != "encoder-decoder":
        outputs = lm.model(input_ids=tensor, output_hidden_states=True, use_cache=False, return_dict=True)
        return {"decoder" if lm.family == "decoder-only" else "encoder": _on_cpu(outputs.hidden_states)}
    source, target = tensor[:, :count], tensor[:, count:]
    outputs = lm.model(
        input_ids=source,
        attention_mask=torch.ones_like(source),
        decoder_input_ids=target,
        output_hidden_states=True,
        use_cache=False,
        return_dict=True,
    )
    return {
        "encoder": _on_cpu(outputs.encoder_hidden_states),
        "decoder": _on_cpu(outputs.decoder_hidden_states),
    }


def _on_cpu(states: Any) -> list[torch.Tensor]:
    return [state[0].float().cpu() for state in states]


def embedding_scale(lm: LanguageModel) -> float:
    """What the model multiplies its embeddings by; 1 for most."""
    config = lm.config
    width = int(lm.embedding.weight.shape[1])
    if getattr(config, "scale_embedding", False) or config.model_type.startswith("gemma"):
        return math.sqrt(width)
    return 1.0


def _enters_with_norm(lm: LanguageModel) -> bool:
    """Whether a norm stands between the embeddings and the first layer (BERT, BART)."""
    names = ("layernorm_embedding", "embeddings.LayerNorm")
    return any(name.endswith(names) for name, _ in lm.model.named_modules())


def _ends_with_norm(lm: LanguageModel, stack: str) -> bool:
    """Whether the last hidden state is that after a norm at the stack's very end."""
    model: Any = lm.model.base_model
    if lm.family == "encoder-decoder":
        model = lm.model.get_encoder() if stack == "encoder" else lm.model.get_decoder()
    return any(
        getattr(model, name, None) is not None for name in ("final_layer_norm", "layer_norm", "ln_f", "norm")
    )
