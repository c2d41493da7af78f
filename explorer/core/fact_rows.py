"""What a model is, in the words that the dialog and the command line have for it."""

from __future__ import annotations

from explorer.core.model_facts import ModelFacts
from explorer.core.quantities import in_bytes, in_short

_PLACES = {
    "bundled": "comes with the program",
    "folder": "a folder on this machine",
    "cache": "downloaded",
    "hub": "on the hub",
}


def fact_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    """The facts in the order in which they are asked for."""
    rows = [
        ("Family", facts.family),
        ("Architecture", facts.architecture),
        ("Parameters", f"{facts.parameters:,} ({in_short(facts.parameters)}), stored as {facts.own_dtype}"),
    ]
    for kind, layers in facts.layers.items():
        heads, groups = facts.heads[kind], facts.key_heads[kind]
        shared = f" in {groups} key-value groups" if groups != heads else ""
        name = "Cross-attention" if kind == "cross" else f"{kind.capitalize()} attention"
        rows.append((name, f"{layers} layers x {heads} heads{shared}"))
    limit = f"{facts.context_length:,} tokens" if facts.context_length else "no fixed limit"
    rows += [
        ("Vocabulary", f"{facts.vocabulary_size:,} tokens, {facts.hidden_size} dimensions"),
        ("Context", limit),
        ("Licence", facts.licence or "not stated on its card"),
        ("Place", _PLACES[facts.place]),
        ("To download", in_bytes(facts.download_bytes) if facts.download_bytes else "nothing"),
        ("Occupies", _occupies(facts)),
    ]
    if facts.quantized:
        rows.append(("Weights", "packed already"))
    if facts.pickled:
        rows.append(("Weights", "pickled: read only where that is allowed"))
    return rows


def _occupies(facts: ModelFacts) -> str:
    plain = {dtype: size for dtype, size in facts.bytes_by_dtype.items() if not dtype.startswith("int")}
    sizes: dict[int, list[str]] = {}
    for dtype, size in plain.items():
        sizes.setdefault(size, []).append(dtype)
    return ", ".join(f"{in_bytes(size)} as {' or '.join(names)}" for size, names in sizes.items())
