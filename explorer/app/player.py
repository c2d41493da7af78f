"""Plays a run: one step after another at a chosen speed, slowly enough also from layer to layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from explorer.core.moments import Moment, outcome, step_moments

if TYPE_CHECKING:
    from explorer.app.state import AppState

_TICK_MS = 1000


class Player(QObject):
    """Steps on by itself while `GenerationState.playing`; lives on the GUI thread, with its one timer.

    Steps that are there already are shown again without the model; after them one step at a time is
    asked for, and the next only when it has come: a slow model is waited for, never pressed. What
    ends the run, or goes wrong, ends the playing.
    """

    def __init__(self, state: AppState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._generation = state.generation
        # Run ID and steps when a step was asked for; None while none is on its way.
        self._asked: tuple[int, int] | None = None
        # A step came into view while the state was still telling of it: to be walked from its beginning.
        self._entering = False
        self._run_id: int | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._go_on)
        generation = state.generation
        generation.playing_changed.connect(self._on_playing_changed)
        generation.speed_changed.connect(self._on_speed_changed)
        generation.moment_move_requested.connect(self.move)
        state.run_changed.connect(self._on_run_changed)
        state.viewed_step_changed.connect(self._on_viewed_step_changed)
        state.activity_changed.connect(self._on_activity_changed)
        state.notice_changed.connect(self._on_notice_changed)
        typed = state.source_text_changed, state.languages.pair_changed
        for ended in (*typed, state.reset_requested, state.back_requested):
            ended.connect(lambda: generation.set_playing(False))
        state.model_requested.connect(lambda _name: generation.set_playing(False))

    # -- inside a step --------------------------------------------------------------------------

    def move(self, delta: int) -> None:
        """Stand ``delta`` moments on; past the end of a step at the next one's first, if it is there."""
        model, run, step = self._state.model, self._state.run, self._state.viewed_step
        if model is None or run is None or self._state.stale:
            return
        moments = step_moments(model, run, step)
        place = self._place(moments) + delta
        if 0 <= place < len(moments):
            self._generation.set_moment(moments[place])
        elif step is not None and 0 <= step + delta < len(run.steps):
            self._state.set_viewed_step(step + delta)
            beside = step_moments(model, run, step + delta)
            self._generation.set_moment(beside[0 if delta > 0 else -1])

    def _place(self, moments: tuple[Moment, ...]) -> int:
        model, run = self._state.model, self._state.run
        assert model is not None
        assert run is not None
        here = self._generation.moment or outcome(model, run, self._state.viewed_step)
        return moments.index(here) if here in moments else -1

    def _on_viewed_step_changed(self) -> None:
        self._generation.set_moment(None)

    # -- playing --------------------------------------------------------------------------------

    def _on_playing_changed(self) -> None:
        self._timer.stop()
        if not self._generation.playing:
            if self._asked is not None and self._generation.speed.steps_per_second is None:
                self._state.stop_requested.emit()
            self._asked, self._entering = None, False
            return
        if self._played_out():
            self._state.set_viewed_step(0)  # from the start again
            self._begin_step()
        else:
            self._go_on()

    def _played_out(self) -> bool:
        model, run, viewed = self._state.model, self._state.run, self._state.viewed_step
        if model is None or run is None or viewed is None or self._state.stale or not run.finished:
            return False
        moments = step_moments(model, run, viewed)
        walking = self._walks and self._generation.moment is not None
        return viewed == len(run.steps) - 1 and (not walking or self._place(moments) == len(moments) - 1)

    def _on_speed_changed(self) -> None:
        # Another speed begins at once; what the model is doing meanwhile is waited for as before.
        if self._generation.playing and self._asked is None:
            self._timer.start(0)

    def _go_on(self) -> None:
        """One more moment, or one more step."""
        model, run, viewed = self._state.model, self._state.run, self._state.viewed_step
        if not self._generation.playing or self._asked is not None or model is None:
            return
        if run is None or self._state.stale:
            self._ask()
            return
        if self._entering:
            self._begin_step()
            return
        moments = step_moments(model, run, viewed)
        place = self._place(moments)
        if self._walks and self._generation.moment is not None and 0 <= place < len(moments) - 1:
            self._generation.set_moment(moments[place + 1])
            self._timer.start(self._moment_ms(len(moments)))
        elif self._generation.speed.steps_per_second is None:
            self._ask()
        elif viewed is not None and viewed < len(run.steps) - 1:
            self._state.set_viewed_step(viewed + 1)
            self._begin_step()
        else:
            self._ask()

    @property
    def _walks(self) -> bool:
        return self._generation.speed.moment_ms is not None

    def _moment_ms(self, count: int) -> int:
        """How long a moment of a step with so many is stood at."""
        speed = self._generation.speed
        if speed.moment_ms or not speed.steps_per_second:
            return speed.moment_ms or 0
        return round(_TICK_MS / speed.steps_per_second / count)

    def _begin_step(self) -> None:
        """A step has come into view: walk through it, or stand at it for as long as the speed says."""
        model, run, speed = self._state.model, self._state.run, self._generation.speed
        self._entering = False
        if model is None or run is None:
            return
        if self._walks:
            moments = step_moments(model, run, self._state.viewed_step)
            self._generation.set_moment(moments[0])
            self._timer.start(self._moment_ms(len(moments)))
        else:
            self._timer.start(round(_TICK_MS / speed.steps_per_second) if speed.steps_per_second else 0)

    def _ask(self) -> None:
        run = self._state.run
        if run is not None and run.finished and not self._state.stale:
            self._generation.set_playing(False)
            if not run.steps:
                self._state.step_requested.emit()  # whoever answers says why there is nothing to play
            return
        self._asked = (-1, 0) if run is None else (run.run_id, len(run.steps))
        fastest = self._generation.speed.steps_per_second is None
        (self._state.finish_requested if fastest else self._state.step_requested).emit()

    def _on_run_changed(self) -> None:
        run = self._state.run
        if run is None or run.run_id != self._run_id:
            self._run_id = None if run is None else run.run_id
            self._generation.set_moment(None)
        if not self._generation.playing or self._asked is None or run is None:
            return
        run_id, count = self._asked
        if (not run.steps and not run.finished) or (run.run_id == run_id and len(run.steps) <= count):
            return
        if self._generation.speed.steps_per_second is None and not run.finished:
            return  # the controller goes on by itself; the end, or a stop, is what is waited for
        self._asked = None
        if run.finished and not self._walks:
            self._generation.set_playing(False)
        else:
            self._entering = True
            self._timer.start(0)

    def _on_activity_changed(self) -> None:
        # The worker is idle and what was asked for has not come: it was stopped, or led elsewhere.
        if self._state.activity is None and self._asked is not None:
            self._asked = None
            self._generation.set_playing(False)

    def _on_notice_changed(self) -> None:
        if self._state.notice is not None and self._asked is not None:
            self._asked = None
            self._generation.set_playing(False)
