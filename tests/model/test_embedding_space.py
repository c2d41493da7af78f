from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from explorer.model import embedding_space
from explorer.model.embedding_space import EmbeddingError, EmbeddingSpace
from explorer.model.language_model import LanguageModel

WORDS = {" king": [5], "king": [4], " queen": [6], "queen": [6], " uni": [7, 8], "uni": [7, 8], "man": [9]}


def make_space(matrix: torch.Tensor) -> EmbeddingSpace:
    pieces = [f"piece{i}" for i in range(len(matrix))]
    named = {0: "<unk>", 4: "king", 5: "▁king", 6: "▁queen", 7: "▁un", 8: "i", 9: "man"}
    for index, piece in named.items():
        if index < len(pieces):
            pieces[index] = piece

    def encode(text: str) -> Sequence[int]:
        return WORDS.get(text, [0])

    return EmbeddingSpace(matrix, pieces, frozenset({0}), encode)


def random_matrix(
    rows: int, columns: int, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(2.0, 0.2, columns)
    return (torch.randn(rows, columns, generator=generator) * spread + 0.3).to(dtype)


def reference(matrix: torch.Tensor) -> np.ndarray:
    return matrix.to(torch.float64).numpy()


# -- words --------------------------------------------------------------------------------------------


def test_that_the_word_start_form_is_preferred() -> None:
    space = make_space(random_matrix(20, 6))
    assert space.token_id("king") == 5
    assert space.token_id("▁king") == 5
    assert space.token_id("queen") == 6
    assert space.token_id("man") == 9
    assert space.token_id("piece12") == 12
    assert space.token_id("<unk>") == 0
    assert space.token_id(4) == 4
    assert space.token_id(np.int64(4)) == 4


def test_that_a_word_of_several_tokens_is_an_error_that_lists_them() -> None:
    with pytest.raises(EmbeddingError, match=r"'uni' is 2 tokens \(▁un i\)"):
        make_space(random_matrix(20, 6)).cosine("uni", "king")


@pytest.mark.parametrize("word", ["nowhere", "", " ", 20, -1, 1.5, None])
def test_that_what_is_no_token_is_an_error_that_says_so(word: object) -> None:
    with pytest.raises(EmbeddingError):
        make_space(random_matrix(20, 6)).token_id(word)  # type: ignore[arg-type]


def test_that_words_are_found_in_the_bundled_model(fr_en: LanguageModel) -> None:
    space = fr_en.embedding_space()
    assert space.pieces[space.token_id("machine")] == "▁machine"
    assert space.pieces[space.token_id("</s>")] == "</s>"
    assert space.token_id("learning") == fr_en.text_tokenizer.encode_word("learning")[0]


# -- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_that_cosine_angle_and_pair_equal_float64(dtype: torch.dtype) -> None:
    matrix = random_matrix(50, 33, dtype=dtype)
    space, rows = make_space(matrix), reference(matrix)
    for a, b in ((3, 11), (4, 4), (49, 0)):
        expected = rows[a] @ rows[b] / np.linalg.norm(rows[a]) / np.linalg.norm(rows[b])
        reading = space.pair(a, b)
        assert space.cosine(a, b) == pytest.approx(expected, abs=1e-12)
        degrees = math.degrees(math.acos(min(1.0, expected)))
        assert space.angle(a, b) == pytest.approx(degrees, abs=2e-6)
        assert reading.token_ids == (a, b)
        assert reading.dot == pytest.approx(rows[a] @ rows[b])
        assert reading.distance == pytest.approx(np.linalg.norm(rows[a] - rows[b]))
        assert reading.norms == pytest.approx((np.linalg.norm(rows[a]), np.linalg.norm(rows[b])))
    assert np.allclose(space.norms, np.linalg.norm(rows, axis=1), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_that_neighbours_are_those_of_float64(dtype: torch.dtype, metric: str) -> None:
    matrix = random_matrix(700, 24, dtype=dtype)
    space, rows = make_space(matrix), reference(matrix)
    for token_id in (0, 5, 699):
        query = rows[token_id]
        if metric == "cosine":
            values = -(rows @ query) / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
        else:
            values = np.linalg.norm(rows - query, axis=1)
        values[token_id] = np.inf
        expected = np.lexsort((np.arange(700), values))[:12]
        found = space.neighbours(token_id, 12, metric=metric)  # type: ignore[arg-type]
        assert [i for i, _, _ in found] == expected.tolist()
        assert [v for _, _, v in found] == pytest.approx(np.abs(values[expected]), abs=1e-12)
        assert [p for _, p, _ in found] == [space.pieces[i] for i in expected]


def test_that_neighbours_are_the_same_over_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix(300, 16, dtype=torch.bfloat16)
    whole = make_space(matrix)
    expected, components = whole.neighbours("king", 20), whole.pca(3)
    monkeypatch.setattr(embedding_space, "CHUNK_BYTES", 16 * 4 * 7)
    chunked = make_space(matrix)
    assert chunked.neighbours("king", 20) == expected
    assert np.allclose(chunked.pca(3).coordinates, components.coordinates, atol=1e-5)


def test_that_neighbours_are_the_same_when_threads_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix(301, 16)
    expected = make_space(matrix).neighbours("king", 20)
    monkeypatch.setattr(embedding_space, "PARALLEL_BYTES", 0)
    monkeypatch.setattr(embedding_space.os, "cpu_count", lambda: 4)
    assert make_space(matrix).neighbours("king", 20) == expected


def test_that_an_analogy_leaves_its_inputs_out() -> None:
    matrix = random_matrix(60, 10)
    space, rows = make_space(matrix), reference(matrix)
    target = rows[5] + rows[12] - rows[9]
    cosines = rows @ target / np.linalg.norm(rows, axis=1) / np.linalg.norm(target)
    cosines[[5, 12, 9]] = -np.inf
    expected = np.argsort(-cosines)[:5]
    found = space.analogy(["king", 12], ["man"], 5)
    assert [i for i, _, _ in found] == expected.tolist()
    assert [c for _, _, c in found] == pytest.approx(cosines[expected], abs=1e-12)


# -- principal components -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(2000, 40), (300, 500), (1200, 420), (3, 8), (9, 2), (7, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_that_pca_is_scikit_learns_exact_one(rows: int, columns: int, dtype: torch.dtype) -> None:
    matrix = random_matrix(rows, columns, dtype=dtype)
    wanted = min(3, rows - 1, columns)
    found = make_space(matrix).pca(wanted)
    exact = PCA(wanted, svd_solver="full").fit(reference(matrix))
    assert found.explained_variance_ratio == pytest.approx(exact.explained_variance_ratio_, rel=1e-4)
    assert found.explained_variance == pytest.approx(exact.explained_variance_, rel=1e-4)
    assert found.mean == pytest.approx(exact.mean_, abs=1e-6)
    # The subspaces are one: the cosines of their principal angles are 1.
    angles = np.linalg.svd(found.components @ exact.components_.T, compute_uv=False)
    assert angles == pytest.approx(np.ones(wanted), abs=1e-4)
    for axis in found.components:
        assert axis[np.abs(axis).argmax()] > 0
        assert np.linalg.norm(axis) == pytest.approx(1.0)
    assert found.coordinates.dtype == np.float32
    expected = (reference(matrix) - exact.mean_) @ found.components.T
    assert np.allclose(found.coordinates, expected, atol=1e-4)


def test_that_projecting_the_matrix_gives_its_coordinates() -> None:
    matrix = random_matrix(200, 20)
    space = make_space(matrix)
    assert np.allclose(space.project(matrix), space.pca(3).coordinates, atol=1e-5)
    assert np.allclose(space.project(np.zeros(20)), space.pca(3).origin, atol=1e-6)


def test_that_the_cloud_holds_what_the_window_draws() -> None:
    matrix = random_matrix(200, 20)
    cloud = make_space(matrix).cloud()
    assert cloud.coordinates.shape == (200, embedding_space.CLOUD_COMPONENTS)
    assert cloud.dimensions == 20
    assert cloud.origin.shape == (embedding_space.CLOUD_COMPONENTS,)
    assert 0.0 < cloud.explained_variance_ratio.sum() <= 1.0 + 1e-9


# -- what is odd --------------------------------------------------------------------------------------


def test_that_zero_vectors_have_no_angle_and_are_no_neighbours() -> None:
    matrix = random_matrix(30, 5)
    matrix[3] = 0.0
    space = make_space(matrix)
    assert math.isnan(space.cosine(3, 4))
    assert math.isnan(space.angle(3, 4))
    assert 3 not in [i for i, _, _ in space.neighbours(4, 40)]
    assert len(space.neighbours(4, 40)) == 28
    assert 3 in [i for i, _, _ in space.neighbours(4, 40, "euclidean")]
    with pytest.raises(EmbeddingError, match="zero vector"):
        space.neighbours(3)


def test_that_repeated_rows_are_neighbours_in_order_of_their_ids() -> None:
    matrix = random_matrix(300, 8)
    matrix[100:200] = matrix[7]
    found = make_space(matrix).neighbours(7, 5)
    assert [i for i, _, _ in found] == [100, 101, 102, 103, 104]
    assert [c for _, _, c in found] == pytest.approx([1.0] * 5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 1), (5, 1)])
