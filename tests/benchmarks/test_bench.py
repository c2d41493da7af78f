from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from explorer.__main__ import main
from explorer.benchmarks import SUBJECTS
from explorer.benchmarks.figures import Agreement, Figure, Target
from explorer.benchmarks.timing import in_turn
from explorer.commands import bench

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def written(qapp: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a quick run of every subject wrote, which must have ended well."""
    out = tmp_path_factory.mktemp("bench") / "figures.json"
    assert main(["bench", "--quick", "--json", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["figures.json"]
    content = json.loads(out.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_that_every_subject_gives_figures(written: dict[str, Any]) -> None:
    assert {figure["subject"] for figure in written["figures"]} == set(SUBJECTS)


def test_that_every_figure_is_positive_and_finite(written: dict[str, Any]) -> None:
    for figure in written["figures"]:
        for value in (figure["value"], *figure["others"].values(), *figure["ratios"].values()):
            assert math.isfinite(value)
            assert value > 0, figure["name"]


def test_that_what_is_compared_gave_the_same(written: dict[str, Any]) -> None:
    agreements = [agreement for figure in written["figures"] for agreement in figure["agreements"]]
    assert len(agreements) > 20
    for agreement in agreements:
        assert agreement["equal"], agreement


def test_that_each_compared_side_but_a_clock_has_a_ratio(written: dict[str, Any]) -> None:
    for figure in written["figures"]:
        if figure["subject"] != "window":
            assert figure["others"].keys() == figure["ratios"].keys()


def test_that_notes_grow_by_the_stated_formula(written: dict[str, Any]) -> None:
    kept = [figure for figure in written["figures"] if figure["name"].startswith("kept")]
    assert len(kept) >= 4
    for figure in kept:
        assert figure["value"] == pytest.approx(figure["others"]["by the formula"], rel=1e-9)


def test_that_what_was_left_out_says_why(written: dict[str, Any]) -> None:
    assert all(skip["reason"] for skip in written["skipped"])


def test_that_the_file_names_no_machine_and_no_person(written: dict[str, Any]) -> None:
    assert written["machine"].keys() == {
        "explorer",
        "python",
        "torch",
        "transformers",
        "cores",
        "processor",
        "threads",
        "devices",
        "qt_platform",
    }
    assert str(Path.home()) not in json.dumps(written)


def test_that_one_subject_can_be_measured_alone(qtbot: QtBot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--only", "softmax"]) == 0
    printed = capsys.readouterr().out
    assert "moving temperature" in printed
    assert "exact PCA" not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "cooking"], "no subject 'cooking'"),
        (["--json", "missing/figures.json"], "cannot be written"),
        (["--json", "."], "is a folder"),
    ],
)
def test_that_bad_input_ends_with_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--quick", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_that_sides_are_run_in_turn_forwards_and_backwards() -> None:
    order: list[str] = []
    timed = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert len(timed["a"].times_ms) == len(timed["b"].times_ms) == 2


def test_that_a_target_is_held_against_the_ratio_or_the_value() -> None:
    figure = Figure("s", "n", "cpu", 12.0, others={"other": 10.0}, ratios={"other": 1.2})
    assert figure.met is None
    assert Figure("s", "n", "cpu", 12.0, target=Target(16.0)).met
    missed = Figure("s", "n", "cpu", 12.0, ratios={"other": 1.2}, target=Target(1.15, "other"))
    assert missed.met is False


def test_that_nan_agrees_with_nothing() -> None:
    assert not Agreement("tokens", math.nan, 1.0).equal


def test_that_a_table_line_says_figure_ratio_and_verdict() -> None:
    figure = Figure(
        "s",
        "work",
        "cpu",
        50.0,
        others={"other": 2000.0},
        ratios={"other": 0.025},
        target=Target(0.05, "other"),
        agreements=(Agreement("results", 2.0, 1.0),),
    )
    text = "\n".join(bench.lines_of(figure))
    assert "50 ms" in text
    assert "2.00 s   40 times as fast" in text
    assert "target at most 0.05 of other: met" in text
    assert "NOT THE SAME: results" in text


def test_that_cpu_and_cuda_stand_beside_each_other() -> None:
    figures = [
        Figure("generation", "a step", "cpu", 30.0),
        Figure("softmax", "a move", "cpu", 1.0),
        Figure("generation", "a step", "cuda:0", 2.0),
        Figure("attention", "kept", "cpu", 10.0, "bytes"),
        Figure("attention", "kept", "cuda:0", 10.0, "bytes"),
    ]
    heading, step, kept = bench.side_by_side(figures)
    assert "cpu beside cuda:0" in heading
    assert step.split() == ["a", "step", "30", "ms", "2", "ms", "15", "times"]
    assert kept.split() == ["kept", "10", "bytes", "10", "bytes"]
    assert list(bench.side_by_side(figures[:2])) == []
