"""Loading: what is there, and one clear sentence for what is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import explorer
from explorer.model.errors import ModelError
from explorer.model.language_model import LanguageModel
from tests.model import checkpoints


@pytest.fixture
def broken(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to be broken."""
    return Path(shutil.copytree(checkpoint("marian"), tmp_path / "broken"))


def refusal(folder: Path | str, **options: str) -> str:
    with pytest.raises(ModelError) as caught:
        explorer.load(str(folder), **{"device": "cpu", **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_that_the_bundled_model_is_described_by_what_is_resident(fr_en: LanguageModel) -> None:
    info = fr_en.info
    assert (info.name, info.family, info.architecture) == ("fr-en", "encoder-decoder", "MarianMTModel")
    assert (info.device, info.dtype) == ("cpu", "float32")
    reference = transformers.AutoModelForSeq2SeqLM.from_pretrained(fr_en.folder, dtype=torch.float32)
    assert info.parameter_count == reference.num_parameters()
    assert info.resident_bytes == pytest.approx(4 * info.parameter_count, rel=0.02)
    assert info.layers == {"encoder": 3, "decoder": 3, "cross": 3}
    assert info.context_length == 128


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_that_the_dtype_asked_for_is_the_dtype_of_the_weights(dtype: str) -> None:
    lm = explorer.load("fr-en", device="cpu", dtype=dtype)
    assert lm.info.dtype == dtype
    assert lm.generate("Merci.").finish().text


def test_that_a_folder_loads_by_its_path(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("t5")), device="cpu")
    assert lm.info.architecture == "T5ForConditionalGeneration"
    assert lm.info.context_length is None


def test_that_layers_and_heads_of_unequal_stacks_are_told_apart(checkpoint: Callable[[str], Path]) -> None:
    deep = explorer.load(str(checkpoint("marian, deeper decoder")), device="cpu").info
    assert deep.layers == {"encoder": 1, "decoder": 3, "cross": 3}
    wide = explorer.load(str(checkpoint("marian, other head counts")), device="cpu").info
    assert wide.heads == {"encoder": 2, "decoder": 8, "cross": 8}


def test_that_an_unknown_name_names_the_bundled_ones() -> None:
    assert "fr-en" in refusal("no such model, surely")


def test_that_a_hub_id_that_cannot_be_reached_says_so() -> None:
    assert "nobody/no-such-model is neither a folder" in refusal("nobody/no-such-model")
    assert "fr-en" in refusal("no-such-model")


def test_that_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    assert "holds no model" in refusal(tmp_path)


def test_that_a_file_is_not_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    assert "is a file" in refusal(file)


def test_that_a_config_that_is_no_json_is_refused(broken: Path) -> None:
    (broken / "config.json").write_text("{")
    assert "config.json" in refusal(broken)


def test_that_a_config_without_an_architecture_is_refused(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    del config["architectures"]
    (broken / "config.json").write_text(json.dumps(config))
    assert "does not say which architecture" in refusal(broken)


def test_that_a_model_without_a_language_model_head_is_refused(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    config["architectures"] = ["BartForSequenceClassification"]
    (broken / "config.json").write_text(json.dumps(config))
    assert "BartForSequenceClassification" in refusal(broken)


def test_that_missing_weights_are_refused(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert "weights" in refusal(broken)


def test_that_truncated_weights_are_refused(broken: Path) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "weights" in refusal(broken)


def test_that_weights_with_a_tensor_missing_are_refused_instead_of_made_up(broken: Path) -> None:
    tensors = load_file(broken / "model.safetensors")
    name = "model.decoder.layers.0.fc1.weight"
    del tensors[name]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    message = refusal(broken)
    assert "incomplete" in message
    assert name in message


def test_that_weights_of_another_shape_are_refused(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    config["d_model"] = 64
    (broken / "config.json").write_text(json.dumps(config))
    assert "weights" in refusal(broken)


def test_that_pickled_weights_are_refused(broken: Path) -> None:
    tensors = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    torch.save(tensors, broken / "pytorch_model.bin")
    assert "weights" in refusal(broken)


def test_that_a_missing_tokenizer_is_refused(broken: Path) -> None:
    for path in broken.glob("tokenizer*"):
        path.unlink()
    assert "tokenizer" in refusal(broken)


def test_that_a_tokenizer_larger_than_the_model_is_refused(broken: Path) -> None:
    tokenizer = checkpoints.make_tokenizer()
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(broken)
    assert "do not belong together" in refusal(broken)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"device": "tpu"}, "device"), ({"device": "cuda:7"}, "cuda:7"), ({"dtype": "int3"}, "int3")],
)
def test_that_a_device_or_dtype_that_is_not_there_is_refused(options: dict[str, str], says: str) -> None:
    if options.get("device") == "cuda:7" and torch.cuda.device_count() > 7:
        pytest.skip("this machine has eight GPUs")
    assert says in refusal("fr-en", **options)


def test_that_tokens_carry_their_span_in_the_text(fr_en: LanguageModel) -> None:
    text = "J'aime l'apprentissage automatique."
    source = fr_en.tokenize(text)
    assert source.ids == tuple(fr_en.text_tokenizer.tokenizer(text)["input_ids"])
    spelled = [text[slice(*token.span)].strip() if token.span else "" for token in source.tokens]
    assert spelled == ["J'", "aime", "l'", "apprentissage", "automatique", ".", ""]
    assert [token.special for token in source.tokens] == [False] * 6 + [True]


def test_that_text_beyond_the_context_is_cut_and_said(fr_en: LanguageModel) -> None:
    text = "Je ne sais pas. " * 100
    source = fr_en.tokenize(text)
    whole = fr_en.text_tokenizer.tokenizer(text)["input_ids"]
    assert len(source) == 128
    assert source.cut_tokens == len(whole) - 128
    assert source.tokens[-1].piece == "</s>"
    assert text.endswith(source.cut_text)
    assert fr_en.generate(source).finish(max_new_tokens=4).text


@pytest.mark.parametrize(
    "text", ["", " ", "😀👩‍👩‍👧", "\t\n", "<b>#'\"</b>", "שלום עולם", "x" * 5000, "a\x00b"]
)
def test_that_any_text_tokenizes(fr_en: LanguageModel, text: str) -> None:
    source = fr_en.tokenize(text)
    assert source.text == text
    for token in source.tokens:
        assert token.span is None or 0 <= token.span[0] < token.span[1] <= len(text)
