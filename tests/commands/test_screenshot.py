"""The picture is taken by a process of its own, as a person would, with no screen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from explorer import load
from explorer.__main__ import make_parser
from explorer.panels.generation_panel import VIEWS
from tests.model import real_layouts

SENTENCE = "J'aime l'apprentissage automatique."


def screenshot(*options: str, model: str = "fr-en") -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    }
    command = [
        sys.executable,
        "-m",
        "explorer",
        "screenshot",
        "--model",
        model,
        "--device",
        "cpu",
        *options,
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("size", ["1366x768", "1920x1080"])
def test_that_the_whole_window_is_drawn_with_no_screen(tmp_path: Path, size: str) -> None:
    out = tmp_path / "shot.png"
    done = screenshot("--text", SENTENCE, "--size", size, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "I love machine learning." in done.stdout
    picture = QImage(str(out))
    assert f"{picture.width()}x{picture.height()}" == size
    colours = {
        picture.pixel(x, y) for x in range(0, picture.width(), 7) for y in range(0, picture.height(), 7)
    }
    assert len(colours) > 30


def test_that_the_languages_and_the_most_tokens_are_heeded(tmp_path: Path) -> None:
    model = real_layouts.make("mbart", tmp_path / "mbart")
    out = tmp_path / "tokens.png"
    options = ["--text", "the cat sat", "--max-new-tokens", "5", "--panel", "tokens", "--out", str(out)]
    done = screenshot("--source-language", "de_DE", "--target-language", "fr_XX", *options, model=str(model))
    assert done.returncode == 0, done.stderr
    run = load(model, device="cpu").generate(
        "the cat sat", max_new_tokens=5, source_language="de_DE", target_language="fr_XX"
    )
    assert done.stdout.splitlines()[0] == run.finish().text != ""
    assert not QImage(str(out)).isNull()
    refused = screenshot("--target-language", "french", *options, model=str(model))
    assert refused.returncode == 2
    # Qt's own remarks on having no screen come before it.
    said = refused.stderr.strip().splitlines()[-1]
    assert said.startswith("explorer: mbart knows 25 languages")
    assert said.endswith("did you mean fr_XX?")


def test_that_one_panel_can_be_drawn_alone(tmp_path: Path) -> None:
    out = tmp_path / "attention.png"
    done = screenshot(
        "--panel", "attention", "--size", "900x600", "--select", "source:3,generated:3", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert not QImage(str(out)).isNull()


def test_that_a_view_of_the_generation_panel_can_be_opened(tmp_path: Path) -> None:
    pictures = []
    for view in ("steps", "beams"):
        out = tmp_path / f"{view}.png"
        done = screenshot(
            "--text",
            SENTENCE,
            "--panel",
            "generation",
            "--size",
            "900x400",
            "--view",
            view,
            "--out",
            str(out),
        )
        assert done.returncode == 0, done.stderr
        assert "I love machine learning." in done.stdout
        pictures.append(QImage(str(out)))
    assert pictures[0] != pictures[1]


def test_that_every_view_can_be_asked_for() -> None:
    arguments = make_parser().parse_args(["screenshot", "--out", "x.png"])
    assert arguments.view is None
    for view in VIEWS:
        assert make_parser().parse_args(["screenshot", "--out", "x.png", "--view", view]).view == view


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--size", "big"], "--size must look like"),
        (["--select", "source:99"], "no source token 99"),
        (["--head", "cross:9:0"], "layers 0 to 2"),
        (["--text", ""], "The text is empty"),
    ],
)
def test_that_bad_input_ends_with_one_line_and_no_file(tmp_path: Path, options: list[str], says: str) -> None:
    out = tmp_path / "shot.png"
    done = screenshot("--out", str(out), *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