def test_that_tiny_vocabularies_do_not_crash(shape: tuple[int, int]) -> None:
    space = make_space(torch.ones(shape))
    cloud = space.cloud()
    assert np.isfinite(cloud.coordinates).all()
    assert cloud.explained_variance_ratio == pytest.approx(0.0)
    assert len(space.neighbours(0)) == shape[0] - 1


def test_that_all_rows_equal_have_no_variance_and_no_crash() -> None:
    assert (make_space(torch.ones(40, 500)).pca(3).explained_variance_ratio == 0.0).all()


def test_that_more_components_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(EmbeddingError, match="1 to 4 principal components"):
        make_space(random_matrix(30, 4)).pca(5)
    with pytest.raises(EmbeddingError):
        make_space(random_matrix(30, 4)).pca(0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_that_numbers_that_are_not_finite_get_a_clear_message(bad: float) -> None:
    matrix = random_matrix(30, 4)
    matrix[17, 2] = bad
    space = make_space(matrix)
    for call in (space.cloud, lambda: space.neighbours(3), lambda: space.analogy([3, 4])):
        with pytest.raises(EmbeddingError, match=r"1 of 30 rows.*token 17"):
            call()
    assert math.isfinite(space.cosine(3, 4))


def test_that_no_warning_is_raised_on_the_way() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_space(torch.zeros(10, 3)).cloud()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_that_a_gpu_says_what_the_cpu_says(dtype: torch.dtype) -> None:
    matrix = random_matrix(3000, 96, dtype=dtype)
    here, there = make_space(matrix), make_space(matrix.cuda())
    assert np.allclose(here.pca(3).coordinates, there.pca(3).coordinates, atol=1e-3)
    assert [i for i, _, _ in here.neighbours(5, 20)] == [i for i, _, _ in there.neighbours(5, 20)]
    assert here.pair(1, 2).angle_degrees == pytest.approx(there.pair(1, 2).angle_degrees)
