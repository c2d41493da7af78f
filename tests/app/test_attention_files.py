"""All maps of a kind in one file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.app.attention_files import ExportCancelledError, write_all_maps
from explorer.model.run import Run

SENTENCE = "J'aime l'apprentissage automatique."


@pytest.fixture(scope="module")
def run() -> Run:
    return explorer.load("fr-en", device="cpu").generate(SENTENCE).finish()


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_that_an_npz_holds_every_map_to_the_last_bit(run: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "all.npz"
    shape = write_all_maps(run, kind, path, "npz")
    written = np.load(path)
    expected = run.attention(kind)
    assert written["weights"].dtype == np.float32
    np.testing.assert_array_equal(written["weights"], expected)
    assert shape == expected.shape
    queries, keys = run.snapshot().attention_axes(kind)
    assert written["key_pieces"].tolist() == [run.snapshot().token(ref).piece for ref in keys]
    assert written["query_indices"].tolist() == [ref.index for ref in queries]
    assert written["query_sides"].tolist() == [ref.side for ref in queries]
    assert (str(written["kind"]), str(written["text"])) == (kind, SENTENCE)
    assert [found.name for found in tmp_path.iterdir()] == ["all.npz"]


def test_that_a_csv_has_a_line_for_every_weight_and_gives_back_the_very_float(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "all.csv"
    layers, heads, queries, keys = write_all_maps(run, "cross", path, "csv")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == layers * heads * queries * keys
    read = np.array([float(line["weight"]) for line in lines], dtype=np.float32)
    np.testing.assert_array_equal(read.reshape(layers, heads, queries, keys), run.attention("cross"))
    last = lines[-1]
    assert (last["layer"], last["head"], last["query"], last["key"]) == ("2", "7", str(queries - 1), "6")
    assert (last["query piece"], last["key piece"]) == (run.steps[-1].token.piece, "</s>")


@pytest.mark.parametrize("fmt", ["npz", "csv"])
def test_that_a_file_that_nobody_wants_any_more_is_not_there(run: Run, tmp_path: Path, fmt: str) -> None:
    asked = []

    def unwanted() -> bool:
        asked.append(None)
        return len(asked) == 2

    (tmp_path / "all").write_text("the old one")
    with pytest.raises(ExportCancelledError):
        write_all_maps(run, "encoder", tmp_path / "all", fmt, unwanted)
    assert [found.name for found in tmp_path.iterdir()] == ["all"]
    assert (tmp_path / "all").read_text() == "the old one"


def test_that_a_folder_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_all_maps(run, "encoder", tmp_path / "none" / "all.npz", "npz")
