"""``explorer inspect``: what a model is and what it would take, without loading it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from explorer.core.model_facts import ModelFacts
from explorer.core.quantities import in_bytes, in_short


def run(arguments: argparse.Namespace) -> int:
    """Print the facts of a model, and on which of this machine's devices it fits.

    Raises
    ------
    ModelError
        There is no such model, or it is broken.
    """
    from explorer.model.inspection import inspect

    facts = inspect(arguments.name)
    for line in (*describe(facts), *_fits(facts)):
        print(line)
    return 0


def describe(facts: ModelFacts) -> Iterator[str]:
    """The facts, one line each."""
    yield f"{facts.name}: {facts.architecture}, {facts.family}"
    yield f"parameters: {facts.parameters:,} ({in_short(facts.parameters)}), stored as {facts.own_dtype}"
    for kind, layers in facts.layers.items():
        heads, groups = facts.heads[kind], facts.key_heads[kind]
        shared = f", {groups} key-value groups" if groups != heads else ""
        yield f"{kind} attention: {layers} layers x {heads} heads{shared}"
    yield f"vocabulary: {facts.vocabulary_size:,} tokens of {facts.hidden_size} dimensions"
    yield f"context: {f'{facts.context_length:,} tokens' if facts.context_length else 'no fixed limit'}"
    yield f"licence: {facts.licence or 'not stated'}"
    yield f"to download: {in_bytes(facts.download_bytes) if facts.download_bytes else 'nothing'}"
    if facts.pickled:
        yield "weights: pickled, read only with --allow-pickle"
    if facts.quantized:
        yield "weights: packed already"


def _fits(facts: ModelFacts) -> Iterator[str]:
    from explorer.model.devices import devices, why_not_quantized

    for device in devices():
        yield f"on {device.name} ({device.description}), {in_bytes(device.free_bytes)} free:"
        for dtype, needed in facts.bytes_by_dtype.items():
            verdict = "fits" if facts.fits(device, dtype) else "does not fit"
            if dtype.startswith("int") and why_not_quantized(device.name.split(":")[0]):
                continue
            yield f"  {dtype}: {in_bytes(needed)}, {verdict}"
