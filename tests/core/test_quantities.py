from __future__ import annotations

import pytest

from explorer.core.quantities import in_bytes, in_short, in_time


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (31_000_000, "31 MB"),
        (1.3e9, "1.3 GB"),
        (80e9, "80 GB"),
    ],
)
def test_that_bytes_are_short(count: float, text: str) -> None:
    assert in_bytes(count) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12"), (7_640_000, "7.6 M"), (1_100_000_000, "1.1 B")])
def test_that_counts_are_short(count: int, text: str) -> None:
    assert in_short(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (180, "3 min"), (7200, "2.0 h")])
def test_that_durations_are_short(seconds: float, text: str) -> None:
    assert in_time(seconds) == text
