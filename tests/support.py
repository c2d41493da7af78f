"""Made-up values for tests of views: no model, no torch. Numbers are random but consistent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explorer.app.state import AppState
from explorer.core.branches import ROOT, Node, RunTree
from explorer.core.head_measures import head_measures
from explorer.core.inside import InsideReading, LogitLens, Sublayer
from explorer.core.records import (
    AttentionMap,
    AttentionOverview,
    Family,
    ModelInfo,
    RunSnapshot,
    StepRecord,
    TokenCloud,
)
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.tokens import Token, TokenizedText

TEXT = "J'aime l'apprentissage automatique."
VOCABULARY = 8000
SOURCE = (
    Token(62, "▁J'", "J'", (0, 2), False),
    Token(412, "aime", "aime", (2, 6), False),
    Token(191, "▁l'", "l'", (7, 9), False),
    Token(5120, "apprentissage", "apprentissage", (9, 22), False),
    Token(3307, "▁automatique", "automatique", (23, 34), False),
    Token(14, ".", ".", (34, 35), False),
    Token(1, "</s>", "", None, True),
)
START = (Token(0, "<pad>", "", None, True),)
GENERATED = (
    Token(37, "▁I", "I", None, False),
    Token(701, "▁love", "love", None, False),
    Token(1911, "▁machine", "machine", None, False),
    Token(2210, "▁learning", "learning", None, False),
    Token(14, ".", ".", None, False),
    Token(1, "</s>", "", None, True),
)
SHORT_TEXTS = ("I", "I love", "I love machine", "I love machine learning", *["I love machine learning."] * 2)


def make_model() -> ModelInfo:
    kinds = ("encoder", "decoder", "cross")
    return ModelInfo(
        name="fr-en",
        source="resources/models/fr-en",
        family="encoder-decoder",
        architecture="MarianMTModel",
        device="cpu",
        dtype="float32",
        parameter_count=7_640_000,
        resident_bytes=30_560_000,
        vocabulary_size=VOCABULARY,
        hidden_size=256,
        layers=dict.fromkeys(kinds, 3),
        heads=dict.fromkeys(kinds, 8),
        context_length=128,
        bundled=True,
    )


def make_source() -> TokenizedText:
    return TokenizedText(TEXT, SOURCE)


def make_step(index: int, params: SamplingParams = GREEDY, *, vocabulary: int = VOCABULARY) -> StepRecord:
    """A step whose chosen token is the most likely, at about 0.8."""
    rng = np.random.default_rng(index)
    logits = rng.normal(0.0, 1.5, vocabulary).astype(np.float32)
    logits[rng.integers(0, vocabulary, 12)] += np.linspace(9, 4, 12, dtype=np.float32)
    logits[GENERATED[index].id] = logits.max() + 2.5
    return StepRecord(
        index, GENERATED[index], logits, logits, np.zeros(index + 1, dtype=np.int64), params, False, 0.01
    )


def make_run(steps: int = 4, *, run_id: int = 1, family: Family = "encoder-decoder") -> RunSnapshot:
    return RunSnapshot(
        run_id=run_id,
        family=family,
        source=make_source(),
        start_tokens=() if family == "decoder-only" else START,
        steps=tuple(make_step(index) for index in range(steps)),
        text=SHORT_TEXTS[steps - 1] if steps else "",
        stop_reason="end-of-sequence token" if steps == len(GENERATED) else None,
        encoder_shape=None if family == "decoder-only" else (len(SOURCE), 256),
        params=GREEDY,
    )


def make_branched_run(*, run_id: int = 1) -> RunSnapshot:
    """A run of six steps with two more branches: one off step 1, one off step 3 of that; on the first."""
    run = make_run(6, run_id=run_id)
    steps = run.steps
    forced = replace(steps[2], token=Token(900, "▁deep", "deep", None, False), forced=True)
    warm = SamplingParams(temperature=0.7, seed=1)
    other = replace(steps[4], token=Token(33, "!", "!", None, False), params=warm)
    nodes = [Node(ROOT, ROOT, None)]
    nodes += [Node(i + 1, i, step) for i, step in enumerate(steps)]
    nodes += [Node(7, 2, forced), Node(8, 7, steps[3]), Node(9, 8, steps[4]), Node(10, 8, other)]
    return replace(run, tree=RunTree(tuple(nodes), current=6))


def make_inside(run: RunSnapshot, layers: int = 3, *, lens: bool = True) -> InsideReading:
    """Made-up norms and thoughts of every step; from layer 1 on the chosen token is on top."""
    rng = np.random.default_rng(5)
    count = len(run.steps)
    sublayers = []
    for layer in range(layers):
        for kind in ("self-attention", "cross-attention", "feed-forward"):
            added, stream = rng.uniform(1, 9, (2, count)).astype(np.float32)
            forward = kind == "feed-forward"
            neurons = rng.integers(0, 1024, (count, 4)) if forward else None
            activations = -np.sort(-rng.uniform(0, 5, (count, 4)).astype(np.float32)) if forward else None
            sublayers.append(Sublayer(layer, kind, added, stream, neurons, activations))
    rows = layers + 1
    ids = rng.integers(0, VOCABULARY, (count, rows, 5))
    ranks = rng.integers(1, 500, (count, rows))
    for i, step in enumerate(run.steps):
        ids[i, 2:, 0], ranks[i, 2:] = step.token.id, 0
    read = LogitLens(
        ("input", *(f"layer {i}" for i in range(layers))),
        ids,
        -np.sort(-rng.dirichlet(np.ones(6), (count, rows)).astype(np.float32))[:, :, :5],
        ranks,
        rng.uniform(0, 1, (count, rows)).astype(np.float32),
        rng.uniform(0, 9, (count, rows)).astype(np.float32),
    )
    norms = rng.uniform(5, 9, count).astype(np.float32)
    return InsideReading(run.run_id, run.nodes, norms, tuple(sublayers), read if lens else None)


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], *, causal: bool = False) -> np.ndarray:
    scores = rng.normal(0.0, 2.0, shape)
    if causal:
        scores = np.where(np.tril(np.ones(shape[-2:], dtype=bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-np.inf))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def make_attention(run: RunSnapshot, head: HeadRef) -> AttentionMap:
    queries, keys = run.attention_axes(head.kind)
    rng = np.random.default_rng(head.layer * 100 + head.head)
    weights = random_weights(rng, (len(queries), len(keys)), causal=head.kind == "decoder")
    return AttentionMap(head, weights, queries, keys)


def make_overview(run: RunSnapshot, head: HeadRef, layers: int = 3, heads: int = 8) -> AttentionOverview:
    queries, keys = run.attention_axes(head.kind)
    shape = (layers, heads, len(queries), len(keys))
    weights = random_weights(np.random.default_rng(7), shape, causal=head.kind == "decoder")
    tokens = [run.token(ref) for ref in keys]
    measures = head_measures(
        weights,
        special=np.array([token is not None and token.special for token in tokens], dtype=bool),
        punctuation=np.array([token is not None and token.text == "." for token in tokens], dtype=bool),
        same_axes=head.kind != "cross",
    )
    return AttentionOverview(head.kind, weights, len(queries), len(keys), "none", measures)


def make_cloud(vocabulary: int = VOCABULARY) -> TokenCloud:
    rng = np.random.default_rng(3)
    pieces = [f"▁piece{i}" for i in range(vocabulary)]
    for token in (*SOURCE, *START, *GENERATED):
        if token.id < vocabulary:
            pieces[token.id] = token.piece
    return TokenCloud(
        pieces=tuple(pieces),
        special_ids=frozenset({0, 1, 2}),
        coordinates=(rng.normal(size=(vocabulary, 3)) * [0.3, 0.22, 0.18]).astype(np.float32),
        explained_variance_ratio=np.array([0.03, 0.02, 0.011]),
        norms=rng.uniform(0.8, 1.3, vocabulary).astype(np.float32),
        origin=np.array([0.05, -0.02, 0.01], dtype=np.float32),
        dimensions=256,
        seconds=0.02,
    )


def fill(state: AppState, steps: int = 4, *, head: HeadRef | None = None) -> RunSnapshot:
    """Put a whole made-up run into ``state``, as the controller would."""
    state.set_source_text(TEXT)
    state.set_model(make_model())
    state.set_source(make_source())
    state.set_cloud(make_cloud())
    run = make_run(steps)
    state.set_run(run)
    state.set_head(head or HeadRef("cross", 2, 5))
    assert state.head is not None
    state.set_attention(make_attention(run, state.head))
    state.set_overview(make_overview(run, state.head))
    return run
