"""What holds on an NVIDIA GPU: residency, parity, cost of capture, vectors, lack of memory, unloading.

Run where there is one with ``pytest -m cuda``; skipped, and reported as skipped, elsewhere.

Tolerances: float32 on both devices without TF32, where sums are taken in another order: logits within
1e-3 of a spread of tens, weights of attention within 1e-4. bfloat16 keeps 8 bits of mantissa: attention
within 0.03 of the checkpoint's own eager attention in bfloat16 on the same device.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import explorer
from explorer.app.engine import Engine
from explorer.app.worker import Task
from explorer.core.model_facts import LoadRequest
from explorer.core.sampling import GREEDY
from explorer.model import devices
from explorer.model.errors import DoesNotFitError, ModelError
from explorer.model.memory import read_memory
from tests.model import checkpoints
from tests.model.checkpoints import TEXT

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]

KINDS = ("t5", "marian", "gpt2", "llama", "mistral, sliding window", "gemma 2, soft cap", "bert")
AUTO = {
    "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    "decoder-only": transformers.AutoModelForCausalLM,
    "encoder-only": transformers.AutoModelForMaskedLM,
}
SENTENCE = "J'aime l'apprentissage automatique."
MIB = 2**20


@pytest.fixture(autouse=True)
def exact_float32() -> Iterator[None]:
    """No TF32, and nothing left over from the test before."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before
    devices.give_back()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = checkpoints.save(
                checkpoints.ALL[name],
                tmp_path_factory.mktemp("checkpoint"),
                bos=name in checkpoints.ENCODER_ONLY,
                eos=name not in checkpoints.DECODER_ONLY,
            )
        return made[name]

    return make


def text_for(lm: explorer.model.language_model.LanguageModel) -> str:
    return f"{TEXT} {lm.text_tokenizer.mask_piece}" if lm.family == "encoder-only" else TEXT


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


