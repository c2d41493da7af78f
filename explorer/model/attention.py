"""Attention as the model computed it, read on demand.

The model runs under its fast attention (SDPA). A registered attention function notes what a map is
made of (queries and keys after rotary, mask, scaling, position bias, soft cap) and hands on to the
stock function, so that the model's numbers do not change. What is made of the notes:
`explorer.model.attention_notes`.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from explorer.core.selection import AttentionKind
from explorer.model.attention_notes import AttentionNotes, BatchNotes, Notes, Slot
from explorer.model.errors import CancelledError

# Not named after SDPA: transformers would then refuse it for models that cap their scores.
CAPTURING = "explorer_capturing"


class AttentionRecorder:
    """Stands between a model and its fast attention; writes into the notes of whichever run is going on.

    Also the place where a forward pass can be given up: `cancel` is looked at before every layer.
    """

    def __init__(self, model: torch.nn.Module, encoder_only: bool, has_encoder: bool) -> None:
        self.notes: Notes | None = None
        self.cancel = threading.Event()
        for name, module in model.named_modules():
            kind = _kind(name, encoder_only, has_encoder)
            layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
            if layer is not None:
                _PLACES[module] = _Place(Slot(kind, layer), weakref.ref(self))

    def new_notes(self) -> AttentionNotes:
        """Empty notes for a run."""
        return AttentionNotes()

    def new_batch_notes(self) -> BatchNotes:
        """Empty notes for a pass of several sequences."""
        return BatchNotes()


@dataclass(frozen=True, slots=True)
class _Place:
    slot: Slot
    recorder: weakref.ref[AttentionRecorder]


# The attention function is global to transformers, and is told only which module called it.
_PLACES: weakref.WeakKeyDictionary[torch.nn.Module, _Place] = weakref.WeakKeyDictionary()


def _kind(name: str, encoder_only: bool, has_encoder: bool) -> AttentionKind:
    lowered = name.lower()
    if encoder_only:
        return "encoder"
    if "encoder_attn" in lowered or "encdecattention" in lowered or "crossattention" in lowered:
        return "cross"
    parts = lowered.split(".")
    return "encoder" if has_encoder and "encoder" in parts and "decoder" not in parts else "decoder"


def _capturing_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    place = _PLACES.get(module)
    recorder = None if place is None else place.recorder()
    softcap = kwargs.pop("softcap", None)
    if place is not None and recorder is not None:
        if recorder.cancel.is_set():
            raise CancelledError
        if recorder.notes is not None:
            causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
            recorder.notes.note(
                place.slot, query, key, value, attention_mask, scaling, position_bias, softcap, causal
            )
    if softcap is not None:
        return _soft_capped_attention(module, query, key, value, attention_mask, scaling, softcap), None
    output, _ = sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        scaling=scaling,
        is_causal=is_causal,
        position_bias=position_bias,
        **kwargs,
    )
    return output, None


def _soft_capped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float,
) -> torch.Tensor:
    """Eager attention with capped scores (Gemma 2), which SDPA has no way to express: (1, q, H, d)."""
    groups = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ repeat_kv(key, groups).transpose(2, 3) * scale
    scores = torch.tanh(scores / softcap) * softcap
    rows, seen = scores.shape[-2:]
    if mask is None and rows > 1 and getattr(module, "is_causal", True):
        mask = torch.ones(rows, seen, dtype=torch.bool, device=scores.device).tril(seen - rows)
    if mask is not None:
        bool_mask = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, float("-inf")) if bool_mask else scores + mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return (weights @ repeat_kv(value, groups)).transpose(1, 2).contiguous()


AttentionInterface.register(CAPTURING, _capturing_attention)
# Under its own name a custom attention gets no mask at all unless one is registered with it.
AttentionMaskInterface.register(CAPTURING, sdpa_mask)
