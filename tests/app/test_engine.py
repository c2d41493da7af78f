"""The worker's side alone: what it has in force is what the window was told of."""

from __future__ import annotations

import subprocess
import sys

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


PROGRAM = """
import gc, weakref
from explorer.app.engine import Engine
from explorer.app.worker import Task
from explorer.core.model_facts import LoadRequest
engine, task = Engine(), Task(lambda engine, task: None, lambda _: None)
engine.load(LoadRequest("en-gpt", "cpu"), task)
imported = gc.get_freeze_count()
first = weakref.ref(engine._lm.model)
engine.load(LoadRequest("en-mlm", "cpu"), task)
print(imported, gc.get_freeze_count(), first() is None)
"""


def test_that_what_is_imported_is_not_searched_for_garbage_but_models_are() -> None:
    # In a process of its own: here torch may have been imported, and models loaded, long ago.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    imported, after, is_gone = done.stdout.split()
    assert int(imported) > 100_000
    # Some go by themselves; none was added by the second model.
    assert int(imported) - 1000 < int(after) <= int(imported)
    assert is_gone == "True"
