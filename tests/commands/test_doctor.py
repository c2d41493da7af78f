"""What ``doctor`` says of this machine."""

from __future__ import annotations

import hashlib

import pytest
from pytestqt.qtbot import QtBot

from explorer.__main__ import main
from explorer.commands import doctor
from explorer.resources import bundled_checksums, bundled_models, resources_folder


def test_that_it_names_versions_devices_memory_opengl_folders_and_models(
    qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for heading in ("Program", "Machine", "Torch devices", "Window system", "Folders", "Bundled models"):
        assert f"\n{heading}\n" in f"\n{said}"
    for part in (
        "transformers 5",
        "sentencepiece 0",
        "cpu: CPU,",
        "float32, bfloat16, float16",
        "8-bit and 4-bit:",
        "Qt platform",
        "model cache:",
        "hub: offline: HF_HUB_OFFLINE is set",
        "of memory",
    ):
        assert part in said, part
    assert "OpenGL" in said


@pytest.mark.parametrize("name", bundled_models())
def test_that_each_bundled_model_is_as_it_was_released(name: str) -> None:
    weights = (resources_folder() / "models" / name / "model.safetensors").read_bytes()
    assert bundled_checksums()[name] == hashlib.sha256(weights).hexdigest()


def test_that_a_damaged_bundled_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = bundled_checksums()
    monkeypatch.setattr(doctor, "bundled_checksums", lambda: known | {"en-gpt": "0" * 64})
    lines = {line.split(":")[0]: line for line in doctor._models()}
    assert lines["en-gpt"].endswith("NOT as released")
    assert lines["fr-en"].endswith(", as released")
