"""Exact components and neighbours of a whole vocabulary, and picking among its points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from explorer.benchmarks.figures import Agreement, Figure, Plan, Target
from explorer.benchmarks.timing import clocked, compared, in_turn
from explorer.core import picking
from explorer.core.geometry import Camera, PrincipalComponents
from explorer.model.embedding_space import EmbeddingSpace, Neighbour

SMALL, LARGE = (32_000, 512), (128_000, 2_048)
POINTS = 262_144
PICTURE = (1200, 800)
PICK_PIXELS = 7.0
COMPONENTS = 3
NEIGHBOURS = 10


def measure(plan: Plan) -> Iterator[Figure]:
    """Components and neighbours at one size after another, then picking."""
    for shape in (SMALL,) if plan.quick else (SMALL, LARGE):
        matrix = made_up_matrix(*shape)
        for device in plan.devices:
            on_device = matrix.to(device)
            yield _components(plan, matrix, on_device)
            yield from _neighbours(plan, matrix, on_device)
            del on_device
    yield from _picking(plan)


def made_up_matrix(rows: int, columns: int) -> torch.Tensor:
    """(rows, columns) float32 with a mean and a falling spectrum, as embeddings have."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(rows, columns, generator=generator)
    matrix *= (1.0 + torch.arange(columns)) ** -0.3
    matrix += 0.1 * torch.randn(columns, generator=generator)
    return matrix


def space_of(matrix: torch.Tensor) -> EmbeddingSpace:
    """A space that remembers nothing yet."""
    return EmbeddingSpace(matrix, [""] * len(matrix), frozenset(), lambda text: [])


def _size(shape: torch.Size) -> str:
    return " x ".join(f"{side:,}" for side in shape)


def _components(plan: Plan, matrix: torch.Tensor, on_device: torch.Tensor) -> Figure:
    host = matrix.numpy()
    sides: dict[str, Any] = {"explorer": lambda: space_of(on_device).pca(COMPONENTS)}
    slow_too = matrix.shape == SMALL and not plan.quick
    for solver in ("covariance_eigh", "full") if slow_too else ("covariance_eigh",):
        sides[f"scikit-learn {solver}"] = partial(_by_scikit_learn, host, solver, plan.threads)
    timed = in_turn(sides, 3)
    others, ratios = compared(timed, "explorer")
    exact: PrincipalComponents = timed["explorer"].result
    return Figure(
        "embedding",
        f"exact PCA, {_size(matrix.shape)}",
        str(on_device.device),
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(1.0, min(others, key=lambda name: others[name])),
        agreements=(
            Agreement(
                "variances (relative) and subspace (sine of the largest angle) with scikit-learn",
                max(_distance(exact, timed[name].result) for name in others),
                1e-4 if matrix.shape == SMALL else 1e-3,
            ),
        ),
    )


def _by_scikit_learn(matrix: npt.NDArray[np.float32], solver: str, threads: int) -> Any:
    from sklearn.decomposition import PCA

    with threadpool_limits(threads):
        pca = PCA(COMPONENTS, svd_solver=solver)
        pca.fit_transform(matrix)
    return pca


def _distance(exact: PrincipalComponents, other: Any) -> float:
    variances = np.abs(exact.explained_variance / other.explained_variance_ - 1.0).max()
    # What is left of our axes after projecting onto theirs, which is exact for small angles too.
    theirs = np.linalg.qr(other.components_.astype(np.float64).T)[0]
    left_over = exact.components - (exact.components @ theirs) @ theirs.T
    return float(max(variances, np.linalg.norm(left_over, ord=2)))


def _neighbours(plan: Plan, matrix: torch.Tensor, on_device: torch.Tensor) -> Iterator[Figure]:
    tokens = itertools.cycle(range(17, len(matrix), len(matrix) // 11))
    space = space_of(on_device)
    first, _ = clocked(lambda: space.neighbours(next(tokens), NEIGHBOURS))
    timed = in_turn(
        {
            "explorer": lambda: space.neighbours(23, NEIGHBOURS),
            "scikit-learn cosine_similarity": partial(
                _by_cosine_similarity, matrix.numpy(), 23, plan.threads
            ),
        },
        plan.rounds,
    )
    others, ratios = compared(timed, "explorer")
    found: list[Neighbour] = timed["explorer"].result
    name = f"neighbours of one token, {_size(matrix.shape)}"
    yield Figure("embedding", f"{name}, the first time", str(on_device.device), first)
    yield Figure(
        "embedding",
        f"{name}, later",
        str(on_device.device),
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(50.0),
        agreements=(
            Agreement(
                "token IDs with a float64 search in numpy (how many differ)",
                float(sum(a[0] != b for a, b in zip(found, _by_float64(matrix.numpy(), 23), strict=True))),
            ),
        ),
    )


def _by_cosine_similarity(matrix: npt.NDArray[np.float32], token: int, threads: int) -> list[int]:
    from sklearn.metrics.pairwise import cosine_similarity

    with threadpool_limits(threads):
        cosines = cosine_similarity(matrix[token : token + 1], matrix)[0]
    best = np.argpartition(-cosines, NEIGHBOURS)[: NEIGHBOURS + 1]
    return [int(i) for i in best[np.argsort(-cosines[best])] if i != token]


def _by_float64(matrix: npt.NDArray[np.float32], token: int) -> list[int]:
    query = matrix[token].astype(np.float64)
    cosines = np.empty(len(matrix))
    for start in range(0, len(matrix), 8192):
        rows = matrix[start : start + 8192].astype(np.float64)
        cosines[start : start + 8192] = rows @ query / np.linalg.norm(rows, axis=1)
    cosines[token] = -np.inf
    return [int(i) for i in np.argsort(-cosines, kind="stable")[:NEIGHBOURS]]


def _picking(plan: Plan) -> Iterator[Figure]:
    rng = np.random.default_rng(0)
    points = rng.normal(0.0, 0.8, (3, POINTS)).astype(np.float32)
    places = rng.uniform((0, 0), PICTURE, (40, 2))
    camera = Camera()
    times: dict[str, list[float]] = {"after the camera moved": [], "camera at rest": []}
    worst = 0.0
    for x, y in places:
        elapsed, projected = clocked(partial(camera.project, points, *PICTURE))
        again, hit = clocked(partial(picking.nearest, projected, x, y, PICK_PIXELS))
        times["after the camera moved"].append(elapsed + again)
        times["camera at rest"].append(again)
        worst = max(worst, _pick_error(projected, x, y, hit))
    for when, taken in times.items():
        yield Figure(
            "embedding",
            f"picking among {POINTS:,} points, {when}",
            "cpu",
            float(np.median(taken)),
            target=Target(8.0),
            agreements=(
                Agreement(
                    "distance to the pointer with that of the nearest of all (pixels)",
                    worst,
                    picking.TIE_PIXELS,
                ),
            ),
        )


def _pick_error(projected: npt.NDArray[np.float32], x: float, y: float, hit: int | None) -> float:
    distances = np.hypot(projected[0].astype(np.float64) - x, projected[1].astype(np.float64) - y)
    nearest = float(np.nanmin(distances))
    if hit is None:
        return 0.0 if nearest > PICK_PIXELS - 1e-3 else float("nan")
    return float(distances[hit]) - nearest
