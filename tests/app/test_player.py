from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtTest import QSignalSpy
from pytestqt.qtbot import QtBot

from explorer.app.generation_state import SPEEDS, Speed
from explorer.app.player import Player
from explorer.app.state import Activity, AppState, Notice
from explorer.core.moments import Moment, start_moments, step_moments
from tests.support import fill, make_model, make_run

FAST = Speed("quick", 1000.0)
WALK = Speed("walk", 0.0, 1)


@pytest.fixture
def player(state: AppState) -> Iterator[Player]:
    player = Player(state, state)
    yield player
    state.generation.set_playing(False)


def names(moments: tuple[Moment, ...]) -> list[str]:
    return [m.stage if m.layer is None else f"{m.stage} {m.layer}" for m in moments]


def test_that_the_first_step_holds_what_happens_once_and_the_last_the_text() -> None:
    model, run = make_model(), make_run(6)
    once = ["tokenize", "embed", "encoder 0", "encoder 1", "encoder 2", "start"]
    step = ["decoder 0", "decoder 1", "decoder 2", "logits", "softmax", "choose"]
    assert names(start_moments(model)) == once
    assert names(step_moments(model, run, 0)) == [*once, *step, "feed"]
    assert names(step_moments(model, run, 3)) == [*step, "feed"]
    assert names(step_moments(model, run, 5)) == [*step, "detokenize"]


def test_that_moving_inside_goes_through_a_step_and_on_to_the_next(player: Player, state: AppState) -> None:
    fill(state)
    state.set_viewed_step(1)
    player.move(1)
    assert state.generation.moment == Moment("feed")  # a step seen as a whole stands at its choice
    player.move(1)
    assert (state.viewed_step, state.generation.moment) == (2, Moment("decoder", 0))
    player.move(-1)
    assert (state.viewed_step, state.generation.moment) == (1, Moment("feed"))
    state.set_viewed_step(3)
    assert state.generation.moment is None


def test_that_steps_that_are_there_are_shown_again_before_the_model_is_asked(
    qtbot: QtBot, player: Player, state: AppState
) -> None:
    fill(state)
    state.set_viewed_step(0)
    asked = QSignalSpy(state.step_requested)
    seen: list[int | None] = []
    state.viewed_step_changed.connect(lambda: seen.append(state.viewed_step))
    state.generation.set_speed(FAST)
    state.generation.set_playing(True)
    qtbot.waitUntil(lambda: asked.count() == 1)
    assert seen == [1, 2, 3]
    qtbot.wait(30)
    assert asked.count() == 1  # a slow model is waited for
    state.set_run(make_run(5))
    qtbot.waitUntil(lambda: asked.count() == 2)
    state.set_run(make_run(6))
    assert not state.generation.playing  # the end of the run ends the playing
    assert asked.count() == 2


def test_that_a_run_that_has_ended_plays_from_its_start(
    qtbot: QtBot, player: Player, state: AppState
) -> None:
    fill(state, 6)
    asked = QSignalSpy(state.step_requested)
    seen: list[int | None] = []
    state.viewed_step_changed.connect(lambda: seen.append(state.viewed_step))
    state.generation.set_speed(FAST)
    state.generation.set_playing(True)
    qtbot.waitUntil(lambda: not state.generation.playing)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert asked.count() == 0


def test_that_slow_playing_walks_through_every_moment(qtbot: QtBot, player: Player, state: AppState) -> None:
    run = fill(state, 6)
    state.set_viewed_step(3)
    seen: list[tuple[int | None, Moment]] = []

    def note() -> None:
        if state.generation.moment is not None:
            seen.append((state.viewed_step, state.generation.moment))

    state.generation.moment_changed.connect(note)
    state.generation.set_speed(WALK)
    state.generation.set_playing(True)
    qtbot.waitUntil(lambda: not state.generation.playing)
    model = make_model()
    assert seen == [(step, m) for step in (4, 5) for m in step_moments(model, run, step)]


def test_that_a_steps_time_is_shared_among_its_moments(player: Player, state: AppState) -> None:
    fill(state, 6)
    state.set_viewed_step(2)
    state.generation.set_speed(Speed("half", 0.5, 0))
    state.generation.set_playing(True)
    assert (state.viewed_step, state.generation.moment) == (3, Moment("decoder", 0))
    assert player._timer.interval() == round(2000 / len(step_moments(make_model(), make_run(6), 3)))
    assert state.generation.playing


def test_that_a_step_of_the_model_is_walked_from_its_first_moment(
    qtbot: QtBot, player: Player, state: AppState
) -> None:
    fill(state, 2)
    state.generation.set_speed(Speed("walk", 0.0, 60_000))
    state.generation.set_playing(True)
    state.set_run(make_run(3))
    qtbot.waitUntil(lambda: state.generation.moment is not None)
    assert (state.viewed_step, state.generation.moment) == (2, Moment("decoder", 0))


def test_that_what_goes_wrong_or_leads_elsewhere_ends_the_playing(player: Player, state: AppState) -> None:
    fill(state, 2)
    state.generation.set_speed(FAST)
    for end in (
        lambda: state.set_notice(Notice("The logits hold NaN.")),
        lambda: state.set_source_text("Another text."),
        lambda: state.model_requested.emit("en-gpt"),
        lambda: state.back_requested.emit(),
    ):
        state.set_notice(None)
        state.set_source_text(make_run(2).source.text)
        state.generation.set_playing(True)
        assert state.generation.playing
        end()
        assert not state.generation.playing
    state.generation.set_playing(True)
    state.set_activity(Activity("Stepping …"))
    state.set_activity(None)  # the worker is idle, and no step has come of it
    assert not state.generation.playing


def test_that_the_fastest_speed_is_one_run_to_the_end(player: Player, state: AppState) -> None:
    fill(state, 2)
    finish, stop = QSignalSpy(state.finish_requested), QSignalSpy(state.stop_requested)
    state.generation.set_speed(SPEEDS[-1])
    state.generation.set_playing(True)
    state.set_run(make_run(4))
    assert state.generation.playing
    assert finish.count() == 1
    state.generation.set_playing(False)
    assert stop.count() == 1
