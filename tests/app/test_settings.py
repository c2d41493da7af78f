from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.app.settings import Settings, write_atomically


def test_that_settings_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.json"
    settings = Settings(scheme="dark", scale=1.35, model="/models/élan", recent_models=["a", "b"], threads=3)
    settings.save(path)
    assert Settings.load(path) == settings
    assert [file.name for file in path.parent.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"scale": "large", "threads": true, "other": 1}']
)
def test_that_a_broken_file_gives_the_defaults(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    assert Settings.load(path) == Settings()


def test_that_one_bad_entry_does_not_cost_the_others(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"scale": [], "scheme": "dark"}))
    assert Settings.load(path) == Settings(scheme="dark")


def test_that_recent_models_are_few_and_newest_first() -> None:
    settings = Settings()
    for index in range(12):
        settings.remember_model(f"m{index}")
    settings.remember_model("m7")
    assert settings.recent_models[:3] == ["m7", "m11", "m10"]
    assert len(settings.recent_models) == len(set(settings.recent_models)) == 8


def test_that_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
