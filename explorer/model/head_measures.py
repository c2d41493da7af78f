"""What an attention head does on a text, in numbers: shown, not asserted."""

from __future__ import annotations

import torch


def measure_heads(
    weights: torch.Tensor, special: torch.Tensor, punctuation: torch.Tensor, *, cross: bool
) -> dict[str, torch.Tensor]:
    """Measure heads on their maps; names and meanings as in `explorer.core.records.HEAD_MEASURES`.

    Parameters
    ----------
    weights : torch.Tensor
        (H, query, key); rows sum to 1.
    special, punctuation : torch.Tensor
        (key,) bool: which columns are special tokens, and which are punctuation.
    cross : bool
        Query and key positions count different texts, so that "self", "previous" and "distance"
        mean nothing; how diagonal a head is means something instead.

    Returns
    -------
    dict of str to torch.Tensor
        (H,) float32 each. O(H * query * key), a few passes over the weights.
    """
    _, queries, keys = weights.shape
    columns = torch.arange(keys, device=weights.device)
    rows = torch.arange(queries, device=weights.device)
    per_key = weights.mean(dim=1)  # (H, key)
    measures = {
        "entropy": torch.special.entr(weights).sum(dim=-1).mean(dim=-1) / torch.log(torch.tensor(2.0)),
        "first": per_key[:, 0],
        "special": per_key[:, special].sum(dim=-1),
        "punctuation": per_key[:, punctuation].sum(dim=-1),
    }
    if cross:
        offset = (rows / max(1, queries - 1))[:, None] - (columns / max(1, keys - 1))[None, :]
        measures["diagonal"] = 1.0 - (weights * offset.abs()).sum(dim=-1).mean(dim=-1)
    else:
        measures["self"] = weights.diagonal(dim1=1, dim2=2).mean(dim=-1)
        measures["previous"] = weights.diagonal(offset=-1, dim1=1, dim2=2).sum(dim=-1) / max(1, queries - 1)
        offset = (rows[:, None] - columns[None, :]).abs()
        measures["distance"] = (weights * offset).sum(dim=-1).mean(dim=-1)
    return measures
