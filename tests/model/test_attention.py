"""Maps read on demand, against the checkpoint's own eager ``output_attentions``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import explorer
from explorer.core.selection import AttentionKind, HeadRef, TokenRef
from explorer.model.attention_notes import pool
from explorer.model.language_model import LanguageModel
from tests.model.checkpoints import DECODER_ONLY, ENCODER_DECODERS, TEXT
from tests.model.test_generation import SENTENCE, reference

TOLERANCE = 1e-5


def eager_attentions(
    folder: Path, family: str, source: tuple[int, ...], run_ids: list[int]
) -> dict[str, Any]:
    """One uncached eager pass over the whole of source and target: (layer, head, query, key) by kind."""
    model = reference(folder, family)
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        if family == "decoder-only":
            out = model(input_ids=torch.tensor([[*source, *run_ids[:-1]]]), output_attentions=True)
            return {"decoder": torch.cat(out.attentions).numpy()}
        start = model.config.decoder_start_token_id
        out = model(
            input_ids=torch.tensor([source]),
            decoder_input_ids=torch.tensor([[start, *run_ids[:-1]]]),
            output_attentions=True,
        )
    return {
        "encoder": torch.cat(out.encoder_attentions).numpy(),
        "decoder": torch.cat(out.decoder_attentions).numpy(),
        "cross": torch.cat(out.cross_attentions).numpy(),
    }


@pytest.mark.parametrize("name", [*ENCODER_DECODERS, *DECODER_ONLY])
def test_that_every_map_equals_eager_attention(checkpoint: Callable[[str], Path], name: str) -> None:
    folder = checkpoint(name)
    lm = explorer.load(str(folder), device="cpu")
    source = lm.tokenize(TEXT)
    run = lm.generate(source, explorer.SamplingParams(seed=2)).finish(max_new_tokens=9)
    expected = eager_attentions(folder, lm.family, source.ids, run.token_ids)
    assert tuple(expected) == lm.info.attention_kinds
    for kind, weights in expected.items():
        ours = run.attention(kind)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, weights, atol=TOLERANCE)
        np.testing.assert_allclose(ours.sum(-1), 1.0, atol=1e-5)
        np.testing.assert_array_equal(run.attention(kind, 0, 1), ours[0, 1])


def test_that_the_bundled_models_maps_equal_eager_attention(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    expected = eager_attentions(fr_en.folder, fr_en.family, run.source.ids, run.token_ids)
    for kind, weights in expected.items():
        np.testing.assert_allclose(run.attention(kind), weights, atol=TOLERANCE)


def test_that_maps_grow_and_shrink_with_the_steps(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE)
    assert run.attention("encoder", 0, 0).shape == (7, 7)
    assert run.attention("cross", 0, 0).shape == (0, 7)
    run.step()
    run.step()
    assert run.attention("cross", 0, 0).shape == (2, 7)
    assert run.attention("decoder", 0, 0).shape == (2, 2)
    before = run.attention("cross")
    run.step()
    run.back()
    np.testing.assert_array_equal(run.attention("cross"), before)
    assert run.attention("decoder").shape == (3, 8, 2, 2)


def test_that_the_course_sentence_is_aligned_by_layer_2_head_7(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    cross = run.attention_map(HeadRef("cross", 2, 7))
    aligned = {
        run.steps[q.index].token.piece: run.source.tokens[cross.keys[int(row.argmax())].index].piece
        for q, row in zip(cross.queries, cross.weights, strict=True)
    }
    assert aligned["▁love"] == "aime"
    assert aligned["▁machine"] == "▁automatique"
    assert aligned["▁learning"] == "apprentissage"


def test_that_rows_stand_for_the_token_being_written(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    decoder = run.attention_map(HeadRef("decoder", 0, 0))
    assert decoder.queries == tuple(TokenRef("generated", i) for i in range(6))
    assert decoder.keys == (TokenRef("start", 0), *(TokenRef("generated", i) for i in range(5)))


@pytest.mark.parametrize("name", ["gpt2", "marian", "t5"])
def test_that_axes_fit_the_weights(checkpoint: Callable[[str], Path], name: str) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT)
    for _ in range(3):
        for kind in lm.info.attention_kinds:
            read = run.attention_map(HeadRef(kind, 1, 2))
            assert read.weights.shape == (len(read.queries), len(read.keys))
        run.step()


def test_that_the_overview_is_the_maps_themselves_when_they_are_small(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    overview = run.overview("cross")
    assert overview.pooling == "none"
    np.testing.assert_allclose(overview.weights, run.attention("cross"), atol=1e-6)


def test_that_a_large_overview_is_max_pooled(fr_en: LanguageModel) -> None:
    run = fr_en.generate("Je ne sais pas. " * 22)
    overview = run.overview("encoder")
    full = run.attention("encoder")
    assert full.shape[-1] > 64
    assert (overview.pooling, overview.keys) == ("max", full.shape[-1])
    assert overview.weights.shape == (3, 8, 64, 64)
    assert overview.weights.max() == full.max()


@pytest.mark.parametrize("shape", [(3, 256, 256), (2, 100, 77), (2, 65, 9), (1, 9, 640), (2, 64, 1000)])
def test_that_pooling_equals_adaptive_max_pooling(shape: tuple[int, int, int]) -> None:
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    cells = (min(64, shape[1]), min(64, shape[2]))
    assert torch.equal(pool(weights, *cells), torch.nn.functional.adaptive_max_pool2d(weights, cells))


def test_that_mean_pooling_is_that_of_torch_and_is_named(fr_en: LanguageModel) -> None:
    run = fr_en.generate("J'aime " * 90)
    whole = torch.from_numpy(run.attention("encoder"))
    overview = run.overview("encoder", "mean")
    assert overview.pooling == "mean"
    expected = torch.nn.functional.adaptive_avg_pool2d(whole, overview.weights.shape[2:])
    np.testing.assert_allclose(overview.weights, expected.numpy(), atol=1e-7)
    assert run.overview("encoder").pooling == "max"
    assert fr_en.generate(SENTENCE).overview("encoder", "mean").pooling == "none"


@pytest.mark.parametrize(
    ("kind", "layer", "head", "says"),
    [
        ("cross", 3, 0, "layers 0 to 2"),
        ("cross", 0, 8, "heads 0 to 7"),
        ("sideways", 0, 0, "has no sideways"),
    ],
)
def test_that_a_head_that_is_not_there_is_refused(
    fr_en: LanguageModel, kind: Any, layer: int, head: int, says: str
) -> None:
    run = fr_en.generate(SENTENCE)
    with pytest.raises(ValueError, match=says):
        run.attention(kind, layer, head)


def test_that_noted_memory_grows_linearly_with_the_steps(fr_en: LanguageModel) -> None:
    run = fr_en.generate("Je ne sais pas. " * 12)
    sizes = []
    for _ in range(24):
        run.step()
        sizes.append(run.notes.resident_bytes())
        if run.finished:
            break
    growth = np.diff(sizes[1:])
    assert len(set(growth.tolist())) == 1


def test_that_a_query_cut_from_a_larger_tensor_does_not_keep_the_rest_alive(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load(str(checkpoint("gpt2")), device="cpu")
    sizes = []
    for count in (4, 5):
        run = lm.generate(TEXT).finish(max_new_tokens=count)
        assert len(run.steps) == count
        sizes.append(run.notes.resident_bytes())
    # One float32 row of queries and one of keys in each layer.
    assert sizes[1] - sizes[0] == lm.info.layers["decoder"] * 2 * lm.info.hidden_size * 4


@pytest.mark.parametrize("name", ["t5", "marian", "bart", "gpt2", "llama", "mistral, sliding window"])
def test_that_a_weight_is_the_softmax_of_what_is_said_of_it(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT).finish(max_new_tokens=6)
    run.back()
    for kind in lm.info.attention_kinds:
        head = HeadRef(kind, 1, 3)
        weights = run.attention(kind, 1, 3)
        row, column = weights.shape[0] - 1, 1
        cell = run.inspect(head, row, column)
        assert cell.weight == pytest.approx(weights[row, column], abs=1e-6)
        assert cell.raw_score == pytest.approx(float(cell.products.sum()), abs=1e-4)
        if cell.masked:
            assert cell.row_scores[column] == -np.inf
        else:
            score = cell.raw_score * cell.scaling + cell.bias
            assert cell.row_scores[column] == pytest.approx(score, abs=1e-4)
        exponentials = np.exp(cell.row_scores.astype(np.float64) - cell.row_scores.max())
        np.testing.assert_allclose(exponentials / exponentials.sum(), weights[row], atol=1e-6)
        np.testing.assert_allclose(cell.output, weights[row] @ cell.values, atol=1e-5)
        assert cell.masked == (weights[row, column] == 0)


def test_that_the_mixture_of_values_is_what_the_attention_layer_hands_on(fr_en: LanguageModel) -> None:
    heard: list[torch.Tensor] = []
    layer = fr_en.model.model.encoder.layers[1].self_attn.out_proj
    handle = layer.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].detach()))
    try:
        run = fr_en.generate(SENTENCE)
    finally:
        handle.remove()
    cell = run.inspect(HeadRef("encoder", 1, 5), 3, 0)
    np.testing.assert_allclose(cell.output, heard[0][0, 3, 5 * 32 : 6 * 32].numpy(), atol=1e-5)


def test_that_a_cell_that_is_not_there_is_refused(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE)
    with pytest.raises(ValueError, match="no cell"):
        run.inspect(HeadRef("encoder", 0, 0), 7, 0)


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_that_heads_are_measured_on_their_full_maps(fr_en: LanguageModel, kind: Any) -> None:
    run = fr_en.generate("Je ne sais pas. " * 20).finish(max_new_tokens=20)
    overview = run.overview(kind)
    weights = run.attention(kind).astype(np.float64)
    _, _, queries, keys = weights.shape
    measured = {measure.name: values for measure, values in overview.measures.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(weights * np.log2(weights), axis=-1).mean(-1)
    np.testing.assert_allclose(measured["entropy"], entropy, atol=1e-4)
    np.testing.assert_allclose(measured["to the first token"], weights[..., 0].mean(-1), atol=1e-5)
    rows, columns = np.mgrid[:queries, :keys]
    if kind == "cross":
        offset = np.abs(rows / (queries - 1) - columns / (keys - 1))
        np.testing.assert_allclose(measured["diagonal"], 1 - (weights * offset).sum(-1).mean(-1), atol=1e-5)
    else:
        distance = (weights * np.abs(rows - columns)).sum(-1).mean(-1)
        np.testing.assert_allclose(measured["distance"], distance, atol=1e-4)
        special = [0] if kind == "decoder" else [keys - 1]
        expected = weights[..., special].sum(-1).mean(-1)
        np.testing.assert_allclose(measured["to special tokens"], expected, atol=1e-5)


def rollout_reference(weights: np.ndarray, layer: int) -> np.ndarray:
    """Abnar & Zuidema (2020) in float64, entry by entry: (layer, head, n, n) to (n, n)."""
    count = weights.shape[-1]
    total = np.eye(count)
    for heads in weights[: layer + 1].astype(np.float64):
        mixed = heads.sum(axis=0) / len(heads) / 2
        mixed[np.arange(count), np.arange(count)] += 0.5
        total = np.einsum("ij,jk->ik", mixed, total)
    return total


@pytest.mark.parametrize("name", ["t5", "marian", "gpt2", "llama", "mistral, sliding window"])
def test_that_rollout_and_mean_equal_an_independent_computation(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT).finish(max_new_tokens=6)
    for kind in lm.info.attention_kinds:
        weights = run.attention(kind)
        for layer in range(lm.info.layers[kind]):
            mean = run.mean_attention(kind, layer)
            assert mean.dtype == np.float32
            np.testing.assert_allclose(mean, weights[layer].astype(np.float64).mean(0), atol=1e-6)
            if kind != "cross":
                rolled = run.rollout(kind, layer)
                assert rolled.dtype == np.float32
                np.testing.assert_allclose(rolled, rollout_reference(weights, layer), atol=2e-6)
                np.testing.assert_allclose(rolled.sum(-1), 1.0, atol=1e-5)
        if kind != "cross":
            np.testing.assert_array_equal(run.rollout(kind), run.rollout(kind, lm.info.layers[kind] - 1))


def test_that_summaries_say_what_they_are(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    head = HeadRef("encoder", 2, 5)
    assert run.attention_map(head).title == "encoder · layer 2 · head 5"
    mean, rolled = run.attention_map(head, "mean"), run.attention_map(head, "rollout")
    assert mean.title == "encoder · mean of 8 heads · layer 2"
    assert rolled.title == "encoder · rollout · layers 0–2"
    np.testing.assert_array_equal(rolled.weights, run.rollout("encoder"))
    assert run.attention_map(HeadRef("decoder", 0, 0), "rollout").title == "decoder · rollout · layer 0"


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_that_the_mean_over_any_heads_is_the_mean_of_their_maps(fr_en: LanguageModel, data: Any) -> None:
    run = fr_en.generate(SENTENCE).finish()
    kind: AttentionKind = data.draw(st.sampled_from(fr_en.info.attention_kinds))
    place = st.tuples(st.integers(0, 2), st.integers(0, 7))
    heads = data.draw(st.lists(place, min_size=1, max_size=24, unique=True))
    weights = run.attention(kind).astype(np.float64)
    expected = np.mean([weights[one] for one in heads], axis=0)
    mean = run.mean_attention(kind, heads=heads)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    np.testing.assert_array_equal(run.mean_attention(kind, heads=[*heads, heads[0]]), mean)


def test_that_the_mean_is_over_all_heads_unless_told_otherwise(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    weights = run.attention("cross").astype(np.float64)
    np.testing.assert_allclose(run.mean_attention("cross"), weights.mean((0, 1)), atol=1e-6)
    chosen = run.attention_map(HeadRef("cross", 0, 0), "chosen", [(2, 7), (0, 1)])
    assert chosen.title == "cross · mean of 2 heads · 0·1, 2·7"
    np.testing.assert_allclose(chosen.weights, (weights[0, 1] + weights[2, 7]) / 2, atol=1e-6)
    before = fr_en.generate(SENTENCE).mean_attention("cross", heads=[(0, 0), (1, 1)])
    assert before.shape == (0, len(run.source))


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ({"layer": 0, "heads": [(0, 0)]}, "either a layer or heads"),
        ({"heads": []}, "at least one head"),
        ({"heads": [(0, 8)]}, "heads 0 to 7, not 8"),
        ({"heads": [(3, 0)]}, "layers 0 to 2, not 3"),
    ],
)
def test_that_a_mean_over_heads_that_are_not_there_is_refused(
    fr_en: LanguageModel, named: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        fr_en.generate(SENTENCE).mean_attention("cross", **named)


def test_that_there_is_no_rollout_of_cross_attention_or_of_a_layer_that_is_not_there(
    fr_en: LanguageModel,
) -> None:
    run = fr_en.generate(SENTENCE)
    assert run.rollout("decoder").shape == (0, 0)
    with pytest.raises(ValueError, match="two texts"):
        run.rollout("cross")
    with pytest.raises(ValueError, match="layers 0 to 2"):
        run.rollout("encoder", 3)
    with pytest.raises(ValueError, match="layers 0 to 2"):
        run.mean_attention("cross", 3)
