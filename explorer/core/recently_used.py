"""What was worked out for an object that lasts longer: kept while it is used, up to a number of bytes."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class RecentlyUsed:
    """Values by owner and key; the one used longest ago goes first, and an owner takes its own along.

    May be used from any thread. Two that ask for the same value at the same time may both work it out.

    Parameters
    ----------
    most_bytes : int
        How much is kept, by what callers say of the size of each; the last one always is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._values: OrderedDict[tuple[int, Hashable], tuple[weakref.ref[Any], Any, int]] = OrderedDict()
        # The death of an owner may be noticed anywhere, in the middle of a call from here too.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def bytes_kept(self) -> int:
        """Sizes of all that is kept, in bytes."""
        return self._bytes

    def get(self, owner: object, key: Hashable, size: int, make: Callable[[], Value]) -> Value:
        """Return the value of ``owner`` under ``key``, of ``size`` bytes, made where it is not at hand."""
        place = (id(owner), key)
        with self._lock:
            found = self._values.get(place)
            if found is not None:
                self._values.move_to_end(place)
                remembered: Value = found[1]
                return remembered
        value = make()
        with self._lock:
            if place not in self._values:
                gone = weakref.ref(owner, lambda _ref: self._drop(place))
                self._values[place] = (gone, value, size)
                self._bytes += size
            while self._bytes > self._most_bytes and len(self._values) > 1:
                self._drop(next(iter(self._values)))
        return value

    def _drop(self, place: tuple[int, Hashable]) -> None:
        with self._lock:
            dropped = self._values.pop(place, None)
            if dropped is not None:
                self._bytes -= dropped[2]
