from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import explorer
from explorer.core.positions import PositionEncoding, cosine_matrix, turned_cosines
from explorer.model.language_model import LanguageModel
from explorer.model.positions import BIAS_POSITIONS, MOST_POSITIONS
from tests.model.checkpoints import ALL

ADDED = {"bart": 2, "mbart": 2, "gpt2": 0, "bert": 0, "bert without a head": 0, "distilbert": 0, "roberta": 1}
ROTARY = [
    "llama",
    "qwen2",
    "qwen3",
    "mistral, sliding window",
    "gemma",
    "gemma 2, soft cap",
    "gemma 3",
    "gpt-neox",
    "modernbert, sliding window",
]


def load(folder: Path) -> LanguageModel:
    return explorer.load(str(folder), device="cpu")


def sinusoids(positions: np.ndarray, dimensions: int) -> np.ndarray:
    """Vaswani et al., section 3.5, sines first and cosines after them, as Marian and Pegasus have them."""
    rates = 10000.0 ** (-2.0 * np.arange(dimensions // 2) / dimensions)
    return np.concatenate([np.sin(positions[:, None] * rates), np.cos(positions[:, None] * rates)], axis=1)


def test_that_marian_has_the_sinusoids_of_the_paper(fr_en: LanguageModel) -> None:
    encoder, decoder = fr_en.positions()
    assert (encoder.stack, decoder.stack) == ("encoder", "decoder")
    for one in (encoder, decoder):
        assert one.kind == "sinusoidal"
        assert one.where == f"model.{one.stack}.embed_positions"
        assert one.vectors is not None
        expected = sinusoids(np.arange(len(one.vectors)), one.vectors.shape[1])
        assert np.allclose(one.vectors, expected, atol=2e-5)


def test_that_what_is_read_is_what_marian_adds(fr_en: LanguageModel) -> None:
    source = fr_en.tokenize("J'aime l'apprentissage automatique.")
    ids = torch.tensor([source.ids])
    with torch.inference_mode():
        entered = fr_en.model.get_encoder()(input_ids=ids, output_hidden_states=True).hidden_states[0][0]
        rows = fr_en.embedding.weight[ids[0]] * 16.0
    vectors = fr_en.positions()[0].vectors
    assert vectors is not None
    assert np.allclose((entered - rows).numpy(), vectors[: len(source)], atol=1e-5)


@pytest.mark.parametrize("name", ["pegasus", "m2m100"])
def test_that_other_sinusoidal_families_give_what_their_module_returns(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = load(checkpoint(name))
    for one in lm.positions():
        assert one.kind == "sinusoidal"
        assert one.vectors is not None
        module = lm.model.get_submodule(one.where)
        count = 20
        with torch.inference_mode():
            ids = torch.full((1, count), 7)
            given = module(ids) if name == "m2m100" else module(ids.shape)
        assert np.array_equal(one.vectors[:count], given.reshape(count, -1).numpy())


@pytest.mark.parametrize("name", ADDED)
def test_that_learned_tables_are_rows_of_the_file(checkpoint: Callable[[str], Path], name: str) -> None:
    folder = checkpoint(name)
    lm, tensors = load(folder), load_file(folder / "model.safetensors")
    encodings = lm.positions()
    assert len(encodings) == (2 if lm.family == "encoder-decoder" else 1)
    for one in encodings:
        assert one.kind == "learned"
        assert one.vectors is not None
        path = one.where + ".weight"
        table = next(tensors[key] for key in tensors if path.endswith(key) or key.endswith(path)).numpy()
        assert np.array_equal(one.vectors, table[ADDED[name] :])
        assert ("row" in one.note) == bool(ADDED[name])


@pytest.mark.parametrize("name", ["gpt2", "bert", "roberta"])
def test_that_a_learned_row_is_what_the_model_adds(checkpoint: Callable[[str], Path], name: str) -> None:
    lm = load(checkpoint(name))
    one = lm.positions()[0]
    assert one.vectors is not None
    added: list[torch.Tensor] = []
    hook = lm.model.get_submodule(one.where).register_forward_hook(lambda *parts: added.append(parts[2]))
    with torch.inference_mode():
        lm.model(input_ids=torch.tensor([[7, 8, 9, 10]]))
    hook.remove()
    assert np.array_equal(added[0].reshape(4, -1).numpy(), one.vectors[:4])


@pytest.mark.parametrize("name", ["t5", "t5 v1.1", "mt5", "t5, deeper decoder"])
def test_that_the_relative_bias_is_what_attention_is_given(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = load(checkpoint(name))
    lm.model.set_attn_implementation("eager")
    encoder, decoder = lm.positions()
    given: list[Any] = []
    for stack in (lm.model.encoder, lm.model.decoder):
        stack.block[0].layer[0].SelfAttention.register_forward_hook(lambda *parts: given.append(parts[2]))
    ids = torch.randint(5, 90, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        lm.model(input_ids=ids, decoder_input_ids=ids, use_cache=False)
    for one, output in zip((encoder, decoder), given, strict=True):
        assert one.kind == "relative bias"
        assert one.bias is not None
        assert one.bias.shape == (4, BIAS_POSITIONS, BIAS_POSITIONS)
        biases = [x for x in output if isinstance(x, torch.Tensor) and x.shape == (1, 4, 40, 40)]
        # Under the mask, and the mask's own numbers, nothing is to be compared.
        seen = np.tril(np.ones((40, 40), dtype=bool)) if one.causal else np.ones((40, 40), dtype=bool)
        assert any(np.allclose(x[0].numpy()[:, seen], one.bias[:, :40, :40][:, seen]) for x in biases)
    assert (encoder.causal, decoder.causal) == (False, True)


@pytest.mark.parametrize("name", ROTARY)
def test_that_rotary_angles_are_those_the_model_turns_by(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = load(checkpoint(name))
    encodings = lm.positions()
    assert len({one.name for one in encodings}) == len(encodings)
    for one in encodings:
        assert one.kind == "rotary"
        module_path, _, buffer = one.where.rpartition(".")
        module = lm.model.get_submodule(module_path)
        layer_type = buffer.removesuffix("inv_freq").strip("_")
        places = torch.arange(100)[None]
        with torch.inference_mode():
            extra = (layer_type,) if layer_type else ()
            cosine, sine = module(torch.zeros(1), places, *extra)
        angles = one.angles(100)
        pairs = angles.shape[1]
        assert np.allclose(cosine[0, :, :pairs].numpy(), np.cos(angles), atol=1e-4)
        assert np.allclose(sine[0, :, :pairs].numpy(), np.sin(angles), atol=1e-4)
    part = "2 of each head's 8" if name == "gpt-neox" else "all of each head's 8"
    assert part in encodings[0].note


@pytest.mark.parametrize("name", sorted(ALL))
def test_that_every_family_has_what_it_says(checkpoint: Callable[[str], Path], name: str) -> None:
    for one in load(checkpoint(name)).positions():
        assert one.kind != "none"
        held = [x for x in (one.vectors, one.bias, one.frequencies) if x is not None]
        assert len(held) == 1
        assert np.isfinite(held[0]).all()
        assert one.note.endswith(".")


def test_that_a_model_without_positions_says_so(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load(checkpoint("llama"))
    monkeypatch.setattr(lm.model, "named_modules", lambda: iter(()))
    (none,) = lm.positions()
    assert none.kind == "none"
    assert "No table of positions" in none.note
    monkeypatch.setattr(lm.config, "alibi", True, raising=False)
    assert "ALiBi" in lm.positions()[0].note


def test_that_at_most_512_positions_are_read_and_said(checkpoint: Callable[[str], Path]) -> None:
    lm = load(checkpoint("gpt2"))
    lm.model.transformer.wpe = torch.nn.Embedding(1024, 32)
    (one,) = lm.positions()
    assert one.vectors is not None
    assert len(one.vectors) == MOST_POSITIONS
    assert "512 of 1024 positions" in one.note


def test_that_cosines_are_those_of_the_vectors() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    vectors[2] = 0.0
    cosines = cosine_matrix(vectors)
    for i in (0, 1, 3):
        for j in (4, 5):
            a, b = vectors[i].astype(np.float64), vectors[j].astype(np.float64)
            expected = a @ b / np.sqrt((a @ a) * (b @ b))
            assert cosines[i, j] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(cosines[2]).all()


def test_that_turned_cosines_are_those_of_turned_vectors() -> None:
    frequencies = np.array([1.0, 0.1, 0.01])
    angles = np.arange(7)[:, None] * frequencies
    turned = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float64)
    expected = turned @ turned.T / 3.0
    assert np.allclose(turned_cosines(frequencies, 7), expected)


def test_that_the_bias_depends_on_the_distance_alone(checkpoint: Callable[[str], Path]) -> None:
    encoder: PositionEncoding = load(checkpoint("t5")).positions()[0]
    by_distance = encoder.bias_by_distance()
    assert encoder.bias is not None
    assert by_distance.shape == (4, 2 * BIAS_POSITIONS - 1)
    for query, key in ((0, 0), (5, 30), (63, 0), (0, 63), (40, 2)):
        assert np.array_equal(by_distance[:, key - query + BIAS_POSITIONS - 1], encoder.bias[:, query, key])
