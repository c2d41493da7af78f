"""Positions cut off a KV cache and put back, so that a branch is left and entered without the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache


def growing_layers(cache: Any) -> list[Any]:
    """The layers that gain a position with every token: never those of cross-attention."""
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    return [layer for layer in cache.layers if layer.is_initialized]


def length(cache: Any) -> int:
    """Positions that every layer holds; fewer than some do where a pass broke off."""
    layers = growing_layers(cache)
    return min((int(layer.keys.shape[-2]) for layer in layers), default=0)


def shorten(cache: Any, to: int) -> None:
    """Cut every layer to ``to`` positions, however many it holds."""
    for layer in growing_layers(cache):
        layer.keys, layer.values = layer.keys[..., :to, :], layer.values[..., :to, :]


def last_positions(cache: Any, count: int) -> torch.Tensor:
    """Copy the last ``count`` positions: (batch, count, n), n numbers for all layers' keys and values."""
    tensors = [part for layer in growing_layers(cache) for part in (layer.keys, layer.values)]
    flat = [part[:, :, -count:].transpose(1, 2).flatten(2) for part in tensors]  # (B, c, H * d) each
    return torch.cat([part.to(flat[0].device) for part in flat], dim=-1)


def repeated(cache: Any, times: int) -> Any:
    """A cache of its own in which one sequence stands ``times`` times; cross-attention's is shared."""
    if not isinstance(cache, EncoderDecoderCache):
        own: Any = DynamicCache()
        for index, layer in enumerate(cache.layers):
            own.update(*(part.repeat_interleave(times, dim=0) for part in (layer.keys, layer.values)), index)
        return own
    of_both: Any = EncoderDecoderCache(repeated(cache.self_attention_cache, times), DynamicCache())
    crossing: Any = cache.cross_attention_cache
    for index, layer in enumerate(crossing.layers):
        # Every sequence looks at the same source: nothing to copy, and nothing to reorder.
        shared: Any = copy.copy(layer)
        shared.keys, shared.values = (part.expand(times, -1, -1, -1) for part in (layer.keys, layer.values))
        of_both.cross_attention_cache.layers.append(shared)
        of_both.is_updated[index] = True
    return of_both


def reorder(cache: Any, order: torch.Tensor) -> None:
    """Let sequence i go on from what sequence ``order[i]`` holds."""
    for layer in growing_layers(cache):
        layer.reorder_cache(order)


def append(cache: Any, positions: Sequence[torch.Tensor]) -> None:
    """Put positions (n,) back behind the ones that are there, in one concatenation per layer."""
    flat = torch.stack(list(positions))[None]  # (1, c, n)
    start = 0
    for layer in growing_layers(cache):
        for name in ("keys", "values"):
            held = getattr(layer, name)  # (1, H, t, d)
            _, heads, _, width = held.shape
            rows = flat[..., start : start + heads * width].reshape(1, -1, heads, width).transpose(1, 2)
            setattr(layer, name, torch.cat([held, rows.to(held)], dim=-2))
            start += heads * width
