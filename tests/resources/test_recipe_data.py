"""The recipe's corpus, split and tokenizers, on made-up sentences."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from .made_up import made_up_lines, write_made_up_corpus

from corpus import (  # isort: skip
    MAX_CHARACTERS,
    Pair,
    Split,
    clean,
    english_sentences,
    read_pairs,
    read_subject_pairs,
    sentence_key,
    split,
)
from tokenizing import (  # isort: skip
    load_tokenizer,
    save_tokenizer,
    train_gpt_tokenizer,
    train_mlm_tokenizer,
    train_translation_tokenizer,
)

# Few sentences with variants of case and punctuation, so that most draws hang together in groups.
SENTENCES = st.builds(
    lambda word, number, end: f"{word} {number}{end}",
    st.sampled_from(["word", "Word", "WORD"]),
    st.integers(0, 40),
    st.sampled_from([".", "!", " !", ""]),
)
PAIRS = st.lists(st.builds(Pair, SENTENCES, SENTENCES), max_size=60, unique=True)


def keys(pairs: tuple[Pair, ...]) -> tuple[set[str], set[str]]:
    return {sentence_key(p.english) for p in pairs}, {sentence_key(p.french) for p in pairs}


def overlaps(parts: Split) -> list[set[str]]:
    sides = [keys(part) for part in (parts.train, parts.validation, parts.test)]
    return [a[side] & b[side] for side in (0, 1) for a in sides for b in sides if a is not b]


@given(PAIRS)
def test_that_no_sentence_is_in_two_parts_on_either_side(pairs: list[Pair]) -> None:
    assert not any(overlaps(split(pairs, test_share=0.3, validation_share=0.3)))


@given(PAIRS, st.randoms(use_true_random=False))
def test_that_the_split_loses_nothing_and_ignores_the_order(pairs: list[Pair], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (split(order, test_share=0.3, validation_share=0.3) for order in (pairs, shuffled))
    assert Counter(one.train + one.validation + one.test) == Counter(pairs)
    for part in ("train", "validation", "test"):
        assert set(getattr(one, part)) == set(getattr(other, part))


@given(PAIRS, PAIRS)
def test_that_pinned_sentences_are_never_tested(pairs: list[Pair], pinned: list[Pair]) -> None:
    parts = split(pairs, pinned, test_share=0.5, validation_share=0.3)
    tested = [keys(part) for part in (parts.validation, parts.test)]
    for english, french in tested:
        assert not english & keys(tuple(pinned))[0]
        assert not french & keys(tuple(pinned))[1]


def test_that_the_split_is_the_same_on_every_machine() -> None:
    pairs = [Pair(f"number {n}", f"numéro {n}") for n in range(30)]
    parts = split(pairs, test_share=0.1, validation_share=0.05)
    assert [pair.english for pair in parts.test] == ["number 21", "number 27"]
    assert [pair.english for pair in parts.validation] == ["number 12", "number 22"]


def test_that_translations_of_translations_stay_together() -> None:
    chain = [Pair(f"e{n}", f"f{m}") for n in range(20) for m in (n, n + 1)]
    parts = split(chain, test_share=0.5)
    assert sorted(map(len, (parts.train, parts.validation, parts.test))) == [0, 0, len(chain)]


def test_that_typographic_spaces_and_apostrophes_become_those_of_a_keyboard() -> None:
    assert clean("  C’est\u202fvrai\u00a0!  ") == "C'est vrai !"


def test_that_reading_drops_repetitions_long_pairs_and_lines_without_words(tmp_path: Path) -> None:
    lines = ["Go.\tVa !", "Go.\tVa\u202f!", "?\t!", "no tab", "x" * (MAX_CHARACTERS + 1) + "\tlong"]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_pairs(path) == [Pair("Go.", "Va !")]


def test_that_a_zip_reads_like_a_text_file(tmp_path: Path) -> None:
    text = write_made_up_corpus(tmp_path / "pairs.tsv")
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        archive.write(text, "fra.txt")
    assert read_pairs(tmp_path / "pairs.zip") == read_pairs(text)
    assert len(read_pairs(text)) == len(made_up_lines())


def test_that_a_file_without_pairs_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.tsv"
    path.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no sentence pair"):
        read_pairs(path)


def test_that_the_subject_sentences_are_whole_and_unlike() -> None:
    pairs = read_subject_pairs()
    assert len(pairs) >= 190
    assert len(set(pairs)) == len(pairs)
    assert all(pair.english and pair.french for pair in pairs)
    assert all(pair.english[-1] in ".?" and pair.french[-1] in ".?" for pair in pairs)
    assert Pair("I love machine learning.", "J'aime l'apprentissage automatique.") in pairs


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [Pair(*line.split("\t")) for line in made_up_lines()]


def test_that_translation_pieces_keep_the_apostrophe_and_end_the_sentence(
    pairs: list[Pair], tmp_path: Path
) -> None:
    texts = ["J'aime l'apprentissage automatique.", *(pair.french for pair in pairs)]
    save_tokenizer(train_translation_tokenizer(texts, 300), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ids = tokenizer("Le chat aime l’arbre aujourd'hui.")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert "▁l'" in pieces
    assert pieces[-1] == "</s>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Le chat aime l'arbre aujourd'hui."
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)


def test_that_gpt_pieces_spell_any_text_and_start_with_a_start_token(
    pairs: list[Pair], tmp_path: Path
) -> None:
    save_tokenizer(train_gpt_tokenizer(english_sentences(pairs), 400), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "The robot sees 🤖 <b> and Ωmega."
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert encoded["input_ids"][0] == tokenizer.bos_token_id
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == text
    assert [text[a:b] for a, b in encoded["offset_mapping"][1:4]] == ["The", "robot", "sees"]
    assert tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3


def test_that_mlm_pieces_frame_the_sentence_and_know_the_mask(pairs: list[Pair], tmp_path: Path) -> None:
    save_tokenizer(train_mlm_tokenizer(english_sentences(pairs), 300), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ids = tokenizer("The [MASK] sees the tree.")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert (pieces[0], pieces[2], pieces[-1]) == ("[CLS]", "[MASK]", "[SEP]")
    assert ids[2] == tokenizer.mask_token_id
    assert tokenizer.convert_ids_to_tokens(tokenizer("🤖")["input_ids"]) == ["[CLS]", "[UNK]", "[SEP]"]
    text = "She doesn't see the sea, today."
    learned = train_mlm_tokenizer([text], 300)
    assert learned.decode(learned(text)["input_ids"], skip_special_tokens=True) == text
    assert (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token) == ("[CLS]", "[SEP]", "[PAD]")


def test_that_a_saved_tokenizer_is_read_back_the_same(pairs: list[Pair], tmp_path: Path) -> None:
    tokenizer = train_gpt_tokenizer(english_sentences(pairs), 400)
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert again("The robot")["input_ids"] == tokenizer("The robot")["input_ids"]
    assert again.special_tokens_map == tokenizer.special_tokens_map
