from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.__main__ import main
from tests.model import real_layouts

SENTENCE = "J'aime l'apprentissage automatique."
TRACE = ["trace", "--model", "fr-en", "--device", "cpu", "--text", SENTENCE]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trace") / "deep" / "run"
    assert main([*TRACE, "--out", str(folder)]) == 0
    return folder


def test_that_four_files_are_written_and_nothing_else(traced: Path) -> None:
    assert sorted(path.name for path in traced.iterdir()) == [
        "attention.npz",
        "logits.npz",
        "run.json",
        "tokens.csv",
    ]


def test_that_the_files_hold_the_numbers_of_the_python_interface(traced: Path) -> None:
    run = explorer.load("fr-en", device="cpu").generate(SENTENCE).finish()
    stored = json.loads((traced / "run.json").read_text())
    assert stored["text"] == run.text == "I love machine learning."
    assert stored["token_ids"] == run.token_ids
    with np.load(traced / "attention.npz") as attention:
        assert sorted(attention) == ["cross", "decoder", "encoder"]
        for kind in attention:
            np.testing.assert_array_equal(attention[kind], run.attention(kind))
    with np.load(traced / "logits.npz") as logits:
        assert logits["logits"].shape == (6, 8000)
        np.testing.assert_array_equal(logits["scores"], np.stack([step.scores for step in run.steps]))
    for step, record in zip(stored["steps"], run.steps, strict=True):
        assert step["probability"] == pytest.approx(record.probability, abs=1e-9)
        assert step["candidates"][0]["id"] == record.best[0][0]


def test_that_the_csv_has_a_line_for_every_token(traced: Path) -> None:
    with (traced / "tokens.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["side"] for row in rows] == ["source"] * 7 + ["start"] + ["generated"] * 6
    assert rows[1] == {
        "side": "source",
        "index": "1",
        "id": "777",
        "piece": "aime",
        "start": "2",
        "end": "6",
        "special": "0",
    }


def test_that_sampling_options_reach_the_run(tmp_path: Path) -> None:
    options = [
        "--temperature",
        "1.3",
        "--top-k",
        "20",
        "--top-p",
        "0.9",
        "--seed",
        "3",
        "--max-new-tokens",
        "4",
    ]
    assert main([*TRACE, *options, "--out", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "run.json").read_text())
    params = explorer.SamplingParams(temperature=1.3, top_k=20, top_p=0.9, seed=3)
    run = explorer.load("fr-en", device="cpu").generate(SENTENCE, params).finish(max_new_tokens=4)
    assert stored["token_ids"] == run.token_ids
    assert len(stored["steps"]) <= 4
    assert all(step["kept_tokens"] <= 20 for step in stored["steps"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--text", "  "], "The text is empty"),
        (["--model", "/no/such/folder"], "no folder"),
        (["--top-p", "1.5"], "top_p must be from 0 to 1"),
        (["--temperature", "-1"], "temperature"),
        (["--max-new-tokens", "0"], "--max-new-tokens"),
        (["--out", "/proc/nowhere"], "cannot be made"),
        (["--out", __file__], "cannot be made"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_that_bad_input_ends_with_one_line(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRACE, "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_that_a_model_of_many_languages_is_told_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real_layouts.make("m2m100", tmp_path / "m2m100")
    text = "the cat sat on a mat"
    command = ["trace", "--model", str(folder), "--device", "cpu", "--text", text, "--max-new-tokens", "5"]
    capsys.readouterr()
    told = ["--source-language", "de", "--target-language", "fr"]
    assert main([*command, *told, "--out", str(tmp_path / "told")]) == 0
    assert "m2m100 reads the text as de and writes fr." in capsys.readouterr().out
    run = explorer.load(folder, device="cpu").generate(
        text, max_new_tokens=5, source_language="de", target_language="fr"
    )
    stored = json.loads((tmp_path / "told" / "run.json").read_text())
    assert stored["languages"] == {"source": "de", "target": "fr"}
    assert stored["token_ids"] == run.finish().token_ids
    assert [stored["source"]["tokens"][0]["piece"], stored["steps"][0]["token"]["piece"]] == [
        "__de__",
        "__fr__",
    ]
    assert main([*command, "--out", str(tmp_path / "untold")]) == 0
    assert "reads the text as en; it is not told which language to write" in capsys.readouterr().out
    assert main([*command, "--target-language", "french", "--out", str(tmp_path / "wrong")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean fr" in said
