"""``explorer inspect``: what a model is and what it would take, without loading it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from explorer.core.fact_rows import fact_rows
from explorer.core.model_facts import ModelFacts
from explorer.core.quantities import in_bytes


def run(arguments: argparse.Namespace) -> int:
    """Print the facts of a model, and on which of this machine's devices it fits.

    Raises
    ------
    ModelError
        There is no such model, or it is broken.
    """
    from explorer.model.inspection import inspect

    facts = inspect(arguments.name)
    print(facts.name)
    for name, value in fact_rows(facts):
        print(f"  {f'{name}:'.ljust(20)}{value}")
    for line in _fits(facts):
        print(line)
    return 0


def _fits(facts: ModelFacts) -> Iterator[str]:
    from explorer.model.devices import devices, why_not_quantized

    for device in devices():
        yield f"on {device.name} ({device.description}), {in_bytes(device.free_bytes)} free:"
        for dtype, needed in facts.bytes_by_dtype.items():
            verdict = "fits" if facts.fits(device, dtype) else "does not fit"
            if dtype.startswith("int") and why_not_quantized(device.name.split(":")[0]):
                continue
            yield f"  {dtype}: {in_bytes(needed)}, {verdict}"
