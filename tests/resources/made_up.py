"""Made-up sentence pairs: the recipe's tests need translations, and no real corpus lies in the project."""

from __future__ import annotations

from itertools import product
from pathlib import Path

SUBJECTS = (("The cat", "Le chat"), ("My brother", "Mon frère"), ("The robot", "Le robot"), ("She", "Elle"))
VERBS = (("sees", "voit"), ("loves", "aime"), ("paints", "peint"), ("finds", "trouve"), ("buys", "achète"))
OBJECTS = (
    ("the house", "la maison"),
    ("an apple", "une pomme"),
    ("the old tree", "le vieil arbre"),
    ("two books", "deux livres"),
    ("the sea", "la mer"),
    ("a word", "un mot"),
)
ENDS = ((".", "."), (" today.", " aujourd'hui."), (" with me.", " avec moi."))


def made_up_lines() -> list[str]:
    """Tab-separated lines, English first, as in the corpus."""
    return [
        "\t".join((f"{s[0]} {v[0]} {o[0]}{e[0]}", f"{s[1]} {v[1]} {o[1]}{e[1]}"))
        for s, v, o, e in product(SUBJECTS, VERBS, OBJECTS, ENDS)
    ]


def write_made_up_corpus(path: Path) -> Path:
    path.write_text("\n".join(made_up_lines()) + "\n", encoding="utf-8")
    return path
