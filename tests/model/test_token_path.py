from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import explorer
from explorer.core import geometry
from explorer.core.selection import TokenRef
from explorer.model.language_model import LanguageModel
from explorer.model.token_path import read_path
from tests.model.checkpoints import TEXT

SENTENCE = "J'aime l'apprentissage automatique."


def test_that_every_stage_is_what_the_model_computes(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    path = read_path(run, 7)
    count = len(run.source)
    assert path.run_id == 7
    assert path.scale == 16.0
    assert path.stages[:3] == ("input embedding", "plus position", "after encoder layer 0")
    assert path.stages[-1].startswith("after decoder layer 2")
    assert path.gram.shape == (8, len(path.refs), len(path.refs))
    ids = torch.tensor([run.source.ids])
    with torch.inference_mode():
        states = fr_en.model.get_encoder()(input_ids=ids, output_hidden_states=True).hidden_states
    for stage, state in enumerate(states, start=1):
        expected = state[0].double().numpy()
        assert np.allclose(path.gram[stage, :count, :count], expected @ expected.T, rtol=1e-4, atol=1e-3)
        places = fr_en.embedding_space().project(expected / 16.0)
        assert np.allclose(path.coordinates[stage, :count, :3], places, atol=1e-4)
    # After the encoder the source tokens rest.
    assert np.array_equal(path.gram[4, :count, :count], path.gram[7, :count, :count])


def test_that_the_first_stage_is_the_vocabulary_itself(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    path, space = read_path(run, 1), fr_en.embedding_space()
    first, second = path.refs.index(TokenRef("source", 3)), path.refs.index(TokenRef("generated", 3))
    ids = (run.source.ids[3], run.token_ids[3])
    assert path.pair(0, first, second, ids).angle_degrees == pytest.approx(space.angle(*ids), abs=1e-3)
    assert np.allclose(path.coordinates[0, first], space.cloud().coordinates[ids[0]], atol=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart", "marian, deeper decoder", "gpt2", "llama"])
def test_that_every_family_says_how_positions_come_in(checkpoint: Callable[[str], Path], name: str) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT).finish(max_new_tokens=3)
    path = read_path(run, 1)
    added = path.stages[1].startswith("plus position")
    assert ("plus position and norm" in path.stages) == (name == "bart")
    assert added == (name not in ("t5", "llama"))
    assert any("No positions are added" in note for note in path.notes) != added
    layers = sum(count for kind, count in lm.info.layers.items() if kind != "cross")
    assert len(path.stages) == layers + 1 + added
    assert len(path.refs) == path.gram.shape[1] == path.coordinates.shape[1]
    assert np.isfinite(path.gram).all()


def test_that_modes_compare_what_they_say(fr_en: LanguageModel) -> None:
    space = fr_en.embedding_space()
    a, b, mean = space.vector(100), space.vector(200), space.matrix.double().numpy().mean(axis=0)
    centred = space.pair(100, 200, "centred")
    assert centred.angle_degrees == pytest.approx(geometry.angle_degrees(a - mean, b - mean), abs=1e-4)
    assert centred.distance == pytest.approx(np.linalg.norm(a - b))
    normal = space.pair(100, 200, "normalised")
    assert normal.dot == pytest.approx(normal.cosine)
    assert normal.cosine == pytest.approx(space.cosine(100, 200))
    assert normal.norms == (1.0, 1.0)


def test_that_the_window_sees_what_a_script_sees(fr_en: LanguageModel) -> None:
    space = fr_en.embedding_space()
    around = space.neighbourhood("machine", 5)
    assert around.by_cosine == tuple((i, v) for i, _, v in space.neighbours("machine", 5))
    assert around.by_distance == tuple((i, v) for i, _, v in space.neighbours("machine", 5, "euclidean"))
    assert around.cosines[space.token_id("learning")] == pytest.approx(space.cosine("machine", "learning"))
    words = space.arithmetic("man - woman + her", 5)
    assert words.nearest == tuple((i, v) for i, _, v in space.analogy(["man", "her"], ["woman"], 5))
    total = space.vector("man") - space.vector("woman") + space.vector("her")
    rows = space.matrix.double().numpy()
    along = (rows - rows.mean(axis=0)) @ total / np.linalg.norm(total)
    assert np.allclose(words.along, along, atol=1e-5)
    assert words.along_share == pytest.approx(along.var() / rows.var(axis=0).sum(), rel=1e-4)
    assert words.coordinates[:3] == pytest.approx(space.project(total)[0], abs=1e-5)
    matrix = space.cosine_matrix(["machine", "learning", "man"])
    assert matrix[0, 1] == pytest.approx(space.cosine("machine", "learning"))
    assert np.allclose(matrix, matrix.T)
