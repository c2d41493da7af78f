"""Made-up values for measuring views: no model behind them, sizes as asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explorer.app.state import AppState
from explorer.core.branches import ROOT, Node, RunTree
from explorer.core.head_measures import ENTROPY, TO_FIRST
from explorer.core.records import (
    AttentionMap,
    AttentionOverview,
    ModelInfo,
    RunSnapshot,
    StepRecord,
    TokenCloud,
)
from explorer.core.sampling import SamplingParams
from explorer.core.selection import HeadRef
from explorer.core.tokens import Token, TokenizedText

LAYERS = HEADS = 12


def logits(vocabulary: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """(vocabulary,) float32 with a dozen tokens far above the rest, as a model gives them."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 2.0, vocabulary).astype(np.float32)
    values[rng.integers(0, vocabulary, 12)] += np.linspace(12, 6, 12, dtype=np.float32)
    return values


def fill(state: AppState, vocabulary: int, tokens: int, steps: int) -> None:
    """Put a decoder-only model and a run of so many prompt tokens and steps into ``state``."""
    state.set_model(
        ModelInfo(
            name="made up",
            source="",
            family="decoder-only",
            architecture="GPT2LMHeadModel",
            device="cpu",
            dtype="float32",
            parameter_count=0,
            resident_bytes=0,
            vocabulary_size=vocabulary,
            hidden_size=768,
            layers={"decoder": LAYERS},
            heads={"decoder": HEADS},
            context_length=None,
        )
    )
    state.set_cloud(cloud_of(vocabulary))
    source = TokenizedText("made up", tuple(_token(i + 100) for i in range(tokens)))
    state.set_source_text(source.text)
    state.set_source(source)
    state.set_run(run_of(source, vocabulary, steps))
    state.set_head(HeadRef("decoder", 2, 5))


def run_of(source: TokenizedText, vocabulary: int, steps: int) -> RunSnapshot:
    """A run of ``steps`` steps on ``source``, each with logits of its own and summed up already."""
    records = tuple(_step(index, vocabulary) for index in range(steps))
    return RunSnapshot(1, "decoder-only", source, (), records, "made up", None, None, SamplingParams())


def map_of(run: RunSnapshot, head: HeadRef) -> AttentionMap:
    """One head's map of ``run``."""
    queries, keys = run.attention_axes(head.kind)
    return AttentionMap(head, _weights((len(queries), len(keys))), queries, keys)


def overview_of(run: RunSnapshot, cells: int) -> AttentionOverview:
    """Thumbnails of ``cells`` x ``cells`` of every head, and what each is said to do."""
    rows = len(run.attention_axes("decoder")[0])
    rng = np.random.default_rng(rows)
    measures = {measure: rng.random((LAYERS, HEADS)) for measure in (ENTROPY, TO_FIRST)}
    weights = _weights((LAYERS, HEADS, cells, cells))
    return AttentionOverview("decoder", weights, rows, rows, "max", measures)


def cloud_of(points: int) -> TokenCloud:
    """A vocabulary of so many points."""
    rng = np.random.default_rng(3)
    return TokenCloud(
        pieces=tuple(f"piece{i}" for i in range(points)),
        special_ids=frozenset(),
        coordinates=rng.normal(0.0, (0.3, 0.22, 0.18), (points, 3)).astype(np.float32),
        explained_variance_ratio=np.array([0.03, 0.02, 0.011]),
        norms=np.ones(points, dtype=np.float32),
        origin=np.zeros(3, dtype=np.float32),
        dimensions=768,
        seconds=0.0,
    )


def branched(run: RunSnapshot, count: int) -> RunSnapshot:
    """``run`` with ``count`` more branches, begun evenly over its steps, each a tenth as long."""
    nodes = [Node(ROOT, ROOT, None)]
    nodes += [Node(i + 1, i, step) for i, step in enumerate(run.steps)]
    for number in range(count):
        parent = number * len(run.steps) // count
        for step in run.steps[parent : parent + len(run.steps) // 10]:
            nodes.append(Node(len(nodes), parent, step))
            parent = nodes[-1].id
    return replace(run, tree=RunTree(tuple(nodes), len(run.steps)))


def _token(token_id: int) -> Token:
    return Token(token_id, f"piece{token_id}", f"piece{token_id}", None, False)


def _step(index: int, vocabulary: int) -> StepRecord:
    values = logits(vocabulary, index)
    token = _token(int(values.argmax()))
    ids = np.zeros(1, dtype=np.int64)
    return StepRecord(index, token, values, values, ids, SamplingParams(), False, 0.01).summarise()


def _weights(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    weights = np.random.default_rng(7).exponential(1.0, shape).astype(np.float32)
    weights *= np.tril(np.ones(shape[-2:], dtype=np.float32))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)
