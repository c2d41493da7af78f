"""The model dialog on made-up states: what it shows, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from explorer.app.model_state import Looked, Refusal, Surroundings
from explorer.app.state import AppState
from explorer.core.devices import Device, PrecisionChoice
from explorer.core.model_facts import DownloadProgress, LoadRequest, MemoryReading, ModelFacts
from explorer.panels.bars.model_badge import ModelBadge
from explorer.panels.models.model_dialog import ModelDialog
from explorer.theme import Theme
from tests import support

GB = 10**9
CHOICES = tuple(PrecisionChoice(name, "") for name in ("auto", "float32", "bfloat16", "float16"))
LACKING = tuple(PrecisionChoice(name, "bitsandbytes is not installed") for name in ("int8", "int4"))
CPU = Device("cpu", "CPU, 8 cores", 10 * GB, 16 * GB)
GPU = Device("cuda:0", "NVIDIA T4", 4 * GB, 15 * GB)
MACHINE = Surroundings((GPU, CPU), {"cpu": CHOICES + LACKING, "cuda": CHOICES + LACKING}, "")
FACTS = ModelFacts(
    name="some/model",
    place="hub",
    family="decoder-only",
    architecture="LlamaForCausalLM",
    parameters=1_500_000_000,
    layers={"decoder": 24},
    heads={"decoder": 16},
    key_heads={"decoder": 4},
    vocabulary_size=32_000,
    hidden_size=2048,
    context_length=4096,
    licence="apache-2.0",
    own_dtype="bfloat16",
    download_bytes=3 * GB,
    bytes_by_dtype={"float32": 6 * GB, "bfloat16": 3 * GB, "float16": 3 * GB},
)


@pytest.fixture
def dialog(qtbot: QtBot, state: AppState, theme: Theme) -> ModelDialog:
    dialog = ModelDialog(state, theme, ("en-gpt", "fr-en"))
    qtbot.addWidget(dialog)
    dialog.set_recent(["/models/mine", "gpt2", "fr-en"])
    return dialog


@pytest.fixture
def asked(state: AppState) -> list[LoadRequest]:
    """What was asked to be loaded."""
    requests: list[LoadRequest] = []
    state.models.load_requested.connect(requests.append)
    return requests


def shown(dialog: ModelDialog, qtbot: QtBot) -> ModelDialog:
    dialog.show()
    qtbot.waitExposed(dialog)
    return dialog


def look(state: AppState, dialog: ModelDialog, facts: ModelFacts = FACTS) -> None:
    state.models.set_surroundings(MACHINE)
    dialog.choose(facts.name)
    state.models.set_looked(Looked(facts.name, facts))


def names(dialog: ModelDialog) -> list[str]:
    return [dialog.list.entry(row).name for row in range(dialog.list.count())]


def test_that_bundled_recent_cached_and_hub_models_are_listed_once(
    state: AppState, dialog: ModelDialog
) -> None:
    cached = ("gpt2", "google-bert/bert-base-uncased")
    state.models.set_surroundings(replace(MACHINE, cached=cached))
    listed = [name for name in names(dialog) if name]
    assert listed[:4] == ["en-gpt", "fr-en", "/models/mine", "gpt2"]
    assert listed[4] == "google-bert/bert-base-uncased"
    assert len(listed) == len(set(listed))
    assert {"google/flan-t5-small", "Qwen/Qwen3-0.6B", "answerdotai/ModernBERT-base"} <= set(listed)


def test_that_opening_it_looks_at_the_machine_and_at_the_model_in_force(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    support.fill(state)
    looked: list[str] = []
    state.models.look_requested.connect(looked.append)
    with qtbot.waitSignal(state.models.surroundings_requested):
        shown(dialog, qtbot)
    assert looked == ["fr-en"]
    assert dialog.list.current_name() == "fr-en"


def test_that_the_facts_are_told_before_anything_is_fetched(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    facts = dialog.facts.texts()
    assert facts["Family"] == "decoder-only"
    assert facts["Parameters"] == "1,500,000,000 (1.5 B), stored as bfloat16"
    assert facts["Decoder attention"] == "24 layers x 16 heads in 4 key-value groups"
    assert facts["Context"] == "4,096 tokens"
    assert facts["Licence"] == "apache-2.0"
    assert facts["To download"] == "3.0 GB"
    assert facts["Occupies"] == "6.0 GB as float32, 3.0 GB as bfloat16 or float16"
    assert dialog.load_button.text() == "Download 3.0 GB and load"


@pytest.mark.parametrize(
    ("device", "dtype", "says", "enabled"),
    [
        ("cuda:0", "auto", "Fits: needs 3.0 GB of the 4.0 GB", True),
        ("cuda:0", "float32", "Does not fit: needs 6.0 GB of the 4.0 GB", False),
        ("cpu", "auto", "Fits: needs 6.0 GB of the 10 GB", True),
    ],
)
def test_that_device_and_dtype_decide_whether_it_fits(
    qtbot: QtBot,
    state: AppState,
    dialog: ModelDialog,
    asked: list[LoadRequest],
    device: str,
    dtype: str,
    says: str,
    enabled: bool,
) -> None:
    look(state, shown(dialog, qtbot))
    for chooser, value in ((dialog.options.device, device), (dialog.options.dtype, dtype)):
        chooser.setCurrentIndex(chooser.findData(value))
        chooser.activated.emit(chooser.currentIndex())
    assert dialog.options.verdict.text().startswith(says)
    assert dialog.load_button.isEnabled() == enabled
    qtbot.mouseClick(dialog.load_button, Qt.MouseButton.LeftButton)
    assert asked == ([LoadRequest("some/model", device, dtype)] if enabled else [])


def test_that_what_fits_only_in_the_place_of_the_model_in_force_says_so(
    qtbot: QtBot, state: AppState, dialog: ModelDialog, asked: list[LoadRequest]
) -> None:
    state.set_model(replace(support.make_model(), placement={"cuda:0": 3 * GB}))
    look(state, shown(dialog, qtbot), replace(FACTS, place="cache", download_bytes=0))
    dialog.options.dtype.setCurrentIndex(dialog.options.dtype.findData("float32"))
    dialog.options.dtype.activated.emit(1)
    assert "Fits only in the place of fr-en" in dialog.options.verdict.text()
    assert dialog.load_button.text() == "Unload fr-en and load"
    dialog.load_button.click()
    assert asked[0].unload_first


def test_that_a_dtype_that_cannot_be_had_says_why_and_cannot_be_chosen(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    row = dialog.options.dtype.findData("int8")
    assert "bitsandbytes is not installed" in dialog.options.dtype.itemText(row)
    assert not dialog.options.dtype.model().item(row).isEnabled()


def test_that_pickles_take_a_tick_with_a_warning(
    qtbot: QtBot, state: AppState, dialog: ModelDialog, asked: list[LoadRequest]
) -> None:
    look(state, shown(dialog, qtbot))
    assert not dialog.options.pickle.isVisible()
    look(state, dialog, replace(FACTS, name="old/model", pickled=True))
    assert dialog.options.pickle.isVisible()
    assert "can run code" in dialog.options.verdict.text()
    assert not dialog.load_button.isEnabled()
    dialog.options.pickle.click()
    assert dialog.load_button.isEnabled()
    dialog.load_button.click()
    assert asked[0].allow_pickle
    look(state, dialog, replace(FACTS, name="new/model"))
    dialog.load_button.click()
    assert not asked[1].allow_pickle, "a permission is for the pickled model alone"


def test_that_a_refusal_stands_beside_the_model_and_the_next_look_takes_it_away(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    dialog.load_button.click()
    state.models.set_refusal(Refusal(LoadRequest("some/model"), "It does not work."))
    assert dialog.problem.text() == "It does not work."
    state.set_model(support.make_model())
    assert dialog.isVisible(), "another model that comes later is no reason to close"
    dialog.choose("fr-en")
    assert "does not work" not in dialog.problem.text()


def test_that_a_problem_with_a_model_is_told_in_place_of_facts(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    dialog.choose("bad/model")
    assert dialog.problem.text() == "Looking …"
    assert dialog.facts.texts() == {}
    state.models.set_looked(Looked("bad/model", problem="The hub has no model called that."))
    assert dialog.problem.text() == "The hub has no model called that."
    assert not dialog.load_button.isEnabled()


def test_that_an_answer_about_another_model_is_not_shown(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    dialog.choose("other/model")
    state.models.set_looked(Looked("some/model", FACTS))
    assert dialog.facts.texts() == {}
    assert not dialog.load_button.isEnabled()


def test_that_a_typed_name_is_looked_at_after_a_pause_and_enter_loads_it(
    qtbot: QtBot, state: AppState, dialog: ModelDialog, asked: list[LoadRequest]
) -> None:
    shown(dialog, qtbot)
    state.models.set_surroundings(MACHINE)
    looked: list[str] = []
    state.models.look_requested.connect(looked.append)
    dialog.name_field.selectAll()
    qtbot.keyClicks(dialog.name_field, "some/model")
    assert looked == []
    qtbot.waitUntil(lambda: looked == ["some/model"])
    state.models.set_looked(Looked("some/model", FACTS))
    qtbot.keyClick(dialog.name_field, Qt.Key.Key_Return)
    assert [request.name for request in asked] == ["some/model"]


def test_that_progress_speed_and_stop_are_there_while_it_downloads(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    assert not dialog.stop_button.isVisible()
    state.models.set_loading(LoadRequest("some/model"))
    assert dialog.progress_text.text() == "Loading some/model …"
    assert not dialog.load_button.isEnabled()
    state.models.set_download(DownloadProgress("some/model", "model.safetensors", GB, 4 * GB, 5e7))
    assert dialog.progress_text.text() == "model.safetensors: 1.0 GB of 4.0 GB, 50 MB/s, 60 s left"
    assert dialog.progress.value() == 250
    with qtbot.waitSignal(state.models.cancel_requested):
        qtbot.mouseClick(dialog.stop_button, Qt.MouseButton.LeftButton)
    state.models.set_loading(None)
    state.models.set_download(None)
    assert not dialog.progress.isVisible()
    assert not dialog.stop_button.isVisible()


def test_that_offline_is_named_and_what_is_there_stays_offered(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    shown(dialog, qtbot)
    state.models.set_surroundings(replace(MACHINE, offline="offline: huggingface.co cannot be reached"))
    assert dialog.offline.isVisible()
    assert dialog.offline.text().startswith("Offline: huggingface.co cannot be reached.")
    state.models.set_surroundings(MACHINE)
    assert not dialog.offline.isVisible()


def test_that_it_closes_only_when_the_model_that_it_asked_for_is_there(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    state.set_model(support.make_model())
    assert dialog.isVisible()
    dialog.load_button.click()
    state.set_model(replace(support.make_model(), name="some/model"))
    assert not dialog.isVisible()


def test_that_a_chosen_model_survives_new_readings_of_the_machine(
    qtbot: QtBot, state: AppState, dialog: ModelDialog
) -> None:
    look(state, shown(dialog, qtbot))
    dialog.choose("en-gpt")
    dialog.options.device.setCurrentIndex(dialog.options.device.findData("cpu"))
    dialog.options.device.activated.emit(1)
    state.models.set_surroundings(replace(MACHINE, devices=(GPU, replace(CPU, free_bytes=GB))))
    assert dialog.options.chosen_device() == "cpu"
    assert dialog.list.current_name() == dialog.name() == "en-gpt"


@pytest.mark.parametrize("scale", [1.0, 1.35, 2.5])
def test_that_nothing_is_wider_than_a_small_projector(
    qtbot: QtBot, state: AppState, dialog: ModelDialog, theme: Theme, scale: float
) -> None:
    theme.set_scale(scale)
    look(state, shown(dialog, qtbot))
    assert dialog.sizeHint().width() <= dialog.screen().availableSize().width()
    if scale < 2:
        assert dialog.minimumSizeHint().width() <= 1366


# -- the badge -------------------------------------------------------------------------------------


@pytest.fixture
def badge(qtbot: QtBot, state: AppState, theme: Theme) -> ModelBadge:
    badge = ModelBadge(state, theme)
    qtbot.addWidget(badge)
    return badge


def choose(badge: ModelBadge) -> Callable[[str], None]:
    def press(text: str) -> None:
        (action,) = [a for a in badge.menu_now().actions() if a.text().startswith(text)]
        assert action.isEnabled()
        action.trigger()

    return press


def test_that_the_badge_counts_what_the_run_holds(state: AppState, badge: ModelBadge) -> None:
    support.fill(state)
    assert badge.text() == "cpu · float32 · 7.6 M · 31 MB resident ▾"
    state.models.set_memory(MemoryReading("cpu", 30_560_000, 60_000_000, 10_000_000, 900_000_000, GB))
    assert badge.text() == "cpu · float32 · 7.6 M · 101 MB resident ▾"
    for line in ("key-value cache: 60 MB", "captured queries and keys: 10 MB", "free: 1.0 GB"):
        assert line in badge.toolTip()
    assert "peak of the whole program: 900 MB" in badge.toolTip()


def test_that_the_badge_moves_and_converts_the_model(
    state: AppState, badge: ModelBadge, asked: list[LoadRequest]
) -> None:
    state.set_model(support.make_model())
    state.models.set_surroundings(MACHINE)
    choose(badge)("as bfloat16")
    choose(badge)("on cuda:0")
    choose(badge)("as float32")  # what it is already
    assert asked == [LoadRequest("fr-en", "cpu", "bfloat16"), LoadRequest("fr-en", "cuda:0", "float32")]
    (lacking,) = [a for a in badge.menu_now().actions() if a.text() == "as int8"]
    assert not lacking.isEnabled()
    assert "bitsandbytes" in lacking.toolTip()


def test_that_a_spread_model_shows_what_is_where(state: AppState, badge: ModelBadge) -> None:
    placement = {"cuda:0": 2 * GB, "cpu": GB}
    state.set_model(replace(support.make_model(), device="cuda:0", placement=placement))
    assert badge.text().startswith("2 devices · ")
    assert "weights: 2.0 GB on cuda:0" in badge.toolTip()
    assert "weights: 1.0 GB on cpu" in badge.toolTip()
