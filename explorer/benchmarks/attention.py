"""Attention read on demand: one head, all heads, and what is kept in memory for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PySide6.QtGui import QPixmap

import explorer
from explorer.app.state import AppState
from explorer.benchmarks import checkpoints, html_views
from explorer.benchmarks.figures import Agreement, Figure, Plan, Skip, Target
from explorer.benchmarks.generation import plain_model
from explorer.benchmarks.timing import compared, in_turn
from explorer.core.selection import HeadRef
from explorer.model.language_model import LanguageModel
from explorer.model.run import Run
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme

ONE_HEAD_TOKENS, OVERVIEW_TOKENS = 1024, 256
ALL_MAPS = "eager pass, output_attentions=True"
LENGTHS = (64, 128, 192)
HTML_LENGTHS = (64, 128, 256, 512)
SHORT_TOKENS = 8


def measure(plan: Plan) -> Iterator[Figure | Skip]:
    """One head of a long text, every head of a middling one, the same as HTML, and bytes."""
    by_name = checkpoints.sizes(plan.quick)
    t5, gpt2, _ = by_name
    for device in plan.devices:
        yield _one_head(plan, t5, device)
        yield _overview(plan, gpt2, device)
        yield from _as_html(plan, gpt2, device)
        for size in checkpoints.sizes(quick=True):
            yield _bytes_per_token(size, checkpoints.save(size, plan.folder), device)
        yield _eager_bytes(plan, checkpoints.eager(), device)


def _one_head(plan: Plan, size: checkpoints.Size, device: str) -> Figure:
    folder = checkpoints.save(size, plan.folder)
    lm = explorer.load(str(folder), device=device)
    run = lm.generate(checkpoints.text(ONE_HEAD_TOKENS))
    head = HeadRef("encoder", 1, 3)
    shown = _Shown(plan, lm, run, head)
    eager = plain_model(size, folder, device, attn_implementation="eager")
    encode = eager.get_encoder()
    timed = in_turn(
        {"explorer": shown.paint_map, ALL_MAPS: lambda: _eagerly(encode, run, device)}, plan.rounds
    )
    others, ratios = compared(timed, "explorer")
    found = run.attention(head.kind, head.layer, head.head)
    expected = timed[ALL_MAPS].result.attentions[head.layer][0, head.head].float().cpu().numpy()
    return Figure(
        "attention",
        f"one head's {found.shape[0]:,} x {found.shape[1]:,} map, from click to painted, {size.name}",
        device,
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(100.0),
        agreements=(
            Agreement(
                "weights with the eager ones (largest difference)",
                float(np.abs(found - expected).max()),
                1e-4,
            ),
        ),
    )


def _overview(plan: Plan, size: checkpoints.Size, device: str) -> Figure:
    folder = checkpoints.save(size, plan.folder)
    lm = explorer.load(str(folder), device=device)
    run = lm.generate(checkpoints.text(OVERVIEW_TOKENS))
    run.step()
    shown = _Shown(plan, lm, run, HeadRef("decoder", 1, 3))
    eager = plain_model(size, folder, device, attn_implementation="eager")
    timed = in_turn(
        {"explorer": shown.paint_overview, ALL_MAPS: lambda: _eagerly(eager, run, device)}, plan.rounds
    )
    others, ratios = compared(timed, "explorer")
    found = run.overview("decoder").weights
    expected = torch.stack([layer[0].float() for layer in timed[ALL_MAPS].result.attentions])
    pooled = torch.nn.functional.adaptive_max_pool2d(expected, found.shape[2:]).cpu().numpy()
    layers, heads = found.shape[:2]
    return Figure(
        "attention",
        f"all {layers} x {heads} heads at {OVERVIEW_TOKENS} tokens, from read to painted, {size.name}",
        device,
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(150.0),
        agreements=(
            Agreement(
                "thumbnails with the eager maps, pooled (largest difference)",
                float(np.abs(found - pooled).max()),
                1e-4,
            ),
        ),
    )


def _as_html(plan: Plan, size: checkpoints.Size, device: str) -> Iterator[Figure | Skip]:
    lm = explorer.load(str(checkpoints.save(size, plan.folder)), device=device)
    head = HeadRef("decoder", 1, 3)
    for length in HTML_LENGTHS[: 2 if plan.quick else None]:
        run = lm.generate(checkpoints.text(length))
        run.step()
        shown = _Shown(plan, lm, run, head)
        weights = run.attention(head.kind)
        layers, heads = weights.shape[:2]
        yield from html_views.compare(
            f"all {layers} x {heads} heads at {length} tokens, {size.name}",
            device,
            shown.paint_overview,
            run.overview(head.kind).weights.nbytes + run.attention_map(head).weights.nbytes,
            weights,
            plan.rounds,
        )
        if html_views.missing():
            break


def _eagerly(model: Any, run: Run, device: str) -> Any:
    """One pass that hands over every map, which is how they are usually had."""
    with torch.inference_mode():
        return model(torch.tensor([run.source.ids], device=device), output_attentions=True, return_dict=True)


class _Shown:
    """An attention panel, and what it takes to show something else in it."""

    def __init__(self, plan: Plan, lm: LanguageModel, run: Run, head: HeadRef) -> None:
        self._run, self._head = run, head
        self._state = AppState()
        self._theme = Theme(plan.app, scheme="light")
        self._panel = AttentionPanel(self._state, self._theme)
        self._panel.resize(800, 600)
        self._state.set_model(lm.info)
        self._state.set_source_text(run.source.text)
        self._state.set_source(run.source)
        self._state.set_run(run.snapshot())
        self._state.set_head(head)
        self._state.set_overview(run.overview(head.kind))
        self._state.set_attention(run.attention_map(head))
        self._panel.grab()

    def paint_map(self) -> QPixmap:
        """Read the head's map, show it and paint the panel."""
        self._state.set_attention(self._run.attention_map(self._head))
        return self._panel.grab()

    def paint_overview(self) -> QPixmap:
        """Read every head, show the thumbnails and paint the panel."""
        self._state.set_overview(self._run.overview(self._head.kind))
        return self._panel.grab()


