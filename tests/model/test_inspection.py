"""What is said of a model before it is loaded is what is found once it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import explorer
from explorer.__main__ import main
from explorer.core.devices import Device
from explorer.model import devices
from explorer.model.errors import ModelError
from explorer.model.inspection import licence_of
from tests.model import checkpoints

DTYPES = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("name", ["fr-en", "en-gpt", "en-mlm"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_that_a_bundled_model_turns_out_as_it_was_described(name: str, dtype: str) -> None:
    facts, info = explorer.inspect(name), explorer.load(name, device="cpu", dtype=dtype).info
    assert (facts.place, facts.licence, facts.download_bytes) == ("bundled", "cc-by-2.0", 0)
    assert facts.bytes_by_dtype[dtype] == info.resident_bytes == sum(info.placement.values())
    for field in (
        "family",
        "architecture",
        "layers",
        "heads",
        "key_heads",
        "vocabulary_size",
        "hidden_size",
        "context_length",
    ):
        assert getattr(facts, field) == getattr(info, field)
    assert facts.parameters == info.parameter_count
    assert facts.own_dtype == "float16"


@pytest.mark.parametrize("name", checkpoints.ALL)
def test_that_every_architecture_turns_out_as_it_was_described(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    folder = str(checkpoint(name))
    facts, info = explorer.inspect(folder), explorer.load(folder, device="cpu").info
    assert (facts.place, facts.parameters) == ("folder", info.parameter_count)
    assert facts.bytes_by_dtype["float32"] == info.resident_bytes
    assert (facts.family, facts.layers, facts.key_heads) == (info.family, info.layers, info.key_heads)


def test_that_shared_keys_are_told(checkpoint: Callable[[str], Path]) -> None:
    facts = explorer.inspect(str(checkpoint("llama")))
    assert (facts.heads, facts.key_heads) == ({"decoder": 4}, {"decoder": 2})


def test_that_it_fits_where_there_is_room_and_not_elsewhere() -> None:
    facts = explorer.inspect("fr-en")
    needed = facts.bytes_by_dtype["float32"]
    room = Device("cpu", "", needed, needed)
    tight = Device("cpu", "", needed - 1, needed)
    assert facts.fits(room, "auto")
    assert not facts.fits(tight, "auto")
    assert facts.fits(tight, "auto", given_back=1)
    assert facts.fits(tight, "bfloat16")
    assert facts.fits(Device("cuda:0", "", needed // 2 + 100_000, needed), "auto"), "float16 on a GPU"
    assert facts.fits(room, "float64") is None


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# x", "mit"),
        ("---\nlanguage: fr\nlicense: 'apache-2.0'\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("# x\nlicense: mit\n", ""),
        ("text --- license: mit --- text", ""),
        ("---\nlanguage: fr\n---\nlicense: mit", ""),
        ("", ""),
    ],
)
def test_that_the_licence_is_read_from_the_card_alone(tmp_path: Path, card: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == licence


def test_that_a_broken_folder_is_refused_as_when_loading(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("gpt2"), tmp_path / "broken"))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="JSON object"):
        explorer.inspect(str(folder))


def test_that_the_command_prints_facts_and_whether_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "fr-en"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("fr-en\n")
    assert "Architecture:       MarianMTModel" in said
    assert "Parameters:         7,643,136" in said
    assert "float32: 31 MB, fits" in said
    assert main(["inspect", "no such model"]) == 2


def test_that_devices_name_their_memory() -> None:
    found = devices.devices()
    assert found[-1].name == "cpu"
    assert all(0 <= device.free_bytes <= device.total_bytes for device in found)
    reasons = {choice.name: choice.unavailable for choice in devices.precision_choices("cpu")}
    assert reasons["float32"] == ""
    assert "bitsandbytes" in reasons["int8"] or reasons["int8"] == ""
