"""The part of the shared state that is about several heads at once: which ones, and their maps."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from explorer.core.records import AttentionMap, RunSnapshot
from explorer.core.selection import Place

MOST_SIDE_BY_SIDE = 4


class MarkedHeads(QObject):
    """Held by `AppState` as ``marked``: heads of the opened kind that a person put together.

    They are looked at side by side, or as their mean. Set on the GUI thread; one signal per field.
    """

    places_changed = Signal()
    maps_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._places: tuple[Place, ...] = ()
        self._run: RunSnapshot | None = None
        self._maps: tuple[AttentionMap, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """(layer, head) of each, in the order in which they were marked; none, or two and more."""
        return self._places

    def set_places(self, places: tuple[Place, ...]) -> None:
        """Mark these and no others; one alone is no company, and marks none."""
        places = tuple(dict.fromkeys(places))
        places = places if len(places) > 1 else ()
        if places == self._places:
            return
        self._places = places
        if not places:
            self.set_maps(None, ())
        self.places_changed.emit()

    @property
    def side_by_side(self) -> tuple[Place, ...]:
        """Those that there is room for side by side: the ones marked last."""
        return self._places[-MOST_SIDE_BY_SIDE:]

    @property
    def run(self) -> RunSnapshot | None:
        """The run as it stood when `maps` were read: on another branch, other tokens stand on their axes."""
        return self._run

    @property
    def maps(self) -> tuple[AttentionMap, ...]:
        """The maps of the heads that stand side by side, as they last arrived, one for each place."""
        return self._maps

    def set_maps(self, run: RunSnapshot | None, maps: tuple[AttentionMap, ...]) -> None:
        """The maps were read."""
        if maps is self._maps or (not maps and not self._maps):
            return
        self._run, self._maps = run, maps
        self.maps_changed.emit()
