"""Broken and hostile folders: one clear sentence each, at once, and nothing of theirs is run."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import explorer
from explorer.model import devices
from explorer.model.errors import DoesNotFitError, ModelError

GIB = 2**30


@pytest.fixture
def folder(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a good decoder-only checkpoint."""
    return Path(shutil.copytree(checkpoint("llama"), tmp_path / "folder"))


@pytest.fixture
def marian(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint("marian"), tmp_path / "marian"))


def refusal(folder: Path, **options: Any) -> str:
    """The one sentence; memory is held to growing by less than what a bomb would take."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as caught:
        explorer.load(str(folder), **{"device": "cpu", **options})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < GIB // 4
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def change(folder: Path, file: str = "config.json", **entries: Any) -> None:
    stored = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(stored | entries))


def declare(path: Path, header: dict[str, Any], data_bytes: int = 0) -> None:
    """A safetensors file with this header and a hole for its data."""
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + data_bytes)


# -- config.json -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[1, 2]", "must hold a JSON object"),
        (b"\xff\xfe\x00\x01", "is not text"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"a": "' + b"x" * 5_000_000 + b'"}', "far more than such a file needs"),
        (b"", "not valid JSON"),
        (b"{}", "config.json"),
    ],
)
def test_that_a_config_that_is_none_is_refused(folder: Path, content: bytes, says: str) -> None:
    (folder / "config.json").write_bytes(content)
    assert says in refusal(folder)


@pytest.mark.parametrize(
    "entries",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 60},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": "two"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 7},
        {"num_key_value_heads": 3},
        {"head_dim": 10**9},
        {"hidden_size": 10**9},
        {"hidden_size": 64},
        {"intermediate_size": 10**9},
        {"vocab_size": 10**12},
        {"vocab_size": 10**30},
        {"vocab_size": -5},
        {"vocab_size": 40},
        {"max_position_embeddings": 10**12},
        {"num_labels": 10**9},
        {"rope_parameters": {"rope_type": "linear", "factor": "x"}},
        {"model_type": "bert"},
        {"model_type": 7},
        {"architectures": "LlamaForCausalLM"},
        {"architectures": [5]},
        {"dtype": "lies"},
        {"quantization_config": 5},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"transformers_weights": "../../../etc/passwd"},
    ],
    ids=str,
)
def test_that_a_config_that_lies_is_refused(folder: Path, entries: dict[str, Any]) -> None:
    change(folder, **entries)
    assert str(folder) in refusal(folder)


def test_that_large_numbers_that_are_no_counts_are_left_alone(folder: Path) -> None:
    change(folder, n_words=200_000, num_training_steps=10**6, num_tokens_seen=10**12, max_length=10**9)
    assert explorer.load(str(folder), device="cpu").info.family == "decoder-only"


@pytest.mark.parametrize("positions", [10**9, 100_000])
def test_that_a_table_of_positions_is_not_computed_without_bound(marian: Path, positions: int) -> None:
    change(marian, max_position_embeddings=positions)
    assert str(marian) in refusal(marian)


@pytest.mark.parametrize(
    "entries",
    [
        {"decoder_start_token_id": 10**6},
        {"decoder_start_token_id": -1},
        {"eos_token_id": "x"},
        {"max_length": "long"},
    ],
    ids=str,
)
def test_that_generation_settings_that_no_run_can_begin_with_are_refused(
    marian: Path, entries: dict[str, Any]
) -> None:
    change(marian, "generation_config.json", **entries)
    assert "generation settings" in refusal(marian)


@pytest.mark.parametrize("file", ["generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_that_a_broken_small_file_is_refused_by_its_name(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content)
    assert file in refusal(folder)


# -- code and pickles ------------------------------------------------------------------------------


def trap(folder: Path) -> Path:
    """A module that leaves a mark where it is imported."""
    mark = folder.parent / "code-ran"
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    return mark


def test_that_a_model_that_needs_its_own_code_is_refused(folder: Path) -> None:
    mark = trap(folder)
    maps = {"AutoConfig": "trap.Config", "AutoModelForCausalLM": "trap.Model"}
    change(folder, model_type="trap", auto_map=maps)
    assert "never runs code" in refusal(folder)
    assert not mark.exists()


def test_that_code_beside_a_known_architecture_is_left_alone(folder: Path) -> None:
    mark = trap(folder)
    change(folder, auto_map={"AutoConfig": "trap.Config", "AutoModelForCausalLM": "trap.Model"})
    change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["trap.Tokenizer", None]})
    lm = explorer.load(str(folder), device="cpu")
    assert lm.info.architecture == "LlamaForCausalLM"
    assert lm.generate("the cat").finish(max_new_tokens=2).token_ids
    assert not mark.exists()


def pickled(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return tensors


def test_that_pickled_weights_are_refused_with_the_way_to_allow_them(folder: Path) -> None:
    pickled(folder)
    message = refusal(folder)
    assert "pickled" in message
    assert "allow_pickle=True" in message


def test_that_pickled_weights_load_when_allowed_by_name_and_are_the_same(
    folder: Path, checkpoint: Callable[[str], Path]
) -> None:
    pickled(folder)
    ours = explorer.load(str(folder), device="cpu", allow_pickle=True).generate("the cat").finish()
    theirs = explorer.load(str(checkpoint("llama")), device="cpu").generate("the cat").finish()
    assert ours.token_ids == theirs.token_ids


def test_that_a_pickle_that_would_run_code_does_not(folder: Path) -> None:
    mark = folder.parent / "code-ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(mark), "w"))

    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Trap()}, folder / "pytorch_model.bin")
    assert "weights" in refusal(folder, allow_pickle=True)
    assert not mark.exists()


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "data_bytes"),
    [
        ({"dtype": "F32", "shape": [10**12, 10**6], "data_offsets": [0, 4]}, 4),
        ({"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 0]}, 0),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, 4),
        ({"dtype": "F32", "shape": [8], "data_offsets": [0, 4]}, 4),
        (5, 4),
    ],
    ids=str,
)
def test_that_a_header_with_impossible_shapes_is_refused(folder: Path, entry: Any, data_bytes: int) -> None:
    declare(folder / "model.safetensors", {"lm_head.weight": entry}, data_bytes)
    assert "broken" in refusal(folder)


@pytest.mark.parametrize(
    ("start", "size", "says"),
    [
        (2**60, 100, "broken"),
        (90_000_000, 100_000_000, "their header alone"),
        (4, 4, "broken"),
        (8, 16, "broken"),
    ],
)
def test_that_a_header_of_impossible_length_is_refused(
    folder: Path, start: int, size: int, says: str
) -> None:
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", start))
        file.truncate(size)
    assert says in refusal(folder)


@pytest.mark.parametrize("left", [0, 3, 100, -1])
def test_that_a_file_cut_off_anywhere_is_refused(folder: Path, left: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    assert "broken" in refusal(folder)


def test_that_weights_of_something_else_are_refused(folder: Path) -> None:
    save_file({"x": torch.zeros(3)}, folder / "model.safetensors")
    assert "do not belong together" in refusal(folder)


def test_that_a_model_larger_than_the_memory_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 50_000)
    with pytest.raises(DoesNotFitError) as caught:
        explorer.load(str(folder), device="cpu")
    assert caught.value.free_bytes == 50_000
    assert caught.value.needed_bytes > 50_000
    assert "smaller dtype" in str(caught.value)


def test_that_a_terabyte_of_holes_is_refused(folder: Path) -> None:
    rows = 2**33
    tensors = {f"model.layers.{i}.x": ([1], 4) for i in range(40)} | {
        "model.embed_tokens.weight": ([rows, 32], 2**40)
    }
    header, end = {}, 0
    for name, (shape, size) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    declare(folder / "model.safetensors", header, end)
    change(folder, vocab_size=rows)
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../../model.safetensors"}}, "outside the folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "outside the folder"),
        ({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, "are missing"),
        ({"weight_map": [1]}, "does not say"),
        ({}, "does not say"),
    ],
    ids=str,
)
def test_that_an_index_that_leads_astray_is_refused(folder: Path, index: dict[str, Any], says: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert says in refusal(folder)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_that_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, file: str) -> None:
    shutil.move(folder / file, tmp_path / file)
    (folder / file).symlink_to(tmp_path / file)
    assert "link out of the folder" in refusal(folder)


@pytest.mark.parametrize("shared", [False, True])
def test_that_the_links_of_the_hub_cache_are_followed(
    checkpoint: Callable[[str], Path], tmp_path: Path, shared: bool
) -> None:
    revision = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    revision.mkdir(parents=True)
    if shared:
        # Content that several models have in common lies once for all of them.
        blobs.mkdir()
        shutil.copytree(checkpoint("llama"), tmp_path / "blobs" / "ab")
        for blob in (tmp_path / "blobs" / "ab").iterdir():
            (blobs / blob.name).symlink_to(Path("..") / ".." / "blobs" / "ab" / blob.name)
    else:
        shutil.copytree(checkpoint("llama"), blobs)
    for blob in blobs.iterdir():
        (revision / blob.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    assert explorer.load(str(revision), device="cpu").info.family == "decoder-only"


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_that_a_pipe_in_place_of_a_file_does_not_hang(folder: Path, file: str) -> None:
    (folder / file).unlink()
    os.mkfifo(folder / file)
    assert str(folder) in refusal(folder)


def test_that_a_link_to_itself_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("tokenizer.json")
    assert "leads nowhere" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt", "spiece.model"])
def test_that_a_vocabulary_of_a_gigabyte_is_refused_unread(folder: Path, file: str) -> None:
    with (folder / file).open("ab") as opened:
        opened.truncate(GIB)
    assert "no vocabulary needs that much" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": ' + b"[" * 100_000])
def test_that_a_broken_tokenizer_is_refused(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    assert "tokenizer" in refusal(folder)


def test_that_a_tokenizer_with_a_handful_of_tokens_is_refused(folder: Path) -> None:
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"], stored["model"]["merges"] = {"<unk>": 3}, []
    stored["added_tokens"] = stored["added_tokens"][:5]
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    assert "tokenizer" in refusal(folder)


def test_that_the_package_that_is_wanting_is_the_one_that_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        # What transformers says where protobuf is not installed.
        raise ImportError("`tiktoken` is required to read a `tiktoken` file. Install it with `pip ...`.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    assert "tiktoken" in refusal(folder)
    monkeypatch.setattr("transformers.utils.import_utils.is_protobuf_available", lambda: False)
    assert "takes the package protobuf" in refusal(folder)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root can read everything")
def test_that_a_file_that_may_not_be_read_is_refused(folder: Path) -> None:
    (folder / "config.json").chmod(0)
    assert "cannot be read" in refusal(folder)


def test_that_a_file_whose_reading_fails_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", fail)
    assert "cannot be read: Permission denied" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [("adapter_config.json", "an adapter"), ("model.gguf", "GGUF"), ("tf_model.h5", "TensorFlow")],
)
def test_that_what_is_no_model_is_called_by_its_name(tmp_path: Path, file: str, says: str) -> None:
    (tmp_path / file).write_text("{}")
    assert says in refusal(tmp_path)
