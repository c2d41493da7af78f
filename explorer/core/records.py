"""What crosses from the model to the window: frozen values, numpy arrays, no tensors.

Everything that a panel shows is made of these. Arrays in them are not written to after they are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from explorer.core.branches import EMPTY, ROOT, Node, RunTree
from explorer.core.head_measures import Measure, PerHead
from explorer.core.languages import NO_LANGUAGES, LanguagePair
from explorer.core.own_settings import NO_OWN_SETTINGS, OwnSettings
from explorer.core.penalties import apply_penalties, banned_by_ngrams
from explorer.core.recently_used import RecentlyUsed
from explorer.core.sampling import KEPT_BYTES, Distribution, RankedLogits, SamplingParams
from explorer.core.selection import AttentionKind, AttentionSummary, HeadRef, Place, TokenRef
from explorer.core.tokens import Token, TokenizedText

# More heads than these are counted in a title, not named.
_MOST_NAMED = 6
# All steps of a run of 1,000 at 8,000 tokens, or 42 at 262,144.
RANKINGS_BYTES = 256 * 2**20

Family = Literal["encoder-decoder", "decoder-only", "encoder-only"]
Choice = Literal["greedy", "sampled", "forced", "beam"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded checkpoint, in facts.

    Attributes
    ----------
    name : str
        As it was asked for: a bundled name, a hub id, or the folder's name.
    source : str
        Folder or hub id that it was loaded from.
    family, architecture : str
        E.g. ``encoder-decoder`` and ``MarianMTModel``.
    device, dtype : str
        Where the weights are and in what numbers, e.g. ``cuda:0`` and ``bfloat16``.
    parameter_count, resident_bytes : int
        Weights and buffers, shared ones counted once.
    vocabulary_size : int
        Rows of the input-embedding matrix.
    hidden_size : int
        Width of the embeddings.
    layers, heads, key_heads : dict
        By attention kind, for the kinds that the model has; there are fewer key heads than heads where
        queries share them (grouped-query attention).
    context_length : int or None
        Most source tokens that the model reads; None where the architecture sets no limit.
    mapless : tuple of AttentionKind
        Kinds without weights between every two tokens, of which there are no maps.
    weights_only : bool
        Whether maps are all that can be read of attention, and not how a weight came about.
    notes : tuple of str
        What a person should know of how it was loaded, one sentence each.
    placement : dict
        Bytes of weights and buffers by device; more than one entry where the layers are spread.
    own_settings : OwnSettings
        What its own generation settings say.
    bundled : bool
        Whether it comes with the program, and is opened by its name alone.
    languages : tuple of str
        Codes of the languages that it reads and writes, as its tokenizer has them; empty for a model
        that is not told any.
    own_languages : LanguagePair
        What the checkpoint itself sets of them.
    """

    name: str
    source: str
    family: Family
    architecture: str
    device: str
    dtype: str
    parameter_count: int
    resident_bytes: int
    vocabulary_size: int
    hidden_size: int
    layers: dict[AttentionKind, int]
    heads: dict[AttentionKind, int]
    context_length: int | None
    notes: tuple[str, ...] = ()
    key_heads: dict[AttentionKind, int] = field(default_factory=dict)
    placement: dict[str, int] = field(default_factory=dict)
    mapless: tuple[AttentionKind, ...] = ()
    weights_only: bool = False
    own_settings: OwnSettings = NO_OWN_SETTINGS
    bundled: bool = False
    languages: tuple[str, ...] = ()
    own_languages: LanguagePair = NO_LANGUAGES

    @property
    def attention_kinds(self) -> tuple[AttentionKind, ...]:
        """Kinds of attention that can be drawn, encoder first."""
        return tuple(kind for kind in self.layers if kind not in self.mapless)


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One decoder step: what the model said, and what was chosen.

    Attributes
    ----------
    index : int
        Step number, from 0.
    token : Token
        The token that was chosen.
    logits : numpy.ndarray
        (V,) float32, raw, as the model's head gave them.
    scores : numpy.ndarray
        The same after the checkpoint's own rules (banned words, forced tokens, penalties); the very
        same array where no rule changed anything.
    previous_ids : numpy.ndarray
        (t,) int64; what stood before this step on the decoder's side.
    params : SamplingParams
        The settings that the token was chosen under.
    forced : bool
        True when a person, not the distribution, chose it.
    seconds : float
        Wall time of the step's forward pass.
    beam : bool
        True when a beam search took it; `scores`, where a rule changed them, are then log-probabilities.

    Notes
    -----
    4 to 8 bytes per vocabulary entry. Rankings, 24 bytes per entry, are kept for the steps that were
    looked at last, up to `RANKINGS_BYTES` in all, and made again for others.
    """

    index: int
    token: Token
    logits: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    previous_ids: npt.NDArray[np.int64]
    params: SamplingParams
    forced: bool
    seconds: float
    beam: bool = False

    @property
    def choice(self) -> Choice:
        """How the token was chosen."""
        if self.forced:
            return "forced"
        if self.beam:
            return "beam"
        return "greedy" if self.params.greedy else "sampled"

    @property
    def ranked(self) -> RankedLogits:
        """`scores`, ranked; O(V log V) when it is not among the last ones used."""
        return _RANKINGS.get(self, (), self._ranking_bytes, lambda: _rank(self))

    @property
    def ranked_logits(self) -> RankedLogits:
        """`logits`, ranked: `ranked` itself where no rule changed any."""
        if self.scores is self.logits:
            return self.ranked
        make = partial(RankedLogits, self.logits, self.previous_ids, copy=False)
        return _RANKINGS.get(self, "logits", self._ranking_bytes, make)

    def distribution(self, params: SamplingParams | None = None) -> Distribution:
        """Reshape this step's logits, no model call; by the step's own settings when none are given."""
        params = self.params if params is None else params
        return self.ranked_under(params).temper_and_cut(params)

    def ranked_under(self, params: SamplingParams) -> RankedLogits:
        """The logits after the checkpoint's rules and the penalties of ``params``, ranked.

        `scores` hold the penalties that the step was run under already: those are not applied twice.
        Where ``params`` leave a penalty to the checkpoint (None) that the step's settings had set, it
        is off. O(V log V) when the penalties differ from the step's and are not among the last used.
        """
        penalties = (params.repetition_penalty, params.no_repeat_ngram_size)
        if penalties == (self.params.repetition_penalty, self.params.no_repeat_ngram_size):
            return self.ranked
        return _PENALISED.get(self, penalties, self._ranking_bytes, lambda: _rank_under(self, *penalties))

    @property
    def _ranking_bytes(self) -> int:
        return KEPT_BYTES * self.scores.size

    @cached_property
    def probability(self) -> float:
        """The chosen token's probability in the model's own distribution (temperature 1, nothing cut)."""
        return self.ranked.unshaped.probability(self.token.id)

    @cached_property
    def rank(self) -> int:
        """The chosen token's rank among all, 0 for the most likely."""
        return self.ranked.rank(self.token.id)

    @cached_property
    def entropy_bits(self) -> float:
        """Entropy of the model's own distribution, in bits."""
        return self.ranked.unshaped.entropy_bits

    @cached_property
    def best(self) -> tuple[tuple[int, float], ...]:
        """(token ID, probability) of the ten most likely tokens in the model's own distribution."""
        return tuple(self.ranked.unshaped.top(10))

    def summarise(self) -> StepRecord:
        """Work out what views ask of every step, here and now: called by the worker, off the GUI thread."""
        _ = (self.probability, self.rank, self.entropy_bits, self.best)
        return self


