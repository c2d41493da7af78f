"""The one worker: what is asked of it, given up, and answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.worker import Task, Worker


@pytest.fixture
def worker(qapp: QApplication) -> Iterator[Worker]:
    worker = Worker(object())
    # As the controller does: what was cancelled is not answered.
    worker.task_succeeded.connect(lambda task, result: task.cancelled.is_set() or task.done(result))
    yield worker
    worker.stop()
    worker.deleteLater()


def test_that_a_result_on_its_way_is_not_answered_once_everything_is_cancelled(
    worker: Worker, qtbot: QtBot
) -> None:
    answers: list[str] = []
    ended = threading.Event()
    worker.submit(Task(lambda engine, task: "old", answers.append))
    worker.submit(Task(lambda engine, task: "kept", answers.append, slot="kept"))
    worker.submit(Task(lambda engine, task: ended.set(), lambda _: None))
    assert ended.wait(10)  # the event loop has not run: all that was computed waits to be answered
    assert not worker.idle
    worker.cancel_all(but=frozenset({"kept"}))
    qtbot.waitUntil(lambda: worker.idle)
    assert answers == ["kept"]


def test_that_cancelling_a_slot_leaves_the_others(worker: Worker, qtbot: QtBot) -> None:
    answers: list[int] = []
    gate = threading.Event()
    worker.submit(Task(lambda engine, task: gate.wait(10), lambda _: None))
    for number, slot in enumerate(("a", "b", None)):
        worker.submit(Task(lambda engine, task, number=number: number, answers.append, slot=slot))
    worker.cancel_slot("b")
    gate.set()
    with qtbot.waitSignal(worker.drained):
        pass
    assert answers == [0, 2]


def test_that_a_newer_task_of_a_slot_replaces_the_one_that_waits(worker: Worker, qtbot: QtBot) -> None:
    answers: list[str] = []
    gate = threading.Event()
    worker.submit(Task(lambda engine, task: gate.wait(10), lambda _: None))
    worker.submit(Task(lambda engine, task: "old", answers.append, slot="map"))
    worker.submit(Task(lambda engine, task: "new", answers.append, slot="map"))
    gate.set()
    qtbot.waitUntil(lambda: worker.idle)
    assert answers == ["new"]