def _bytes_per_token(size: checkpoints.Size, folder: Path, device: str) -> Figure:
    """What each further token adds to a run's notes, between runs of three lengths."""
    lm = explorer.load(str(folder), device=device)
    noted = []
    for length in LENGTHS:
        run = lm.generate(checkpoints.text(SHORT_TOKENS), max_new_tokens=length).finish()
        noted.append(run.notes.resident_bytes())
    added = np.diff(noted) / np.diff(LENGTHS)
    rows = added - [_bias_bytes(lm, *ends) for ends in itertools.pairwise(LENGTHS)]
    expected = expected_bytes(lm, LENGTHS[-2], LENGTHS[-1])
    return Figure(
        "attention",
        f"kept per generated token, {size.name}",
        device,
        float(added[-1]),
        "bytes",
        others={"by the formula": expected},
        ratios={"by the formula": float(added[-1]) / expected},
        target=Target(1.0, "by the formula"),
        agreements=(
            Agreement(
                "growth from 128 to 192 tokens with that from 64 to 128, but for position bias (relative)",
                abs(float(rows[1] / rows[0]) - 1.0),
                0.01,
            ),
        ),
    )


def _eager_bytes(plan: Plan, size: checkpoints.Size, device: str) -> Figure:
    """What a run keeps whose weights themselves are kept, beside an eager pass that returns them."""
    folder = checkpoints.save(size, plan.folder)
    lm = explorer.load(str(folder), device=device)
    run = lm.generate(checkpoints.text(SHORT_TOKENS), max_new_tokens=LENGTHS[-1]).finish()
    found = run.attention("decoder")
    kept = run.notes.resident_bytes()
    layers, heads, rows, keys = found.shape
    expected = float(layers * heads * rows * keys * lm.dtype.itemsize)
    eager = plain_model(size, folder, device, attn_implementation="eager")
    ids = torch.tensor([[*run.source.ids, *run.token_ids[:-1]]], device=device)
    with torch.inference_mode():
        own = torch.cat(eager(ids, output_attentions=True, return_dict=True).attentions).cpu().numpy()
    return Figure(
        "attention",
        f"kept under eager attention at {keys} tokens, {size.name}",
        device,
        float(kept),
        "bytes",
        others={"by the formula": expected},
        ratios={"by the formula": kept / expected},
        target=Target(1.0, "by the formula"),
        agreements=(
            Agreement(
                "weights with the eager ones (largest difference)", float(np.abs(found - own).max()), 1e-4
            ),
        ),
    )


def expected_bytes(lm: LanguageModel, start: int, end: int) -> float:
    """Bytes that each token from ``start`` to ``end`` should add, by the formula of `AttentionNotes`.

    Per layer a query row and a key row for self-attention, a query row for cross-attention; T5 besides
    a row of position bias per head, as long as what it looks at, shared by its layers.
    """
    info = lm.info
    config = lm.model.config
    groups = getattr(config, "num_key_value_heads", None) or info.heads["decoder"]
    head_dim = getattr(config, "d_kv", None) or info.hidden_size // info.heads["decoder"]
    rows = info.layers["decoder"] * (info.heads["decoder"] + groups)
    rows += info.layers.get("cross", 0) * info.heads.get("cross", 0)
    return float(rows * head_dim * lm.dtype.itemsize + _bias_bytes(lm, start, end))


def _bias_bytes(lm: LanguageModel, start: int, end: int) -> float:
    if lm.model.config.model_type != "t5":
        return 0.0
    # What stands there on average, and the source, for which T5 notes a row of zeros.
    columns = (start + end + 1) / 2 + SHORT_TOKENS
    return lm.info.heads["decoder"] * lm.dtype.itemsize * columns