def _rank(step: StepRecord) -> RankedLogits:
    return RankedLogits(step.scores, step.previous_ids, copy=False)


def _rank_under(
    step: StepRecord, repetition_penalty: float | None, no_repeat_ngram_size: int | None
) -> RankedLogits:
    had = step.params
    logits, ids = step.logits, step.previous_ids
    suppressed = np.isneginf(step.scores)
    if no_repeat_ngram_size != had.no_repeat_ngram_size:
        suppressed[banned_by_ngrams(ids, had.no_repeat_ngram_size)] = False
    if repetition_penalty is None and had.repetition_penalty is None:
        # The checkpoint's own penalty, if it has one, stands in the scores alone.
        logits = np.where(np.isneginf(step.scores), step.logits, step.scores)
    logits = apply_penalties(logits, ids, repetition_penalty, no_repeat_ngram_size)
    logits[suppressed] = -np.inf
    return RankedLogits(logits, ids, copy=False)


_RANKINGS = RecentlyUsed(RANKINGS_BYTES)
# Apart, because a penalty's slider makes one at every move: those of other steps are not to go for them.
_PENALISED = RecentlyUsed(RANKINGS_BYTES // 8)


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """A run as it stood at one moment; the run itself stays with the worker.

    Attributes
    ----------
    run_id : int
        Which request it answers.
    family : Family
        The model's family, which says how its sequences are laid out.
    source : TokenizedText
        What the encoder (or, for a decoder-only model, the prompt) reads.
    start_tokens : tuple of Token
        What the decoder is given before its first step; empty for a decoder-only model.
    steps : tuple of StepRecord
        The steps taken so far.
    text : str
        The generated tokens, detokenized, specials left out.
    stop_reason : str or None
        Why the loop ended, e.g. ``end-of-sequence token``; None while it can go on.
    encoder_shape : tuple of int or None
        (source tokens, hidden size) of what the encoder handed over; None without an encoder.
    params : SamplingParams
        The settings that the next step would use.
    tree : RunTree
        Every step ever taken, on this branch and on others; its current node is the last of `steps`.
        A straight line of `steps` where none is given that ends in them.
    target_language : str
        The language that is written, by the tokenizer's code; empty where the model was not told one.
    """

    run_id: int
    family: Family
    source: TokenizedText
    start_tokens: tuple[Token, ...]
    steps: tuple[StepRecord, ...]
    text: str
    stop_reason: str | None
    encoder_shape: tuple[int, int] | None
    params: SamplingParams
    tree: RunTree = EMPTY
    target_language: str = ""

    def __post_init__(self) -> None:
        path = self.tree.path(self.tree.current)
        if len(path) != len(self.steps) or any(
            self.tree.nodes[node].step is not step for node, step in zip(path, self.steps, strict=True)
        ):
            nodes = [Node(i + 1, i, step) for i, step in enumerate(self.steps)]
            tree = RunTree((Node(ROOT, ROOT, None), *nodes), len(nodes))
            object.__setattr__(self, "tree", tree)

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """The nodes of `steps` in the tree."""
        return self.tree.path(self.tree.current)

    @property
    def languages(self) -> LanguagePair:
        """What it reads and writes."""
        return LanguagePair(self.source.language, self.target_language)

    @property
    def finished(self) -> bool:
        """Whether the loop has ended."""
        return self.stop_reason is not None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Generated token IDs so far."""
        return tuple(step.token.id for step in self.steps)

    def token(self, ref: TokenRef) -> Token | None:
        """The token that ``ref`` points at; None where the run has none there (or it is a vocabulary ref)."""
        if ref.side == "generated":
            # Not by way of a tuple of all tokens: views ask this for every token that they paint.
            return self.steps[ref.index].token if 0 <= ref.index < len(self.steps) else None
        if ref.side == "vocabulary":
            return None
        tokens = self.source.tokens if ref.side == "source" else self.start_tokens
        return tokens[ref.index] if 0 <= ref.index < len(tokens) else None

    def refs(self) -> tuple[TokenRef, ...]:
        """All tokens of the run, in reading order: source, start, generated."""
        return (
            *(TokenRef("source", i) for i in range(len(self.source))),
            *(TokenRef("start", i) for i in range(len(self.start_tokens))),
            *(TokenRef("generated", i) for i in range(len(self.steps))),
        )

    def attention_axes(self, kind: AttentionKind) -> tuple[tuple[TokenRef, ...], tuple[TokenRef, ...]]:
        """Which token each query row and each key column of a map of ``kind`` stands for.

        Encoder: row and column i are source token i. Decoder-only: row and column i are token i of
        prompt and generation, as read. Encoder-decoder, decoder and cross: a row stands for the
        token that was being *written* by that query (row of step i is generated token i), a decoder
        column for a token that was *read* (start tokens, then generated ones fed back).
        """
        source = tuple(TokenRef("source", i) for i in range(len(self.source)))
        generated = tuple(TokenRef("generated", i) for i in range(len(self.steps)))
        if kind == "encoder":
            return source, source
        if self.family == "decoder-only":
            # The last generated token has not been fed back yet, so that nothing attended from it.
            read = (source + generated)[: len(source) + max(0, len(generated) - 1)]
            return (read, read) if generated else ((), ())
        start = tuple(TokenRef("start", i) for i in range(len(self.start_tokens)))
        # With several start tokens, the first queries "write" start tokens that were already given.
        rows = (start[1:] + generated) if generated else ()
        return (rows, (start + generated)[: len(rows)]) if kind == "decoder" else (rows, source)

    def attention_cell(self, kind: AttentionKind, pair: tuple[TokenRef, ...]) -> tuple[int, int] | None:
        """(row, column) of a map of ``kind`` that a selected pair stands for; None where it is no cell.

        The first of the pair is taken as the query where both ways round are possible. A token alone
        stands for its weight on itself, where row and column of one place are the same token.
        """
        queries, keys = self.attention_axes(kind)
        if len(pair) == 1 and queries == keys and pair[0] in keys:
            return keys.index(pair[0]), keys.index(pair[0])
        if len(pair) != 2:
            return None
        for query, key in (pair, pair[::-1]):
            if query in queries and key in keys:
                return queries.index(query), keys.index(key)
        return None


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """One head's attention weights, or what many heads come to.

    Attributes
    ----------
    head : HeadRef
        Which head; of a summary, only its kind and layer count.
    weights : numpy.ndarray
        (query, key) float32; each row sums to 1 (less, where an architecture has a sink that is no token).
    queries, keys : tuple of TokenRef
        What each row and column stands for, see `RunSnapshot.attention_axes`.
    summary : AttentionSummary
        ``head``: the head's own weights. ``mean``: over all heads of its layer. ``chosen``: the mean over
        ``places``. ``rollout``: over all layers up to its own, see `explorer.model.run.Run.rollout`.
    heads : int
        How many heads of each layer went into it.
    places : tuple of (int, int)
        Of ``chosen``: which heads, as (layer, head).
    """

    head: HeadRef
    weights: npt.NDArray[np.float32]
    queries: tuple[TokenRef, ...]
    keys: tuple[TokenRef, ...]
    summary: AttentionSummary = "head"
    heads: int = 1
    places: tuple[Place, ...] = ()

    @property
    def title(self) -> str:
        """As it is named on screen, e.g. ``cross · mean of 8 heads · layer 2``."""
        if self.summary == "chosen":
            named = ", ".join(f"{layer}·{head}" for layer, head in self.places)
            if len(self.places) > _MOST_NAMED:
                named = "chosen"
            return f"{self.head.kind} · mean of {len(self.places)} heads · {named}"
        if self.summary == "mean":
            return f"{self.head.kind} · mean of {self.heads} heads · layer {self.head.layer}"
        if self.summary == "rollout":
            layers = "layer 0" if self.head.layer == 0 else f"layers 0–{self.head.layer}"
            return f"{self.head.kind} · rollout · {layers}"
        return str(self.head)


@dataclass(frozen=True, eq=False)
class AttentionOverview:
    """Every head of one kind, reduced to thumbnails of one size.

    Attributes
    ----------
    kind : AttentionKind
        Which attention.
    weights : numpy.ndarray
        (layer, head, query cell, key cell) float32.
    queries, keys : int
        Size of the full maps.
    pooling : str
        How a full map became a thumbnail: ``none`` (cell = weight), or the ``max`` or ``mean`` of the
        weights that share a cell.
    measures : dict of Measure to numpy.ndarray
        What each head does on this text, taken from the full maps; each (layer, head) float64. Empty
        before the first query row.
    """

    kind: AttentionKind
    weights: npt.NDArray[np.float32]
    queries: int
    keys: int
    pooling: Literal["none", "max", "mean"]
    measures: dict[Measure, PerHead] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CellReading:
    """How one attention weight came about.

    Attributes
    ----------
    head : HeadRef
        Which head.
    row, column : int
        Query row and key column of the map.
    query, key : numpy.ndarray
        (d,) float32, as they met: after any rotary turn.
    raw_score : float
        Their dot product, the sum of ``query * key``.
    scaling : float
        What the raw score is multiplied by.
    bias : float
        Position bias added to it; 0 where the family has none.
    softcap : float or None
        Cap of the score, ``softcap * tanh(score / softcap)``; None where the family has none.
    masked : bool
        True when the query may not look at this key.
    row_scores, row_weights : numpy.ndarray
        (keys,) float32: the whole row before the softmax (-inf where masked) and after it.
    values : numpy.ndarray
        (keys, d) float32: the value vectors that the row mixes.
    output : numpy.ndarray
        (d,) float32: the mixture, ``row_weights @ values``.
    """

    head: HeadRef
    row: int
    column: int
    query: npt.NDArray[np.float32]
    key: npt.NDArray[np.float32]
    raw_score: float
    scaling: float
    bias: float
    softcap: float | None
    masked: bool
    row_scores: npt.NDArray[np.float32]
    row_weights: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    output: npt.NDArray[np.float32]

    @property
    def weight(self) -> float:
        """The weight itself."""
        return float(self.row_weights[self.column])

    @property
    def products(self) -> npt.NDArray[np.float32]:
        """(d,) what each dimension adds to the raw score."""
        return self.query * self.key


@dataclass(frozen=True, eq=False)
class TokenCloud:
    """The input-embedding matrix as the window sees it: pieces, exact principal coordinates, norms.

    Attributes
    ----------
    pieces : tuple of str
        (V,) piece of each token ID; ids beyond the tokenizer's are ``<unused …>``.
    special_ids : frozenset of int
        The tokenizer's special tokens.
    coordinates : numpy.ndarray
        (V, components) float32; exact PCA coordinates of the whole vocabulary.
    explained_variance_ratio : numpy.ndarray
        (components,) float64; share of the total variance along each axis.
    norms : numpy.ndarray
        (V,) float32; Euclidean length of each vector in the full space.
    origin : numpy.ndarray
        (components,) float32; where the full space's zero vector falls in these coordinates.
    dimensions : int
        Dimensions of the full space.
    seconds : float
        What the PCA took.
    kinds : numpy.ndarray or None
        (V,) uint8; index into `token_kinds.KINDS`.
    """

    pieces: tuple[str, ...]
    special_ids: frozenset[int]
    coordinates: npt.NDArray[np.float32]
    explained_variance_ratio: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float32]
    dimensions: int
    seconds: float
    kinds: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class PairReading:
    """Two tokens compared in the model's full space.

    Attributes
    ----------
    token_ids : tuple of (int, int)
        Which tokens.
    cosine, angle_degrees, dot, distance : float
        Of the raw vectors in the full space; NaN for the first two where a vector is zero.
    norms : tuple of (float, float)
        Their lengths.
    """

    token_ids: tuple[int, int]
    cosine: float
    angle_degrees: float
    dot: float
    distance: float
    norms: tuple[float, float]
