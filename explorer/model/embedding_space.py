"""The input-embedding matrix as a space: exact cosines, angles, neighbours and principal components.

Everything is computed on the matrix's own device, in float32 or better whatever the weights are
stored in, over the whole vocabulary; nothing is sampled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg
import torch

from explorer.core.records import PairReading, TokenCloud

Word = str | int
Neighbour = tuple[int, str, float]
Metric = Literal["cosine", "euclidean"]

_CHUNK_BYTES = 64 * 2**20
# Candidates beyond the asked-for number, ranked again in float64: float32 may swap near-ties.
_MARGIN = 16
_CLOUD_COMPONENTS = 3


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Exact principal components of the whole vocabulary.

    Attributes
    ----------
    coordinates : numpy.ndarray
        (V, components) float32: centred vectors along the axes.
    explained_variance_ratio : numpy.ndarray
        (components,) float64: share of the total variance.
    axes : numpy.ndarray
        (components, D) float64, orthonormal. Sign rule: each axis's entry of largest magnitude is
        positive.
    mean : numpy.ndarray
        (D,) float64: what was subtracted.
    """

    coordinates: npt.NDArray[np.float32]
    explained_variance_ratio: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]


class EmbeddingSpace:
    """A vocabulary's vectors and what can be measured among them.

    Parameters
    ----------
    matrix : torch.Tensor
        (V, D) in any floating dtype, on any device. Not copied.
    pieces : sequence of str
        (V,) piece of each row.
    special_ids : frozenset of int
        The tokenizer's special tokens.
    encode : callable
        Token IDs of a text without special tokens.

    Notes
    -----
    A word may be given as text or as a token ID. Text must be one token: as at the start of a word
    inside a sentence (``▁king``, ``Ġking``) if the tokenizer has it so, else as it stands, else as a
    literal piece.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        pieces: Sequence[str],
        special_ids: frozenset[int],
        encode: Callable[[str], Sequence[int]],
    ) -> None:
        self.matrix = matrix
        self.pieces = tuple(pieces)
        self.special_ids = special_ids
        self._encode = encode
        self._components: dict[int, PrincipalComponents] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(V, D): tokens and dimensions."""
        rows, dimensions = self.matrix.shape
        return int(rows), int(dimensions)

    # -- words ----------------------------------------------------------------------------------

    def token_id(self, word: Word) -> int:
        """The row of ``word``.

        Raises
        ------
        ValueError
            It is several tokens (the message lists them) or no row of the matrix.
        """
        if not isinstance(word, str):
            index = int(word)
            if not 0 <= index < self.shape[0]:
                raise ValueError(f"There is no token {index}: IDs go from 0 to {self.shape[0] - 1}.")
            return index
        forms = [list(self._encode(f" {word}")), list(self._encode(word))] if word.strip() else []
        for ids in forms:
            if len(ids) == 1:
                return ids[0]
        if word in self._ids_of_pieces:
            return self._ids_of_pieces[word]
        if not forms or not forms[-1]:
            raise ValueError(f"{word!r} is no token.")
        shown = " ".join(self.pieces[i] for i in forms[-1])
        raise ValueError(
            f"{word!r} is not one token but {len(forms[-1])}: {shown}. Compare its tokens one by one."
        )

    @cached_property
    def _ids_of_pieces(self) -> dict[str, int]:
        return {piece: index for index, piece in reversed(list(enumerate(self.pieces)))}

    def vector(self, word: Word) -> npt.NDArray[np.float64]:
        """(D,) float64: the row itself."""
        row: npt.NDArray[np.float64] = self.matrix[self.token_id(word)].double().cpu().numpy()
        return row

    # -- measures --------------------------------------------------------------------------------

    def cosine(self, first: Word, second: Word) -> float:
        """Cosine of two vectors in the full space, in float64. O(D).

        Raises
        ------
        ValueError
            A word is not one token, or its vector is zero and has no direction.
        """
        reading = self.pair(self.token_id(first), self.token_id(second))
        for token_id, norm in zip(reading.token_ids, reading.norms, strict=True):
            if norm == 0:
                raise ValueError(f"The vector of {self.pieces[token_id]!r} is zero: it has no direction.")
        return reading.cosine

    def angle(self, first: Word, second: Word) -> float:
        """Angle between two vectors in the full space, in degrees; see `cosine`."""
        return math.degrees(math.acos(self.cosine(first, second)))

    def pair(self, first: int, second: int) -> PairReading:
        """Compare two tokens in the full space, in float64. O(D)."""
        a, b = self.vector(first), self.vector(second)
        norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
        dot = float(a @ b)
        cosine = min(1.0, max(-1.0, dot / norm_a / norm_b)) if norm_a and norm_b else math.nan
        angle = math.nan if math.isnan(cosine) else math.degrees(math.acos(cosine))
        return PairReading(
            (first, second), cosine, angle, dot, float(np.linalg.norm(a - b)), (norm_a, norm_b)
        )

    @cached_property
    def norms(self) -> npt.NDArray[np.float32]:
        """(V,) float32 Euclidean lengths. O(V D) once; one chunk of extra memory."""
        norms: npt.NDArray[np.float32] = self._norms.cpu().numpy()
        return norms

    @cached_property
    def _norms(self) -> torch.Tensor:
        norms = torch.cat([torch.linalg.vector_norm(chunk, dim=1) for chunk in self._chunks()])
        bad = int((~torch.isfinite(norms)).sum())
        if bad:
            first = int((~torch.isfinite(norms)).nonzero()[0])
            raise ValueError(
                f"The embedding matrix holds NaN or infinite numbers in {bad} of {norms.numel()} rows "
                f"(first: token {first}): the checkpoint is damaged."
            )
        return norms

    def neighbours(self, word: Word, count: int = 10, metric: Metric = "cosine") -> list[Neighbour]:
        """The nearest tokens over the whole vocabulary, exact; the word itself is left out.

        Returns
        -------
        list of (token_id, piece, value)
            Nearest first; the value is the cosine, or for ``euclidean`` the distance.

        Notes
        -----
        O(V D) time: one pass over the matrix, which is not copied (half-precision weights pass
        through float32 in chunks of 64 MiB).
        """
        token_id = self.token_id(word)
        if metric not in ("cosine", "euclidean"):
            raise ValueError(f"The metric is cosine or euclidean, not {metric!r}.")
        return self._nearest(self.vector(token_id), {token_id}, count, metric)

    def analogy(self, plus: Sequence[Word], minus: Sequence[Word] = (), count: int = 10) -> list[Neighbour]:
        """Tokens nearest by cosine to the sum of ``plus`` less the sum of ``minus``; the inputs are left out.

        The arithmetic is on the raw vectors: ``king + woman - man``.
        """
        if not plus and not minus:
            raise ValueError("Give at least one word to add or to subtract.")
        added, taken = [self.token_id(word) for word in plus], [self.token_id(word) for word in minus]
        target = np.zeros(self.shape[1])
        for token_id in added:
            target += self.vector(token_id)
        for token_id in taken:
            target -= self.vector(token_id)
        return self._nearest(target, {*added, *taken}, count, "cosine")

    def _nearest(
        self, target: npt.NDArray[np.float64], exclude: set[int], count: int, metric: Metric
    ) -> list[Neighbour]:
        if not np.any(target) and metric == "cosine":
            raise ValueError("The vector is zero: it has no direction, so nothing is nearest to it.")
        query = torch.from_numpy(target).to(self.matrix.device, torch.float32)
        dots = torch.cat([chunk @ query for chunk in self._chunks()])  # (V,)
        norms = self._norms
        # Larger is nearer. Zero vectors have no direction: no cosine.
        score = (
            torch.where(norms > 0, dots / norms, -torch.inf) if metric == "cosine" else 2 * dots - norms**2
        )
        score[list(exclude)] = -torch.inf
        candidates = torch.topk(score, min(count + _MARGIN, score.numel())).indices
        candidates = candidates[torch.isfinite(score[candidates])]
        rows = self.matrix[candidates].double().cpu().numpy()
        if metric == "cosine":
            values = rows @ target / np.linalg.norm(rows, axis=1) / np.linalg.norm(target)
            order = np.argsort(-values, kind="stable")
        else:
            values = np.linalg.norm(rows - target, axis=1)
            order = np.argsort(values, kind="stable")
        ids = candidates.cpu().numpy()
        return [(int(ids[i]), self.pieces[int(ids[i])], float(values[i])) for i in order[:count]]

    # -- principal components -----------------------------------------------------------------------

    def pca(self, components: int = _CLOUD_COMPONENTS) -> PrincipalComponents:
        """Exact principal components of the whole vocabulary, computed on the matrix's device.

        The covariance is accumulated in float64 from centred chunks, its leading eigenvectors are
        found by Lanczos iteration to machine precision (ARPACK), and the matrix is projected in
        chunks: O(V D²) time, two chunks of 64 MiB and two D x D float64 matrices of extra memory.

        Raises
        ------
        ValueError
            ``components`` is below 1 or beyond min(V, D), or the matrix holds NaN.
        """
        rows, dimensions = self.shape
        if not 1 <= components <= min(rows, dimensions):
            raise ValueError(
                f"There are {min(rows, dimensions)} principal components of {rows} vectors of {dimensions} "
                f"dimensions, not {components}."
            )
        if components not in self._components:
            self._components[components] = self._compute_pca(components)
        return self._components[components]

    def _compute_pca(self, components: int) -> PrincipalComponents:
        rows, dimensions = self.shape
        _ = self._norms  # says so when the matrix holds NaN
        device = self.matrix.device
        wide = torch.float64 if device.type != "mps" else torch.float32
        total = torch.zeros(dimensions, dtype=wide, device=device)
        for chunk in self._chunks():
            total += chunk.sum(dim=0, dtype=wide)
        mean = total / rows
        gram = torch.zeros(dimensions, dimensions, dtype=wide, device=device)
        for chunk in self._chunks():
            centred = chunk - mean.to(chunk.dtype)
            gram += (centred.T @ centred).to(wide)
        covariance = gram.double().cpu().numpy() / max(1, rows - 1)
        variances, axes = _leading_eigenpairs(covariance, components)
        projection = torch.from_numpy(axes.T).to(device, torch.float32)
        centre = mean.float()
        coordinates = torch.cat([(chunk - centre) @ projection for chunk in self._chunks()]).cpu().numpy()
        trace = float(np.trace(covariance))
        ratio = variances / trace if trace > 0 else np.zeros(components)
        return PrincipalComponents(coordinates, ratio, axes, mean.double().cpu().numpy())

    def project(self, vectors: npt.ArrayLike, components: int = _CLOUD_COMPONENTS) -> npt.NDArray[np.float64]:
        """Coordinates (n, components) of any vectors (n, D) in the vocabulary's principal axes."""
        pca = self.pca(components)
        projected: npt.NDArray[np.float64] = (np.asarray(vectors, dtype=np.float64) - pca.mean) @ pca.axes.T
        return projected

    def cloud(self, components: int = _CLOUD_COMPONENTS) -> TokenCloud:
        """The whole vocabulary as the window shows it; missing axes of a tiny space are filled with zeros."""
        started = time.perf_counter()
        pca = self.pca(min(components, *self.shape))
        missing = components - pca.axes.shape[0]
        return TokenCloud(
            pieces=self.pieces,
            special_ids=self.special_ids,
            coordinates=np.pad(pca.coordinates, ((0, 0), (0, missing))),
            explained_variance_ratio=np.pad(pca.explained_variance_ratio, (0, missing)),
            norms=self.norms,
            origin=np.pad(-(pca.axes @ pca.mean), (0, missing)).astype(np.float32),
            dimensions=self.shape[1],
            seconds=time.perf_counter() - started,
        )

    def _chunks(self) -> Iterator[torch.Tensor]:
        """The matrix in float32, some rows at a time; float32 weights are views, not copies."""
        step = max(1, _CHUNK_BYTES // (4 * self.shape[1]))
        for start in range(0, self.shape[0], step):
            yield self.matrix[start : start + step].float()


def _leading_eigenpairs(
    covariance: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Largest eigenvalues (count,) and their vectors (count, D), sign fixed, largest first."""
    size = covariance.shape[0]
    if size <= 128 or 4 * count >= size:
        values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[size - count, size - 1])
    else:
        # A fixed start, so that the same matrix always gives the same picture.
        start = np.random.default_rng(0).normal(size=size)
        values, vectors = scipy.sparse.linalg.eigsh(covariance, k=count, which="LA", v0=start)
    order = np.argsort(values)[::-1]
    axes = vectors[:, order].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(count), largest])
    return np.maximum(values[order], 0.0), np.ascontiguousarray(
        axes * np.where(signs == 0, 1.0, signs)[:, None]
    )
