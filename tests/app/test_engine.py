"""The worker's side alone: what it has in force is what the window was told of."""

from __future__ import annotations

import pytest

from explorer.app.engine import Engine
from explorer.app.worker import Task
from explorer.core.model_facts import LoadRequest
from explorer.model.errors import CancelledError


def test_that_a_load_that_nobody_waits_for_leaves_the_model_in_force() -> None:
    engine = Engine()
    task = Task(lambda engine, task: None, lambda _: None)
    engine.load(LoadRequest("en-mlm", "cpu"), task)
    task.cancel()
    with pytest.raises(CancelledError):
        engine.load(LoadRequest("fr-en", "cpu"), task)
    assert "[MASK]" in [token.piece for token in engine.tokenize("a [MASK]").tokens]
