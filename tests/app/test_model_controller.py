"""Models looked at, fetched, loaded and given up, on the real workers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PySide6.QtCore import QThread
from pytestqt.qtbot import QtBot

from explorer.app.controller import Controller, ModelOptions
from explorer.app.state import AppState
from explorer.core.model_facts import DownloadProgress, LoadRequest
from explorer.model import devices
from explorer.model.tokenizer import TextTokenizer
from tests.model import checkpoints, real_layouts
from tests.model.fake_hub import REPO, FakeHub, serve

TIMEOUT_MS = 60_000
SENTENCE = "J'aime l'apprentissage automatique."


@pytest.fixture
def controller(state: AppState) -> Iterator[Controller]:
    controller = Controller(state, ModelOptions(device="cpu"))
    yield controller
    controller.shut_down()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = checkpoints.save(lambda: checkpoints.marian(encoder_ffn_dim=15_000), tmp_path / "served")
    with serve(folder, tmp_path / "cache", monkeypatch) as fake:
        yield fake


def settle(qtbot: QtBot, controller: Controller) -> None:
    qtbot.waitUntil(lambda: controller.idle, timeout=TIMEOUT_MS)


def begin(qtbot: QtBot, state: AppState, controller: Controller) -> None:
    state.set_source_text(SENTENCE)
    controller.load("fr-en")
    settle(qtbot, controller)
    assert state.run is not None


# -- fetching --------------------------------------------------------------------------------------


def test_that_a_hub_model_is_fetched_with_progress_while_the_old_run_goes_on(
    qtbot: QtBot, state: AppState, controller: Controller, hub: FakeHub
) -> None:
    begin(qtbot, state, controller)
    hub.seconds_per_chunk = 0.02
    seen: list[DownloadProgress | None] = []
    state.models.download_changed.connect(lambda: seen.append(state.models.download))
    state.model_requested.emit(REPO)
    qtbot.waitUntil(lambda: len(seen) > 2, timeout=TIMEOUT_MS)
    assert state.model is not None
    assert state.model.name == "fr-en"
    assert state.activity is not None
    assert "Downloading" in state.activity.text
    assert state.activity.fraction is not None
    settle(qtbot, controller)
    assert state.model.name == REPO
    assert seen[-1] is None
    assert state.models.loading is None
    assert state.activity is None


def test_that_a_broken_off_download_leaves_the_model_in_force_and_goes_on_later(
    qtbot: QtBot, state: AppState, controller: Controller, hub: FakeHub
) -> None:
    begin(qtbot, state, controller)
    hub.seconds_per_chunk = 0.02
    state.model_requested.emit(REPO)
    qtbot.waitUntil(
        lambda: state.models.download is not None and state.models.download.fraction > 0.3, timeout=TIMEOUT_MS
    )
    state.models.cancel_requested.emit()
    assert state.models.loading is None
    assert state.notice is not None
    assert "broken off" in state.notice.text
    assert not state.notice.error
    settle(qtbot, controller)
    assert state.model is not None
    assert state.model.name == "fr-en"
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.finished
    hub.seconds_per_chunk = 0.0
    state.model_requested.emit(REPO)
    settle(qtbot, controller)
    assert state.model.name == REPO
    assert any(header for header in hub.sent("GET", "model.safetensors"))


def test_that_an_unknown_hub_model_is_a_notice_and_changes_nothing(
    qtbot: QtBot, state: AppState, controller: Controller, hub: FakeHub
) -> None:
    begin(qtbot, state, controller)
    run = state.run
    state.model_requested.emit("nobody/nothing")
    settle(qtbot, controller)
    assert state.notice is not None
    assert "has no model called" in state.notice.text
    assert state.models.refusal is not None
    assert state.models.refusal.request.name == "nobody/nothing"
    assert state.run is run


# -- looking ---------------------------------------------------------------------------------------


def test_that_models_are_looked_at_without_touching_the_one_in_force(
    qtbot: QtBot, state: AppState, controller: Controller, hub: FakeHub
) -> None:
    begin(qtbot, state, controller)
    for name, place in (("en-gpt", "bundled"), (REPO, "hub")):
        state.models.look_requested.emit(name)
        assert state.models.looked is not None
        assert state.models.looked.facts is None
        settle(qtbot, controller)
        assert state.models.looked.facts is not None
        assert state.models.looked.facts.place == place
    state.models.look_requested.emit("nobody/nothing")
    settle(qtbot, controller)
    assert "has no model called" in state.models.looked.problem
    assert state.notice is None
    assert state.model is not None
    assert state.model.name == "fr-en"


def test_that_only_the_last_one_looked_at_is_shown(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    for name in ("en-gpt", "en-mlm", "fr-en"):
        state.models.look_requested.emit(name)
    settle(qtbot, controller)
    assert state.models.looked is not None
    assert state.models.looked.name == "fr-en"


def test_that_devices_and_offline_are_told(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    state.models.surroundings_requested.emit()
    settle(qtbot, controller)
    surroundings = state.models.surroundings
    assert surroundings is not None
    assert surroundings.devices[-1].name == "cpu"
    assert "offline" in surroundings.offline
    assert [choice.name for choice in surroundings.precisions["cpu"]][:2] == ["auto", "float32"]


# -- loading -----------------------------------------------------------------------------------------


def test_that_dtype_can_be_changed_while_text_and_settings_stay(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    sampling = state.sampling
    state.models.load_requested.emit(LoadRequest("fr-en", device="cpu", dtype="bfloat16"))
    settle(qtbot, controller)
    assert state.model is not None
    assert state.model.dtype == "bfloat16"
    assert (state.source_text, state.sampling) == (SENTENCE, sampling)
    assert state.run is not None
    assert state.run.source.text == SENTENCE
    state.model_requested.emit("en-gpt")
    settle(qtbot, controller)
    assert (state.model.name, state.model.dtype) == ("en-gpt", "bfloat16"), "the choice stays for the next"


def test_that_what_is_to_be_known_of_a_model_is_said_when_it_is_there(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    folder = real_layouts.make("m2m100", tmp_path / "many")
    controller.load(str(folder))
    settle(qtbot, controller)
    assert state.notice is not None
    assert not state.notice.error
    assert "many reads the text as en; it is not told which language to write" in state.notice.text
    controller.load("fr-en")
    settle(qtbot, controller)
    assert state.model is not None
    assert state.model.notes == ()
    assert state.notice is None


def test_that_a_change_in_the_middle_of_a_run_ends_it_cleanly(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    state.models.load_requested.emit(LoadRequest("fr-en", device="cpu", dtype="float16"))
    settle(qtbot, controller)
    assert state.notice is None
    assert state.model is not None
    assert state.model.dtype == "float16"
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.finished


def test_that_a_model_that_does_not_fit_offers_to_unload_the_other_first(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(qtbot, state, controller)
    model = state.model
    assert model is not None
    # Room for a half of fr-en beside it: en-gpt needs more than that, and less than fr-en gives back.
    monkeypatch.setattr(devices, "free_bytes", lambda _: model.resident_bytes // 4)
    state.models.load_requested.emit(LoadRequest("en-gpt", device="cpu"))
    settle(qtbot, controller)
    refusal = state.models.refusal
    assert refusal is not None
    assert refusal.room_by_unloading
    assert "needs 17 MB" in refusal.text
    assert state.model is model
    monkeypatch.undo()
    state.models.load_requested.emit(LoadRequest("en-gpt", device="cpu", unload_first=True))
    settle(qtbot, controller)
    assert state.models.refusal is None
    assert state.model is not None
    assert state.model.name == "en-gpt"


def test_that_a_model_far_too_large_does_not_promise_room(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.load("en-gpt")
    settle(qtbot, controller)
    monkeypatch.setattr(devices, "free_bytes", lambda _: 1000)
    state.models.load_requested.emit(LoadRequest("fr-en", device="cpu"))
    settle(qtbot, controller)
    assert state.models.refusal is not None
    assert not state.models.refusal.room_by_unloading


def test_that_a_model_given_up_for_one_that_fails_comes_back(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    begin(qtbot, state, controller)
    state.models.load_requested.emit(LoadRequest("fr-en", device="cpu", dtype="bfloat16"))
    settle(qtbot, controller)
    names: list[str | None] = []
    state.model_changed.connect(lambda: names.append(state.model.name if state.model else None))
    state.models.load_requested.emit(LoadRequest(str(tmp_path), device="cpu", unload_first=True))
    settle(qtbot, controller)
    assert names == [None, "fr-en"]
    assert state.notice is not None
    assert "holds no model" in state.notice.text
    assert state.models.refusal is not None
    assert state.model is not None
    assert state.model.dtype == "bfloat16"
    assert state.run is not None
    assert state.run.source.text == SENTENCE


def test_that_the_tokenizer_is_used_by_one_thread_alone(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    for method in ("encode", "decode", "token", "encode_word"):
        original = getattr(TextTokenizer, method)

        def noted(*args: Any, original: Any = original) -> Any:
            threads.add(QThread.currentThread().objectName())
            return original(*args)

        monkeypatch.setattr(TextTokenizer, method, noted)
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    # Meanwhile another model is looked at, words are looked up, and the text is typed on.
    state.models.look_requested.emit("en-gpt")
    state.vectors.arithmetic_requested.emit("king - man + woman")
    settle(qtbot, controller)
    state.set_source_text("Merci beaucoup.")
    state.model_requested.emit("en-mlm")
    settle(qtbot, controller)
    assert threads == {"inference"}


# -- memory ------------------------------------------------------------------------------------------


def test_that_memory_tells_weights_cache_and_what_is_captured(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    qtbot.waitUntil(lambda: state.models.memory is not None and state.models.memory.cache > 0)
    settle(qtbot, controller)
    memory, run = state.models.memory, state.run
    assert memory is not None
    assert run is not None
    assert state.model is not None
    assert memory.weights == state.model.resident_bytes
    # Keys and values of three layers, 256 wide, float32: of the source once, of each decoded token once.
    positions = len(run.source) + len(run.start_tokens) + len(run.steps) - 1
    assert memory.cache == 2 * 3 * 256 * 4 * positions
    assert memory.captured > 0
    assert memory.peak > memory.weights
    assert memory.free > 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total ..."),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"
        ),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_that_a_lack_of_memory_in_a_step_says_so_and_the_program_goes_on(
    qtbot: QtBot,
    state: AppState,
    controller: Controller,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    begin(qtbot, state, controller)
    state.step_requested.emit()
    settle(qtbot, controller)
    from transformers.models.marian.modeling_marian import MarianDecoderLayer

    forward, calls = MarianDecoderLayer.forward, []

    def fail_in_the_second_layer(*args: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return forward(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MarianDecoderLayer, "forward", fail_in_the_second_layer)
        state.step_requested.emit()
        settle(qtbot, controller)
    assert state.run is not None
    assert len(state.run.steps) == 1, "the step that failed is not there, the one before is"
    assert state.notice is not None
    assert "The pass needed" in state.notice.text
    assert "fr-en is still loaded" in state.notice.text
    if isinstance(error, torch.OutOfMemoryError):
        assert "2.1 GB more" in state.notice.text
    assert error.__traceback__ is None, "its frames would keep the tensors of the pass"
    state.set_notice(None)
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.notice is None
    assert state.run is not None
    assert state.run.text == "I love machine learning."


def test_that_a_lack_of_memory_in_loading_keeps_the_model_in_force(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(qtbot, state, controller)
    from transformers import AutoModelForCausalLM

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    controller.load("en-gpt")
    settle(qtbot, controller)
    assert state.notice is not None
    assert "needs 17 MB" in state.notice.text
    assert state.model is not None
    assert state.model.name == "fr-en"
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.finished


def test_that_a_model_that_was_replaced_is_given_back_whole(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    from transformers import PreTrainedModel

    def loaded() -> int:
        gc.collect()
        # By type: asking some of torch's old names for their class is a warning.
        return sum(issubclass(type(thing), PreTrainedModel) for thing in gc.get_objects())

    begin(qtbot, state, controller)
    before = loaded()
    others = [str(checkpoints.save(checkpoints.ALL[kind], tmp_path / kind)) for kind in ("t5", "bert")]
    for name in (others[0], "fr-en", others[1], "fr-en"):
        controller.load(name)
        settle(qtbot, controller)
    assert loaded() == before
