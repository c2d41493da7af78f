"""The input-embedding matrix as a space: exact components, neighbours and analogies on its device."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from explorer.core import geometry
from explorer.core.geometry import PrincipalComponents
from explorer.core.records import PairReading, TokenCloud
from explorer.core.token_kinds import token_kinds
from explorer.core.vectors import Arithmetic, Neighbourhood, VectorMode, parse_sum

Metric = Literal["cosine", "euclidean"]
Word = str | int
Neighbour = tuple[int, str, float]

# Rows are converted and multiplied in pieces of this size: large enough for BLAS, small beside any matrix.
CHUNK_BYTES = 64 * 2**20
# A smaller matrix is read sooner than threads are started.
PARALLEL_BYTES = 64 * 2**20
# The view lets a person choose among so many axes.
CLOUD_COMPONENTS = 10
# Below this width LAPACK finds the leading eigenvectors faster than Lanczos steps do.
LAPACK_WIDTH = 1024
# A mean that holds more of the sum of squares than this is taken off before squaring, not after.
LARGE_MEAN = 0.9
# Candidates beyond the wanted ones that are ranked again in float64, so that rounding decides nothing.
MARGIN = 64
# Marks that tokenizers put in front of a piece: a word's start (SentencePiece, byte-level BPE, RoBERTa) or,
# for WordPiece, its continuation.
WORD_MARKS = ("▁", "Ġ", "##")


class EmbeddingError(ValueError):
    """A word or a matrix that cannot be used; the message is one sentence for a person."""


class EmbeddingSpace:
    """A vocabulary's vectors, on the device that they are on, in the numbers that they have.

    Words are resolved to the one token that the tokenizer makes of them inside a sentence: the form with
    a word-start mark (``▁king``, ``Ġking``) is preferred, then the word as it stands. A piece with its
    mark (``▁king``, ``##ing``) or a special token means itself. A token id always means its row.

    bfloat16 and float16 are computed in float32, sums and angles in float64. Nothing here copies the
    matrix: whatever needs other numbers converts one chunk of `CHUNK_BYTES` at a time.

    Parameters
    ----------
    matrix : torch.Tensor
        (V, D), any float dtype, on any device.
    pieces : sequence of str
        (V,) piece of each token id.
    special_ids : frozenset of int
        The tokenizer's special tokens.
    encode : callable
        Token ids of a text without special tokens.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        pieces: Sequence[str],
        special_ids: frozenset[int],
        encode: Callable[[str], Sequence[int]],
    ) -> None:
        if matrix.dim() != 2 or 0 in matrix.shape:
            raise EmbeddingError(f"An embedding matrix has rows and columns; this has {tuple(matrix.shape)}.")
        if len(pieces) != matrix.shape[0]:
            raise EmbeddingError(f"There are {len(pieces)} pieces for {matrix.shape[0]} embedding rows.")
        self.matrix = matrix.detach()
        self.pieces = tuple(pieces)
        self.special_ids = special_ids
        self._encode = encode
        self._pca: PrincipalComponents | None = None

    @property
    def size(self) -> int:
        """Rows: tokens of the vocabulary."""
        return int(self.matrix.shape[0])

    @property
    def dimensions(self) -> int:
        """Columns: dimensions of the full space."""
        return int(self.matrix.shape[1])

    # -- words ------------------------------------------------------------------------------------

    def token_id(self, word: Word) -> int:
        """The row that a word or token id stands for.

        Raises
        ------
        EmbeddingError
            A word of several tokens (the message lists their pieces), an unknown word, or an id out of
            range.
        """
        if isinstance(word, str):
            return self._id_of_word(word)
        try:
            token_id = operator.index(word)
        except TypeError:
            raise EmbeddingError(f"A word or a token id is needed, not {word!r}.") from None
        if not 0 <= token_id < self.size:
            raise EmbeddingError(f"There is no token id {word}: the vocabulary has {self.size} tokens.")
        return token_id

    def vector(self, word: Word) -> npt.NDArray[np.float64]:
        """(D,) float64 vector of a word or token id."""
        return np.asarray(self._rows([self.token_id(word)])[0])

    # -- two tokens -------------------------------------------------------------------------------

    def cosine(self, first: Word, second: Word) -> float:
        """Cosine of two tokens in the full space; NaN where a vector is zero."""
        return geometry.cosine(self.vector(first), self.vector(second))

    def angle(self, first: Word, second: Word) -> float:
        """Angle of two tokens in the full space, in degrees; NaN where a vector is zero."""
        return geometry.angle_degrees(self.vector(first), self.vector(second))

    def pair(self, first: Word, second: Word, mode: VectorMode = "raw") -> PairReading:
        """Everything that the angle tool shows of two tokens, computed in float64.

        ``centred`` takes the vocabulary's mean off both vectors first; ``normalised`` makes both of
        length 1, which leaves the angle as it is.
        """
        ids = (self.token_id(first), self.token_id(second))
        a, b = self._rows(list(ids))
        if mode == "centred":
            a, b = a - self.mean, b - self.mean
        lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
        if mode == "normalised" and min(lengths) > 0.0:
            a, b, lengths = a / lengths[0], b / lengths[1], (1.0, 1.0)
        return PairReading(
            token_ids=ids,
            cosine=geometry.cosine(a, b),
            angle_degrees=geometry.angle_degrees(a, b),
            dot=float(a @ b),
            distance=float(np.linalg.norm(a - b)),
            norms=lengths,
        )

    def cosine_matrix(self, words: Sequence[Word]) -> npt.NDArray[np.float64]:
        """(n, n) float64 cosines of every word with every other; NaN where a vector is zero."""
        rows = self._rows([self.token_id(word) for word in words])
        lengths = np.linalg.norm(rows, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = rows / lengths[:, None]
        return np.asarray(np.clip(unit @ unit.T, -1.0, 1.0))

    # -- the whole vocabulary ---------------------------------------------------------------------

    @cached_property
    def norms(self) -> npt.NDArray[np.float32]:
        """(V,) float32 Euclidean lengths; one pass over the matrix, kept."""
        return np.concatenate([chunk.norm(dim=1).cpu().numpy() for _, chunk in self._chunks()])

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        """(D,) float64 mean of all rows; one pass over the matrix, kept."""
        return np.asarray(self._mean().cpu().numpy())

    def cosines(self, vector: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(V,) float32 cosine of every token with a (D,) vector; NaN for zero vectors. O(V D)."""
        query = np.asarray(vector, dtype=np.float64)
        length = float(np.linalg.norm(query))
        if length == 0.0:
            return np.full(self.size, np.nan, dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.clip(self._products(query / length) / self.norms, -1.0, 1.0))

    def neighbours(self, word: Word, count: int = 10, metric: Metric = "cosine") -> list[Neighbour]:
        """Nearest tokens, exact over the whole vocabulary; the token itself is left out.

        Streams over the matrix once, O(V D), with no copy of it. The best are ranked again in float64;
        equal ones come in order of their ids.

        Parameters
        ----------
        word : str or int
            A word or a token id.
        count : int
            How many.
        metric : str
            ``cosine``, or ``euclidean`` for distances.

        Returns
        -------
        list of (token_id, piece, value)
            The value is the cosine, largest first; for ``euclidean`` the distance, smallest first.
        """
        if metric not in ("cosine", "euclidean"):
            raise EmbeddingError(f"There is no metric called {metric!r}; use cosine or euclidean.")
        token_id = self.token_id(word)
        return self._nearest(self.vector(token_id), count, frozenset({token_id}), metric)

    def analogy(
        self, positive: Sequence[Word], negative: Sequence[Word] = (), count: int = 10
    ) -> list[Neighbour]:
        """Tokens nearest by cosine to a sum of vectors, e.g. king + woman - man; the inputs are left out.

        The vectors are added as the model holds them, not normalised first. See `neighbours` for cost,
        order and what is returned.
        """
        plus, minus = [self.token_id(word) for word in positive], [self.token_id(word) for word in negative]
        if not plus and not minus:
            raise EmbeddingError("An analogy needs at least one word.")
        target = self._rows(plus).sum(axis=0) - self._rows(minus).sum(axis=0)
        return self._nearest(target, count, frozenset(plus + minus), "cosine")

    def neighbourhood(self, word: Word, count: int = 12) -> Neighbourhood:
        """What the window shows around one token: both kinds of neighbours, and all cosines."""
        token_id = self.token_id(word)
        vector = self.vector(token_id)
        has_direction = bool(vector.any())
        near = self.neighbours(token_id, count) if has_direction else []
        far = self.neighbours(token_id, count, "euclidean")
        return Neighbourhood(
            token_id,
            tuple((i, value) for i, _, value in near),
            tuple((i, value) for i, _, value in far),
            self.cosines(vector),
        )

    def arithmetic(self, expression: str, count: int = 12) -> Arithmetic:
        """What the window shows of e.g. ``king - man + woman``.

        Raises
        ------
        ValueError
            The expression cannot be read, or holds a word that is no single token; the message says why.
        """
        positive, negative = parse_sum(expression)
        plus = tuple(self.token_id(word) for word in positive)
        minus = tuple(self.token_id(word) for word in negative)
        total = self._rows(list(plus)).sum(axis=0) - self._rows(list(minus)).sum(axis=0)
        length = float(np.linalg.norm(total))
        nearest = self._nearest(total, count, frozenset(plus + minus), "cosine")
        pca = self.pca(min(CLOUD_COMPONENTS, self.size, self.dimensions))
        center = float(self.mean @ total) / length
        along = self._products(total / length) - np.float32(center)
        everything = pca.explained_variance[0] / max(pca.explained_variance_ratio[0], 1e-300)
        share = float(along.var(dtype=np.float64, ddof=1 if self.size > 1 else 0)) / everything
        return Arithmetic(
            expression.strip(),
            plus,
            minus,
            tuple((i, value) for i, _, value in nearest),
            pca.project(total)[0],
            np.asarray(along, dtype=np.float32),
            -center,
            share if np.isfinite(share) else 0.0,
        )

    def pca(self, components: int = 3) -> PrincipalComponents:
        """Exact principal components of the whole vocabulary, on the matrix's device.

        The mean is taken in float64; X'X of the centred rows is taken chunk by chunk in float32 and
        summed in float64; then the leading eigenvectors. Memory: one chunk and three D x D squares
        beside the matrix. Sign rule: the entry of largest magnitude of each axis is positive.

        Raises
        ------
        EmbeddingError
            More components than min(V, D), or entries of the matrix that are not finite.
        """
        limit = min(self.size, self.dimensions)
        if not 1 <= components <= limit:
            raise EmbeddingError(
                f"There are 1 to {limit} principal components of {self.size} vectors of "
                f"{self.dimensions} dimensions; {components} were asked for."
            )
        known = self._pca
        if known is None or len(known.components) < components:
            # A few more cost nothing, and another choice of axes is then there at once.
            known = self._pca = self._compute_pca(min(limit, max(components, CLOUD_COMPONENTS)))
        if len(known.components) == components:
            return known
        return PrincipalComponents(
            known.coordinates[:, :components],
            known.components[:components],
            known.mean,
            known.explained_variance[:components],
            known.explained_variance_ratio[:components],
        )

    def project(self, vectors: Any, components: int = 3) -> npt.NDArray[np.float32]:
        """Coordinates (n, components) of any (n, D) vectors, arrays or tensors, in the vocabulary's axes."""
        if isinstance(vectors, torch.Tensor):
            vectors = vectors.detach().to("cpu", torch.float64).numpy()
        return self.pca(components).project(vectors)

    def cloud(self) -> TokenCloud:
        """The whole vocabulary as the window draws it, in up to `CLOUD_COMPONENTS` axes."""
        started = time.perf_counter()
        pca = self.pca(min(CLOUD_COMPONENTS, self.size, self.dimensions))
        return TokenCloud(
            pieces=self.pieces,
            special_ids=self.special_ids,
            coordinates=pca.coordinates,
            explained_variance_ratio=pca.explained_variance_ratio,
            norms=self.norms,
            origin=pca.origin,
            dimensions=self.dimensions,
            seconds=time.perf_counter() - started,
            kinds=token_kinds(self.pieces, self.special_ids),
        )

    # -- inside -----------------------------------------------------------------------------------

    def _id_of_word(self, word: str) -> int:
        if word.startswith(WORD_MARKS) and word in self._id_of_piece:
            return self._id_of_piece[word]
        for text in (f" {word}", word):
            ids = list(self._encode(text)) if word.strip() else []
            # An unknown word may come out as one token, which is the tokenizer's word for "unknown".
            if len(ids) == 1 and (ids[0] not in self.special_ids or self.pieces[ids[0]] == word):
                return int(ids[0])
        if word in self._id_of_piece:
            return self._id_of_piece[word]
        ids = list(self._encode(word)) if word.strip() else []
        if len(ids) > 1:
            pieces = " ".join(self.pieces[i] for i in ids)
            raise EmbeddingError(f"{word!r} is {len(ids)} tokens ({pieces}), not one; give one of them.")
        raise EmbeddingError(f"{word!r} is not in the vocabulary.")

    @cached_property
    def _id_of_piece(self) -> dict[str, int]:
        # Backwards, so that of two equal pieces the lower id wins.
        return {piece: i for i, piece in reversed(list(enumerate(self.pieces)))}

    def _rows(self, ids: list[int]) -> npt.NDArray[np.float64]:
        rows = self.matrix[torch.as_tensor(ids, dtype=torch.long, device=self.matrix.device)]
        return rows.to("cpu").to(torch.float64).numpy()

    def _chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, rows in float32 or the matrix's own float64), in order."""
        rows = max(1, CHUNK_BYTES // (4 * self.dimensions))
        for start in range(0, self.size, rows):
            chunk = self.matrix[start : start + rows]
            yield start, chunk if chunk.dtype in (torch.float32, torch.float64) else chunk.float()

    def _products(self, query: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """(V,) float32 dot product of every row with a (D,) query."""
        dtype = torch.float64 if self.matrix.dtype == torch.float64 else torch.float32
        vector = torch.from_numpy(query).to(dtype).to(self.matrix.device)
        with _full_precision():
            if self.matrix.dtype == dtype:
                return _row_products(self.matrix, vector).float().cpu().numpy()
            return np.concatenate([(chunk @ vector).cpu().numpy() for _, chunk in self._chunks()])

    def _check_finite(self) -> None:
        bad = np.flatnonzero(~np.isfinite(self.norms))
        if bad.size:
            first = int(bad[0])
            raise EmbeddingError(
                f"The embedding matrix holds numbers that are not finite in {bad.size} of {self.size} rows "
                f"(first: token {first}, {self.pieces[first]!r}): the checkpoint is damaged."
            )

    def _nearest(
        self, query: npt.NDArray[np.float64], count: int, left_out: frozenset[int], metric: Metric
    ) -> list[Neighbour]:
        self._check_finite()
        length = float(np.linalg.norm(query))
        if metric == "cosine" and length == 0.0:
            raise EmbeddingError("The zero vector has no direction, so that it has no nearest by cosine.")
        # By distance: |x - q|² less the constant |q|², which changes no order.
        scores = self.cosines(query) if metric == "cosine" else 2.0 * self._products(query) - self.norms**2
        scores = np.where(np.isnan(scores), -np.inf, scores)
        scores[list(left_out)] = -np.inf
        wanted = min(max(count, 0), int(np.isfinite(scores).sum()))
        if wanted == 0:
            return []
        best = self._candidates(scores, wanted)
        rows = self._rows(best.tolist())
        if metric == "cosine":
            exact = np.clip(rows @ query / (np.linalg.norm(rows, axis=1) * length), -1.0, 1.0)
            order = np.lexsort((best, -exact))
        else:
            exact = np.linalg.norm(rows - query, axis=1)
            order = np.lexsort((best, exact))
        return [(int(best[i]), self.pieces[best[i]], float(exact[i])) for i in order[:wanted]]

    @staticmethod
    def _candidates(scores: npt.NDArray[np.float32], wanted: int) -> npt.NDArray[np.intp]:
        """The best few and all that rounding could have kept from them. O(V)."""
        take = min(len(scores), wanted + MARGIN)
        bound = np.partition(scores, len(scores) - take)[len(scores) - take]
        return np.flatnonzero(scores >= max(bound, np.finfo(np.float32).min))

    def _compute_pca(self, components: int) -> PrincipalComponents:
        with _full_precision():
            mean = self._mean()
            if not bool(torch.isfinite(mean).all()):
                self._check_finite()
            scatter = self._scatter(mean)
            variances, axes = _leading(scatter, components)
            total = float(torch.trace(scatter))
            coordinates = self._coordinates(mean, axes)
        freedom = max(1, self.size - 1)
        ratio = variances / total if total > 0.0 else np.zeros(components)
        return PrincipalComponents(coordinates, axes, mean.cpu().numpy(), variances / freedom, ratio)

    @property
    def _accumulator(self) -> torch.device:
        # Apple's GPUs have no float64.
        return torch.device("cpu") if self.matrix.device.type == "mps" else self.matrix.device

    def _mean(self) -> torch.Tensor:
        total = torch.zeros(self.dimensions, dtype=torch.float64, device=self._accumulator)
        for _, chunk in self._chunks():
            total += chunk.sum(dim=0).to(total.device).double()
        return total / self.size

    def _scatter(self, mean: torch.Tensor) -> torch.Tensor:
        """(D, D) float64 sum of outer products of the centred rows.

        X'X less the mean's share; float32 rows on the CPU are read in place for it, with no copy at all.
        Where the mean outweighs the rest that would lose digits: it is then taken off the rows first.
        """
        squares = self._squares(None)
        share = self.size * torch.outer(mean, mean)
        if float(torch.trace(share)) > LARGE_MEAN * float(torch.trace(squares)):
            return self._squares(mean)
        return squares - share

    def _squares(self, mean: torch.Tensor | None) -> torch.Tensor:
        """(D, D) float64 X'X of the rows, less ``mean`` where one is given."""
        total = torch.zeros((self.dimensions,) * 2, dtype=torch.float64, device=self._accumulator)
        # numpy's BLAS has one thread here, but it does half of the work.
        half = self.matrix.device.type == "cpu" and torch.get_num_threads() <= 2
        for _, chunk in self._chunks():
            rows = chunk if mean is None else chunk - mean.to(chunk.dtype).to(chunk.device)
            total += _lower_square(rows) if half else (rows.T @ rows).to(total.device)
        return total.tril() + total.tril(-1).T if half else total

    def _coordinates(self, mean: torch.Tensor, axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        directions = torch.from_numpy(axes.T.copy())
        offset = (mean.cpu() @ directions).numpy()
        coordinates = np.empty((self.size, len(axes)), dtype=np.float32)
        for start, chunk in self._chunks():
            placed = chunk @ directions.to(chunk.dtype).to(chunk.device)
            coordinates[start : start + len(chunk)] = placed.cpu().numpy() - offset
        return coordinates


def _row_products(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """(V,) products of every row with one vector; no copy of the matrix.

    A large matrix on the CPU is shared out by rows among as many threads as there are cores: all the
    time goes into reading it from memory, which one core cannot do at the speed that memory has.
    """
    threads = os.cpu_count() or 1
    if matrix.device.type != "cpu" or matrix.nbytes < PARALLEL_BYTES or threads == 1:
        return matrix @ vector
    share = -(-matrix.shape[0] // threads)
    starts = range(0, matrix.shape[0], share)
    with ThreadPoolExecutor(threads) as pool:
        return torch.cat(list(pool.map(lambda start: matrix[start : start + share] @ vector, starts)))


def _lower_square(rows: torch.Tensor) -> torch.Tensor:
    """(D, D) X'X of (n, D) rows on the CPU; only the lower triangle is filled."""
    from scipy.linalg import blas

    syrk = blas.dsyrk if rows.dtype == torch.float64 else blas.ssyrk
    # The transposed view is the order that BLAS wants, uncopied.
    return torch.from_numpy(syrk(1.0, rows.contiguous().numpy().T, lower=1))


def _leading(
    scatter: torch.Tensor, components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Largest eigenvalues (k,) and their unit eigenvectors (k, D) of a symmetric float64 matrix."""
    from scipy.linalg import eigh

    width = scatter.shape[0]
    if scatter.device.type == "cuda":
        values, vectors = (result.cpu().numpy() for result in torch.linalg.eigh(scatter))
    elif width <= LAPACK_WIDTH:
        values, vectors = eigh(scatter.numpy(), subset_by_index=(width - components, width - 1))
    else:
        values, vectors = _lanczos(scatter.numpy(), components)
    order = np.argsort(values)[::-1][:components]
    axes = np.ascontiguousarray(vectors[:, order].T)
    strongest = axes[np.arange(components), np.abs(axes).argmax(axis=1)]
    axes *= np.where(strongest < 0.0, -1.0, 1.0)[:, None]
    return np.maximum(values[order], 0.0), axes


def _lanczos(
    scatter: npt.NDArray[np.float64], components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    from scipy.linalg import eigh
    from scipy.sparse.linalg import ArpackError, eigsh

    width = len(scatter)
    # A fixed start makes the result the same each time.
    start = np.random.default_rng(0).standard_normal(width)
    try:
        values, vectors = eigsh(scatter, k=components, which="LA", v0=start, ncv=4 * components, tol=0.0)
    except ArpackError:
        # No convergence, e.g. of a scatter that is all zeros.
        values, vectors = eigh(scatter, subset_by_index=(width - components, width - 1))
    return values, vectors


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TensorFloat-32 products inside: they keep ten bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
