"""What a model occupies, that unloading gives it back, and models spread over more than one place.

There is one device here; what accelerate does for a second one it does for a disk too, and that is held.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import transformers

import explorer
from explorer.model import devices
from explorer.model.errors import DoesNotFitError, ModelError
from explorer.model.language_model import LanguageModel
from explorer.model.memory import read_memory
from tests.model import checkpoints
from tests.model.checkpoints import TEXT

MB = 10**6


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def large_llama() -> transformers.PreTrainedModel:
    """210 MB as float32."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=checkpoints.VOCABULARY,
            hidden_size=1024,
            num_hidden_layers=4,
            num_attention_heads=16,
            intermediate_size=2816,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def test_that_unloading_gives_the_memory_back(tmp_path: Path) -> None:
    folder = str(checkpoints.save(large_llama, tmp_path / "large"))
    explorer.load("fr-en", device="cpu").generate("Merci.").finish()  # what the first use of torch takes
    devices.give_back()
    before = resident()
    lm = explorer.load(folder, device="cpu")
    size = lm.info.resident_bytes
    assert size > 200 * MB
    run = lm.generate(TEXT)
    run.finish(max_new_tokens=3)
    lm.embedding_space().pca(3)
    assert resident() - before > 0.9 * size
    lm.unload()
    del run
    assert resident() - before < 0.1 * size


@pytest.mark.parametrize("ask", ["generate", "embedding_space", "positions"])
def test_that_an_unloaded_model_says_so(ask: str) -> None:
    lm = explorer.load("en-gpt", device="cpu")
    lm.unload()
    with pytest.raises(ModelError, match="was unloaded"):
        lm.generate("The") if ask == "generate" else getattr(lm, ask)()


def test_that_a_grouped_cache_and_captures_are_counted_to_the_byte(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load(str(checkpoint("llama")), device="cpu")
    source = lm.tokenize(TEXT)
    run = lm.generate(source)
    run.finish(max_new_tokens=5)
    memory = read_memory(lm, run)
    tokens = len(source) + len(run.steps) - 1
    assert memory.weights == lm.info.resident_bytes
    assert memory.cache == tokens * 2 * 2 * 2 * 8 * 4  # layers, key and value, key heads, width, float32
    assert memory.captured == run.notes.resident_bytes()
    assert memory.peak >= memory.weights
    assert read_memory(lm, None).cache == 0


def test_that_auto_on_one_device_is_that_device() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is more than one device")
    lm = explorer.load("fr-en", device="auto")
    assert lm.info.placement == {"cpu": lm.info.resident_bytes}
    assert lm.info.notes == ()
    assert lm.generate("Merci.").finish().text == "Thanks."


def test_that_what_all_devices_together_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(DoesNotFitError, match="cpu"):
        explorer.load("fr-en", device="auto")


def spread(folder: Path, offload: Path, device_map: dict[str, str]) -> LanguageModel:
    """As `explorer.load` does with ``device="auto"`` where one device does not suffice."""
    from explorer.model.capture import implementation_for

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map=device_map,
        offload_folder=offload,
        attn_implementation=implementation_for(transformers.LlamaForCausalLM),
    )
    return LanguageModel(str(folder), folder, "decoder-only", model, checkpoints.make_tokenizer(eos=False))


@pytest.mark.parametrize("away", [["model.layers.1"], ["model.embed_tokens", "model.layers.0"]])
def test_that_a_spread_model_gives_the_same_and_shows_its_map(
    checkpoint: Callable[[str], Path], tmp_path: Path, away: list[str]
) -> None:
    folder = checkpoint("llama")
    parts = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb"]
    device_map = {part: "disk" if part in away else "cpu" for part in [*parts, "lm_head"]}
    lm = spread(folder, tmp_path / "offload", device_map)
    whole = explorer.load(str(folder), device="cpu")
    assert sum(lm.info.placement.values()) == whole.info.resident_bytes == lm.info.resident_bytes
    assert set(lm.info.placement) == {"cpu", "disk"}
    (on_disk,) = [note for note in lm.info.notes if note.startswith("On disk")]
    assert all(part in on_disk for part in away)
    assert lm.device == torch.device("cpu")
    ours, theirs = lm.generate(TEXT), whole.generate(TEXT)
    ours.finish(max_new_tokens=6)
    theirs.finish(max_new_tokens=6)
    assert ours.token_ids == theirs.token_ids
    for layer in range(2):
        np.testing.assert_allclose(
            ours.attention("decoder", layer, 1), theirs.attention("decoder", layer, 1), atol=1e-6
        )
    np.testing.assert_allclose(ours.rollout("decoder"), theirs.rollout("decoder"), atol=1e-6)
    assert lm.embedding_space().neighbours(7, 3) == whole.embedding_space().neighbours(7, 3)
    assert read_memory(lm, ours).weights == whole.info.resident_bytes
