"""The table of architectures in the README: each row's name has a checkpoint here, and each cell a test.

Greedy tokens and attention are held in `test_generation`, `test_attention` and `test_mask_filling`,
position pages in `test_positions`; here is the embedding page, and that no architecture of the table is
without any of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import explorer
from tests.model import checkpoints, test_attention, test_generation, test_mask_filling, test_positions

README = Path(__file__).parents[2] / "README.md"
# How the README calls each, and the checkpoint that stands for it.
NAMES = {
    "T5 (v1.0, v1.1)": ("t5", "t5 v1.1"),
    "mT5": ("mt5",),
    "Marian": ("marian",),
    "BART": ("bart",),
    "mBART": ("mbart",),
    "M2M100": ("m2m100",),
    "Pegasus": ("pegasus",),
    "GPT-2": ("gpt2",),
    "GPT-NeoX": ("gpt-neox",),
    "Llama": ("llama",),
    "Qwen 2 and 3": ("qwen2", "qwen3"),
    "Mistral": ("mistral, sliding window",),
    "Gemma 1 to 3": ("gemma", "gemma 2, soft cap", "gemma 3"),
    "BERT": ("bert",),
    "RoBERTa": ("roberta",),
    "DistilBERT": ("distilbert",),
    "ModernBERT": ("modernbert, sliding window",),
}
EVERY = [name for names in NAMES.values() for name in names]


def held_names(test: Callable[..., None]) -> set[str]:
    """The checkpoints that a test is parametrized over."""
    (mark,) = [mark for mark in test.pytestmark if mark.args[0] == "name"]  # type: ignore[attr-defined]
    return set(mark.args[1])


def test_that_the_readme_lists_what_is_held_and_nothing_else() -> None:
    rows = re.findall(r"^\| (?:encoder|decoder)-\w+ \| ([^|]+) \|", README.read_text(), re.MULTILINE)
    assert len(rows) == 3
    listed = [name for row in rows for name in re.split(r", (?![^(]*\))", row.strip())]
    assert set(listed) == set(NAMES)


@pytest.mark.parametrize("name", EVERY)
def test_that_every_cell_of_the_table_is_held(name: str) -> None:
    encoder_only = name in checkpoints.ENCODER_ONLY
    filled = held_names(test_mask_filling.test_that_masks_are_filled_as_the_model_itself_would)
    tokens = held_names(test_generation.test_that_greedy_stepping_of_random_checkpoints_equals_generate)
    maps = held_names(test_attention.test_that_every_map_equals_eager_attention)
    assert name in (filled if encoder_only else tokens & maps)
    assert name in held_names(test_positions.test_that_every_family_has_what_it_says)


@pytest.mark.parametrize("name", EVERY)
def test_that_the_embedding_page_is_that_of_the_input_matrix(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    folder = checkpoint(name)
    lm = explorer.load(str(folder), device="cpu")
    space = lm.embedding_space()
    # The file's own matrix, by whatever class transformers loads the architecture with.
    cls = getattr(transformers, lm.info.architecture)
    plain = cls.from_pretrained(folder, dtype=torch.float32)
    matrix = plain.get_input_embeddings().weight.detach().double().numpy()
    assert len(lm.text_tokenizer.pieces) == len(matrix) == lm.info.vocabulary_size
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True).clip(1e-12)
    cosines = unit @ unit[40]
    found = space.neighbours(40, 5)
    order = [i for i in np.argsort(-cosines) if i != 40]
    assert [token_id for token_id, *_ in found] == order[:5]
    for token_id, piece, cosine in found:
        assert cosine == pytest.approx(cosines[token_id], abs=1e-6)
        assert piece == lm.text_tokenizer.pieces[token_id]
    centred = matrix - matrix.mean(0)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    np.testing.assert_allclose(space.pca(3).explained_variance_ratio, values[:3] / values.sum(), rtol=1e-4)
