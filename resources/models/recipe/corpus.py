"""The sentence pairs: read, cleaned, and split so that no test sentence was ever trained on."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUBJECT_SENTENCES = Path(__file__).with_name("subject_sentences.tsv")
PAIRS_MEMBER = "fra.txt"
MAX_CHARACTERS = 120
"""Longer pairs are rare (0.1 %) and would make batches with a lot of padding."""

_SPACES = re.compile(r"\s+")
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Pair:
    """One English sentence and one French translation of it."""

    english: str
    french: str


@dataclass(frozen=True)
class Split:
    """Three lists of pairs that share no sentence, on either side, but for case and punctuation."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]


def clean(text: str) -> str:
    """Bring typographic variants to one form, as a keyboard would type them.

    French typography puts (narrow) no-break spaces before ``?`` and ``!``: they become plain spaces,
    and curly apostrophes become straight ones, so that training sees what people type.
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).replace("’", "'")).strip()


def read_pairs(path: Path) -> list[Pair]:
    """Read English-French pairs from manythings.org's zip, or from a tab-separated text file.

    Raises
    ------
    ValueError
        If the file holds no pair.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(PAIRS_MEMBER).decode("utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    pairs: dict[Pair, None] = {}  # a dictionary keeps the order and drops repetitions
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) < 2:
            continue
        pair = Pair(clean(columns[0]), clean(columns[1]))
        if max(len(pair.english), len(pair.french)) <= MAX_CHARACTERS and all(_keys(pair)):
            pairs[pair] = None
    if not pairs:
        raise ValueError(f"{path} holds no sentence pair: expected lines of English, a tab, French")
    return list(pairs)


def read_subject_pairs(path: Path = SUBJECT_SENTENCES) -> list[Pair]:
    """Read the sentences on machine learning that were written for these models."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Pair(clean(row["english"]), clean(row["french"])) for row in rows]


def split(
    pairs: Sequence[Pair],
    pinned: Iterable[Pair] = (),
    test_share: float = 0.02,
    validation_share: float = 0.01,
) -> Split:
    """Split pairs by groups of mutual translations, always in the same way.

    Many sentences have several translations, and those have others again. All pairs that hang together
    through a common English or French sentence (compared without case and punctuation) form a group, and
    a group goes to one part as a whole. Which part is told by a hash of the group's smallest key, so that
    the split needs no stored list and does not depend on the order of the file.

    Parameters
    ----------
    pairs
        What is to be split.
    pinned
        Pairs that are to be trained on, however the hash falls; the groups that they touch go to training
        too. They are not part of the result.
    test_share, validation_share
        Shares of the groups, 0 to 1.
    """
    parents: dict[str, str] = {}

    def root_of(key: str) -> str:
        parents.setdefault(key, key)
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    pinned = list(pinned)
    for pair in [*pairs, *pinned]:
        first, second = sorted(root_of(key) for key in _keys(pair))
        parents[second] = first  # the smallest key stays the root, which makes the order irrelevant

    trained_roots = {root_of(key) for pair in pinned for key in _keys(pair)}
    parts: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for pair in pairs:
        root = root_of(_keys(pair)[0])
        draw = _uniform(root)
        if root in trained_roots or draw >= test_share + validation_share:
            parts["train"].append(pair)
        else:
            parts["test" if draw < test_share else "validation"].append(pair)
    return Split(*(tuple(parts[name]) for name in ("train", "validation", "test")))


def english_sentences(pairs: Iterable[Pair]) -> list[str]:
    """List each English sentence once, in order of appearance."""
    return list(dict.fromkeys(pair.english for pair in pairs))


def sentence_key(text: str) -> str:
    """Reduce a sentence to what makes it the same sentence: its words, without case and punctuation."""
    return " ".join(_WORDS.findall(clean(text).casefold()))


def _keys(pair: Pair) -> tuple[str, str]:
    english, french = sentence_key(pair.english), sentence_key(pair.french)
    return english and f"en {english}", french and f"fr {french}"


def _uniform(key: str) -> float:
    digest = hashlib.sha256(key.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