# -- residency -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_that_all_of_a_model_is_on_the_gpu(checkpoint: Callable[[str], Path], kind: str, dtype: str) -> None:
    before = allocated()
    lm = explorer.load(str(checkpoint(kind)), device="cuda", dtype=dtype)
    tensors = [*lm.model.parameters(), *lm.model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    assert lm.info.placement == {"cuda:0": lm.info.resident_bytes}
    # The allocator gives blocks of 512 bytes.
    grown = allocated() - before
    assert lm.info.resident_bytes <= grown <= lm.info.resident_bytes + 512 * (len(tensors) + 64)
    assert explorer.inspect(str(checkpoint(kind))).bytes_by_dtype[dtype] == lm.info.resident_bytes


def test_that_the_gpu_comes_first_and_auto_takes_the_stored_dtype() -> None:
    lm = explorer.load("fr-en")
    assert (lm.info.device, lm.info.dtype) == ("cuda:0", "float16")
    assert devices.devices()[0].name == "cuda:0"


def test_that_unloading_gives_every_byte_back() -> None:
    explorer.load("fr-en", device="cuda").unload()
    before = allocated()
    lm = explorer.load("fr-en", device="cuda", dtype="float32")
    run = lm.generate(SENTENCE)
    run.finish()
    lm.embedding_space().pca(3)
    memory = read_memory(lm, run)
    assert memory.cache > 0
    assert memory.captured > 0
    assert memory.peak >= memory.weights + memory.cache
    lm.unload()
    del run
    assert allocated() == before


# -- parity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_that_float32_gives_what_the_cpu_gives(checkpoint: Callable[[str], Path], kind: str) -> None:
    runs = []
    for device in ("cpu", "cuda"):
        lm = explorer.load(str(checkpoint(kind)), device=device, dtype="float32")
        run = lm.generate(text_for(lm), GREEDY, max_new_tokens=6)
        run.finish()
        runs.append(run)
    here, there = runs
    assert here.token_ids == there.token_ids
    for ours, theirs in zip(here.steps, there.steps, strict=True):
        np.testing.assert_allclose(theirs.logits, ours.logits, atol=1e-3)
    for name, layers in here.lm.info.layers.items():
        for layer in range(layers):
            for head in range(here.lm.info.heads[name]):
                np.testing.assert_allclose(
                    there.attention(name, layer, head), here.attention(name, layer, head), atol=1e-4
                )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_that_greedy_tokens_are_those_of_generate_on_the_same_device(
    checkpoint: Callable[[str], Path], kind: str, dtype: str
) -> None:
    folder = checkpoint(kind)
    lm = explorer.load(str(folder), device="cuda", dtype=dtype)
    source = lm.tokenize(TEXT)
    run = lm.generate(source, GREEDY, max_new_tokens=8)
    run.finish()
    plain = AUTO[lm.family].from_pretrained(folder, dtype=lm.dtype).to("cuda").eval()
    ids = torch.tensor([source.ids], device="cuda")
    expected = plain.generate(ids, do_sample=False, num_beams=1, max_new_tokens=8, max_length=None)[0]
    start = len(source) if lm.family == "decoder-only" else 1
    assert run.token_ids == expected[start:].tolist()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_that_bfloat16_attention_is_that_of_the_eager_pass(
    checkpoint: Callable[[str], Path], kind: str
) -> None:
    folder = checkpoint(kind)
    lm = explorer.load(str(folder), device="cuda", dtype="bfloat16")
    source = lm.tokenize(text_for(lm))
    run = lm.generate(source)
    eager = AUTO[lm.family].from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager")
    ids = torch.tensor([source.ids], device="cuda")
    with torch.no_grad():
        theirs = eager.to("cuda").eval()(ids, output_attentions=True).attentions
    (name,) = lm.info.layers
    if lm.family == "decoder-only":
        run.step()
    for layer, weights in enumerate(theirs):
        for head in range(weights.shape[1]):
            ours = run.attention(name, layer, head)[: len(source), : len(source)]
            np.testing.assert_allclose(ours, weights[0, head].float().cpu().numpy(), atol=0.03)


def test_that_the_bundled_model_translates_in_every_dtype() -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        run = explorer.load("fr-en", device="cuda", dtype=dtype).generate(SENTENCE).finish()
        assert run.text == "I love machine learning."


# -- vectors -----------------------------------------------------------------------------------------


def test_that_components_and_neighbours_on_the_gpu_are_those_of_float64(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load("fr-en", device="cuda", dtype="float32")
    space = lm.embedding_space()
    assert space.matrix.device.type == "cuda"
    matrix = lm.embedding.weight.detach().cpu().double().numpy()
    centred = matrix - matrix.mean(0)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    np.testing.assert_allclose(space.pca(3).explained_variance_ratio, values[:3] / values.sum(), rtol=1e-4)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    cosines = unit @ unit[100]
    for token_id, _, cosine in space.neighbours(100, 10):
        assert cosine == pytest.approx(cosines[token_id], abs=1e-5)


# -- cost of capture -----------------------------------------------------------------------------------


def test_that_capture_costs_are_reported(
    checkpoint: Callable[[str], Path], record_property: Callable[[str, object], None]
) -> None:
    """A ratio to read in the report; the same tokens are what is asserted, not a time."""
    folder = checkpoint("llama")
    lm = explorer.load(str(folder), device="cuda", dtype="float32")
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to("cuda").eval()
    source = lm.tokenize(TEXT)
    ids = torch.tensor([source.ids], device="cuda")

    def ours() -> list[int]:
        return lm.generate(source, GREEDY, max_new_tokens=32).finish().token_ids

    def theirs() -> list[int]:
        out = plain.generate(ids, do_sample=False, num_beams=1, max_new_tokens=32, max_length=None)
        return list(out[0, len(source) :].tolist())

    ratios = []
    for _ in range(5):
        times = []
        for side in (ours, theirs):
            torch.cuda.synchronize()
            started = time.perf_counter()
            tokens = side()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    assert ours() == theirs() == tokens
    record_property("capturing beside generate", float(np.median(ratios)))


# -- lack of memory ------------------------------------------------------------------------------------


@pytest.fixture
def nearly_full() -> Iterator[Callable[[int], None]]:
    """Leave so many bytes free on the GPU."""
    ballast: list[torch.Tensor] = []

    def leave(count: int) -> None:
        devices.give_back()
        free, _ = torch.cuda.mem_get_info()
        ballast.append(torch.empty(max(free - count, 0), dtype=torch.uint8, device="cuda"))

    yield leave
    ballast.clear()
    devices.give_back()


def test_that_a_model_that_does_not_fit_says_what_it_needs_and_what_is_free(
    nearly_full: Callable[[int], None], tmp_path: Path
) -> None:
    folder = checkpoints.save(
        lambda: checkpoints.marian(encoder_ffn_dim=400_000, decoder_ffn_dim=400_000), tmp_path
    )
    nearly_full(64 * MIB)
    with pytest.raises(DoesNotFitError) as caught:
        explorer.load(str(folder), device="cuda", dtype="float32")
    assert caught.value.device == "cuda:0"
    assert caught.value.needed_bytes > caught.value.free_bytes
    assert "the CPU" in str(caught.value)


def test_that_a_run_that_does_not_fit_says_so_and_the_next_one_works(
    nearly_full: Callable[[int], None],
) -> None:
    engine = Engine()
    task = Task(lambda *_: None, lambda _: None)
    engine.load(LoadRequest("en-gpt", device="cuda:0", dtype="float32"), task)
    # A product of 8,192 x 8,192 needs 256 MB more than what is left.
    nearly_full(32 * MIB)

    def too_large(*_: Any, **__: Any) -> Any:
        return torch.ones(8192, 8192, device="cuda") @ torch.ones(8192, 8192, device="cuda")

    handle = engine._model().model.register_forward_pre_hook(too_large)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        engine.begin(1, "The cat sat", GREEDY, None, task)
    handle.remove()
    told = engine.recover(caught.value)
    assert isinstance(told, ModelError)
    assert "268 MB more on cuda:0" in str(told)
    assert "en-gpt is still loaded" in str(told)
    update = engine.begin(2, "The cat sat", GREEDY, None, task)
    assert update.run.run_id == 2
    assert len(engine.step(GREEDY, None, task).run.steps) == 1


# -- more than one place ---------------------------------------------------------------------------------


def test_that_a_model_larger_than_what_the_gpu_may_give_is_spread_and_gives_the_same(
    checkpoint: Callable[[str], Path],
) -> None:
    folder = str(checkpoint("llama"))
    whole = explorer.load(folder, device="cpu", dtype="float32")
    room = whole.info.resident_bytes * 2 // 3
    lm = explorer.load(folder, device="auto", dtype="float32", max_memory={0: room, "cpu": "4GiB"})
    assert set(lm.info.placement) == {"cuda:0", "cpu"}
    assert any(note.startswith("On cuda:0") for note in lm.info.notes)
    ours = lm.generate(TEXT, GREEDY, max_new_tokens=6).finish()
    assert ours.token_ids == whole.generate(TEXT, GREEDY, max_new_tokens=6).finish().token_ids
    assert ours.rollout("decoder").shape == (len(ours.source) + 5,) * 2


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_that_packed_weights_are_smaller_and_run(dtype: str) -> None:
    pytest.importorskip("bitsandbytes")
    plain = explorer.load("en-gpt", device="cuda", dtype="float16").info.resident_bytes
    lm = explorer.load("en-gpt", device="cuda", dtype=dtype)
    assert lm.info.resident_bytes < plain
    assert lm.generate("The cat").finish(max_new_tokens=4).token_ids
