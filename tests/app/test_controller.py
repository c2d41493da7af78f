"""From a keystroke to a result, on the bundled model and the real worker."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot
from safetensors.torch import load_file, save_file
from transformers import MarianMTModel

import explorer
from explorer.app.controller import Controller, ModelOptions
from explorer.app.engine import Engine
from explorer.app.state import AppState
from explorer.app.worker import Task
from explorer.core.model_facts import LoadRequest
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.resources import resources_folder
from tests.model import checkpoints


def bundled(name: str) -> Path:
    return resources_folder() / "models" / name


SENTENCE = "J'aime l'apprentissage automatique."
TIMEOUT_MS = 60_000


@pytest.fixture
def controller(state: AppState) -> Iterator[Controller]:
    controller = Controller(state, ModelOptions(device="cpu"))
    yield controller
    controller.shut_down()


def settle(qtbot: QtBot, controller: Controller) -> None:
    """Wait until nothing is going on or about to."""
    if not controller.idle:
        with qtbot.waitSignal(controller.settled, timeout=TIMEOUT_MS):
            pass


def begin(qtbot: QtBot, state: AppState, controller: Controller, text: str = SENTENCE) -> None:
    state.set_source_text(text)
    controller.load("fr-en")
    settle(qtbot, controller)


def test_that_a_loaded_model_tokenizes_encodes_and_computes_its_cloud(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    assert state.model is not None
    assert state.model.name == "fr-en"
    assert state.source is not None
    assert [token.piece for token in state.source.tokens][-1] == "</s>"
    assert state.run is not None
    assert (len(state.run.steps), state.run.encoder_shape) == (0, (7, 256))
    assert state.cloud is not None
    assert state.cloud.coordinates.shape[0] == 8000
    assert state.notice is None
    assert state.activity is None


def test_that_stepping_to_the_end_translates_and_the_maps_follow(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    for count in range(1, 7):
        state.step_requested.emit()
        settle(qtbot, controller)
        assert state.run is not None
        assert len(state.run.steps) == count
        assert state.attention is not None
        assert state.attention.weights.shape == (count, 7)
    assert state.run is not None
    assert state.run.text == "I love machine learning."
    assert state.run.finished
    expected = explorer.load("fr-en", device="cpu").generate(SENTENCE).finish().attention("cross", 2, 0)
    assert state.attention is not None
    np.testing.assert_allclose(state.attention.weights, expected, atol=1e-6)


def test_that_quick_clicks_on_step_are_all_taken(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    for _ in range(4):
        state.step_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.text == "I love machine learning"


def test_that_back_takes_the_last_token_away_and_step_brings_it_again(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    for _ in range(3):
        state.back_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.text == "I love machine"
    assert state.viewed_step == 2
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run.text == "I love machine learning."


def test_that_only_the_newest_text_lands(qtbot: QtBot, state: AppState, controller: Controller) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    for text in ("Je", "Je ne", "Je ne sais", "Je ne sais pas."):
        state.set_source_text(text)
        assert state.stale
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.source.text == "Je ne sais pas."
    assert state.run.steps == ()
    assert not state.stale


def test_that_a_step_right_after_typing_runs_on_the_typed_text(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.set_source_text("Merci.")
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.source.text == "Merci."
    assert state.run.finished


@pytest.mark.parametrize("text", ["", "   "])
def test_that_a_step_on_empty_text_says_so_and_keeps_the_run(
    qtbot: QtBot, state: AppState, controller: Controller, text: str
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    state.set_source_text(text)
    state.step_requested.emit()
    settle(qtbot, controller)
    assert state.notice is not None
    assert state.notice.text.startswith("The text is empty")
    assert state.run is not None
    assert state.run.text == "I love machine learning."
    assert state.stale


def test_that_a_model_that_cannot_be_loaded_leaves_the_one_in_force(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: object
) -> None:
    begin(qtbot, state, controller)
    state.model_requested.emit(str(tmp_path))
    settle(qtbot, controller)
    assert state.notice is not None
    assert "holds no model" in state.notice.text
    assert "Traceback" in state.notice.details
    assert state.model is not None
    assert state.model.name == "fr-en"
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.text == "I love machine learning."


def test_that_opening_another_head_reads_its_map(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    state.set_head(HeadRef("encoder", 1, 3))
    settle(qtbot, controller)
    assert state.attention is not None
    assert state.attention.head == HeadRef("encoder", 1, 3)
    assert state.attention.weights.shape == (7, 7)
    assert state.overview is not None
    assert state.overview.kind == "encoder"


def test_that_a_selected_pair_is_compared_in_the_full_space(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    settle(qtbot, controller)
    assert state.pair is not None
    rows = explorer.load("fr-en", device="cpu").embedding.weight.detach().double().numpy()
    a, b = rows[state.pair.token_ids[0]], rows[state.pair.token_ids[1]]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert state.pair.cosine == pytest.approx(cosine, abs=1e-6)
    assert state.pair.angle_degrees == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-4)


def test_that_forcing_a_token_branches_at_the_viewed_step(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    state.set_viewed_step(1)
    assert state.step is not None
    other = state.step.best[1][0]
    state.force_requested.emit(other)
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.token_ids[1] == other
    assert state.run.steps[1].forced
    assert len(state.run.steps) == 2
    # What had been generated before stays, as a branch of its own.
    first, second = state.run.tree.ends
    assert second == state.run.tree.current
    assert [state.run.tree.nodes[node].step.token.text for node in state.run.tree.path(first)][:2] == [
        "I",
        "love",
    ]


def test_that_the_engine_goes_to_any_node_and_names_it(qtbot: QtBot) -> None:
    engine, task = Engine(), Task(lambda *_: None, lambda _: None)
    engine.load(LoadRequest("fr-en", device="cpu"), task)
    engine.begin(1, SENTENCE, GREEDY, None, task)
    whole = engine.step_on(GREEDY, None, task).run
    while not whole.finished:
        whole = engine.step_on(GREEDY, None, task).run
    head = HeadRef("cross", 2, 7)
    update = engine.go_to(whole.nodes[1], GREEDY, head, task)
    assert update.run.token_ids == whole.token_ids[:2]
    assert update.attention is not None
    assert update.attention.weights.shape == (2, len(whole.source))
    branch = engine.step(GREEDY, head, task, force=99, at=whole.nodes[0]).run
    assert branch.token_ids == (whole.token_ids[0], 99)
    assert engine.name_branch(branch.tree.current, "ninety-nine").run.tree.names == {
        branch.tree.current: "ninety-nine"
    }
    assert engine.go_to(whole.nodes[-1], GREEDY, head, task).run.text == whole.text


def test_that_the_engine_searches_and_says_how_far_it_is(qtbot: QtBot) -> None:
    engine, task = Engine(), Task(lambda *_: None, lambda _: None)
    engine.load(LoadRequest("fr-en", device="cpu"), task)
    engine.begin(7, SENTENCE, GREEDY, None, task)
    said: list[str] = []
    task.report = said.append
    head = HeadRef("cross", 2, 7)
    found, update = engine.beam_search(4, GREEDY, head, task, max_new_tokens=20)
    assert said[0] == "Searching with 4 beams: step 1 of at most 20 …"
    assert said[-1].startswith("Ranking")
    assert len(said) == len(found.steps) + 1
    # What views ask of every hypothesis is known before it crosses.
    shown = [node for step in found.steps for node in (*step.nodes, *step.ended)]
    assert all("best" in vars(update.run.tree.nodes[node].step) for node in shown)
    assert (found.run_id, found.width) == (7, 4)
    assert update.run.tree.current == found.hypotheses[0].node
    assert update.run.token_ids == found.hypotheses[0].token_ids
    assert update.attention is not None
    assert update.attention.weights.shape == (len(update.run.steps), len(update.run.source))
    worst = engine.go_to(found.hypotheses[-1].node, GREEDY, head, task)
    assert worst.run.text == found.hypotheses[-1].text


def test_that_the_engine_looks_into_the_steps_on_show(qtbot: QtBot) -> None:
    engine, task = Engine(), Task(lambda *_: None, lambda _: None)
    assert engine.inside(task) is None
    engine.load(LoadRequest("fr-en", device="cpu"), task)
    engine.begin(7, SENTENCE, GREEDY, None, task)
    run = engine.step_on(GREEDY, None, task).run
    while not run.finished:
        run = engine.step_on(GREEDY, None, task).run
    reading = engine.inside(task, top=3)
    assert reading is not None
    assert (reading.run_id, reading.nodes) == (7, run.nodes)
    assert len(reading.sublayers) == 3 * 3
    assert reading.lens is not None
    assert reading.lens.top_ids.shape == (len(run.steps), 4, 3)
    assert tuple(reading.lens.top_ids[:, -1, 0]) == run.token_ids


def test_that_a_step_that_fails_leaves_the_run_to_go_on_with(
    qtbot: QtBot, state: AppState, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(qtbot, state, controller)
    state.step_requested.emit()
    settle(qtbot, controller)
    forward = MarianMTModel.forward

    def spoiled(*args: Any, **named: Any) -> Any:
        outputs = forward(*args, **named)
        outputs.logits = torch.full_like(outputs.logits, float("nan"))
        return outputs

    with monkeypatch.context() as patch:
        patch.setattr(MarianMTModel, "forward", spoiled)
        state.step_requested.emit()
        settle(qtbot, controller)
    assert state.notice is not None
    assert "NaN" in state.notice.text
    assert state.run is not None
    run_id = state.run.run_id
    state.back_requested.emit()
    settle(qtbot, controller)
    assert (state.run.run_id, len(state.run.steps)) == (run_id, 0)
    state.force_requested.emit(99)
    settle(qtbot, controller)
    assert state.run.token_ids == (99,)


def test_that_steps_use_the_settings_in_force(qtbot: QtBot, state: AppState, controller: Controller) -> None:
    params = SamplingParams(temperature=1.4, top_k=30, seed=6)
    state.set_sampling(params)
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    expected = explorer.load("fr-en", device="cpu").generate(SENTENCE, params).finish()
    assert state.run is not None
    assert list(state.run.token_ids) == expected.token_ids


def test_that_the_worker_ends_at_once_in_the_middle_of_a_run(qtbot: QtBot, state: AppState) -> None:
    controller = Controller(state, ModelOptions(device="cpu"))
    begin(qtbot, state, controller, "Je ne sais pas ce que tu veux dire. " * 6)
    state.finish_requested.emit()
    qtbot.wait(30)
    controller.shut_down()
    assert controller.idle


def test_that_a_selected_cell_is_looked_into_and_follows_the_head(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.finish_requested.emit()
    settle(qtbot, controller)
    state.set_selection(Selection(TokenRef("generated", 3), TokenRef("source", 3)))
    settle(qtbot, controller)
    assert state.cell is not None
    assert (state.cell.row, state.cell.column) == (3, 3)
    state.set_head(HeadRef("cross", 2, 7))
    settle(qtbot, controller)
    assert state.cell is not None
    assert state.attention is not None
    assert state.cell.weight == pytest.approx(float(state.attention.weights[3, 3]), abs=1e-6)
    state.set_head(HeadRef("encoder", 0, 0))
    settle(qtbot, controller)
    assert state.cell is None
    state.back_requested.emit()
    settle(qtbot, controller)
    assert state.notice is None


def test_that_the_mean_and_the_rollout_follow_the_run_and_the_layer(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.set_head(HeadRef("decoder", 2, 0))
    state.set_summary("rollout")
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.attention is not None
    assert state.attention.title == "decoder · rollout · layers 0–2"
    assert state.attention.weights.shape == (len(state.run.steps),) * 2
    state.set_head(HeadRef("decoder", 1, 0))
    settle(qtbot, controller)
    assert state.attention.title == "decoder · rollout · layers 0–1"
    state.set_head(HeadRef("cross", 1, 0))
    settle(qtbot, controller)
    assert (state.summary, state.attention.title) == ("head", "cross · layer 1 · head 0")
    state.set_summary("mean")
    settle(qtbot, controller)
    assert state.attention.title == "cross · mean of 8 heads · layer 1"


def test_that_marked_heads_are_read_whole_and_follow_the_run(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller)
    state.set_head(HeadRef("encoder", 1, 2))
    state.mark_heads(((1, 2), (0, 5)))
    settle(qtbot, controller)
    assert state.run is not None
    assert [one.head for one in state.marked.maps] == [HeadRef("encoder", 1, 2), HeadRef("encoder", 0, 5)]
    assert state.marked.run is state.run
    state.set_head(HeadRef("decoder", 0, 0))
    assert state.marked.places == ()
    assert state.marked.maps == ()
    state.mark_heads(((0, 0), (1, 1), (2, 2)))
    state.finish_requested.emit()
    settle(qtbot, controller)
    rows = len(state.run.steps)
    assert [one.weights.shape for one in state.marked.maps] == [(rows, rows)] * 3
    state.set_summary("chosen")
    settle(qtbot, controller)
    assert state.attention is not None
    assert state.attention.title == "decoder · mean of 3 heads · 0·0, 1·1, 2·2"
    mean = np.mean([one.weights for one in state.marked.maps], axis=0)
    np.testing.assert_allclose(state.attention.weights, mean, atol=1e-6)
    state.mark_heads(((0, 0), (1, 1)))
    settle(qtbot, controller)
    assert state.attention.title == "decoder · mean of 2 heads · 0·0, 1·1"
    state.back_requested.emit()
    settle(qtbot, controller)
    assert state.attention.weights.shape == (rows - 1, rows - 1)
    state.mark_heads(())
    settle(qtbot, controller)
    assert (state.summary, state.attention.title) == ("head", "decoder · layer 0 · head 0")


def test_that_thumbnails_are_pooled_as_asked_for_from_then_on(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    state.set_source_text("J'aime les longues promenades. " * 15)
    begin(qtbot, state, controller, text=state.source_text)
    state.set_head(HeadRef("encoder", 0, 0))
    settle(qtbot, controller)
    assert state.overview is not None
    assert state.overview.pooling == "max"
    state.set_pooling("mean")
    settle(qtbot, controller)
    assert state.overview.pooling == "mean"
    state.step_requested.emit()
    settle(qtbot, controller)
    assert state.overview.pooling == "mean"


def test_that_all_maps_are_written_and_that_is_said(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    begin(qtbot, state, controller)
    state.set_head(HeadRef("encoder", 2, 3))
    settle(qtbot, controller)
    assert state.attention is not None
    state.all_maps_requested.emit(tmp_path / "all.npz", "npz")
    settle(qtbot, controller)
    with np.load(tmp_path / "all.npz") as written:
        np.testing.assert_array_equal(written["weights"][2, 3], state.attention.weights)
    assert state.notice is not None
    assert state.notice.text.endswith("3 × 8 encoder maps of 7 × 7.")
    state.all_maps_requested.emit(tmp_path / "none" / "all.npz", "npz")
    settle(qtbot, controller)
    assert state.notice.error


def test_that_position_encodings_come_from_the_model_when_asked_for(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    state.vectors.positions_requested.emit()
    assert state.vectors.positions is None
    begin(qtbot, state, controller)
    state.vectors.positions_requested.emit()
    settle(qtbot, controller)
    assert state.vectors.positions is not None
    assert [(one.kind, one.stack) for one in state.vectors.positions] == [
        ("sinusoidal", "encoder"),
        ("sinusoidal", "decoder"),
    ]
    state.set_model(None)
    assert state.vectors.positions is None


def test_that_damaged_vectors_are_said_where_they_would_stand(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(bundled("fr-en"), folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.shape[0] == 8000)
    tensors[name][5, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    state.model_requested.emit(str(folder))
    settle(qtbot, controller)
    assert "not finite" in state.cloud_problem
    assert state.cloud is None
    assert state.notice is not None
    state.model_requested.emit("fr-en")
    settle(qtbot, controller)
    assert state.cloud_problem == ""
    assert state.cloud is not None


def test_that_what_a_person_should_know_of_a_model_is_said_when_it_is_loaded(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    state.set_source_text(checkpoints.TEXT)
    folder = checkpoints.save(checkpoints.EAGER_DECODERS["bloom"], tmp_path, eos=False)
    state.model_requested.emit(str(folder))
    settle(qtbot, controller)
    assert state.notice is not None
    assert not state.notice.error
    assert "Attention runs eagerly" in state.notice.text
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.attention is not None
    assert state.overview is not None
    state.set_selection(Selection(TokenRef("source", 1), TokenRef("source", 0)))
    settle(qtbot, controller)
    assert state.cell is None
