"""The second worker's side: looks at models and fetches them, while the first goes on with its run.

Never touches the loaded model. What is slow to import is imported by the first task that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from explorer.app.model_state import Looked, Surroundings

if TYPE_CHECKING:
    from explorer.app.worker import Task


class Librarian:
    """One method per kind of task; every method is called on the library's own thread."""

    def surroundings(self) -> Surroundings:
        """The devices, what is free on them, and whether the hub can be reached (seconds at most)."""
        from explorer.model import devices, hub, network

        found = devices.devices()
        kinds = {device.name.split(":")[0] for device in found}
        precisions = {kind: devices.precision_choices(kind) for kind in kinds}
        return Surroundings(found, precisions, network.offline_reason(), hub.cached_models())

    def look(self, name: str) -> Looked:
        """Look at a model without loading it; what is wrong with it is part of the answer."""
        from explorer.model.inspection import inspect

        try:
            return Looked(name, inspect(name))
        except ValueError as error:  # a ModelError says what is wrong for a person
            return Looked(name, problem=str(error))

    def fetch(self, name: str, allow_pickle: bool, task: Task) -> Path:
        """See to it that a model is on this machine; its folder."""
        from explorer.model import hub

        return hub.resolve(name, allow_pickle=allow_pickle, report=task.report, cancelled=task.cancelled)
