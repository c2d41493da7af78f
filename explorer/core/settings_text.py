"""Sampling settings as text that transformers understands, and back."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import Any

from explorer.core.sampling import SamplingParams

_NAMES = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
)

# What changes the text too, with the value that does not.
_OTHERS: dict[str, Any] = {
    "num_beams": 1,
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "penalty_alpha": None,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "min_length": 0,
    "min_new_tokens": None,
    "guidance_scale": None,
}
_NOTHING_THERE = "There are no sampling settings in the copied text."
_LONGEST = 100_000
_SHOWN = 40


def as_generation_config(params: SamplingParams) -> dict[str, Any]:
    """Return the fields of a ``GenerationConfig`` that samples as ``params`` do.

    What is off is written down where ``generate`` has a default of its own (it adds ``top_k=50``);
    penalties that are left to the checkpoint are left out. A seed is not part of such a config.
    """
    config: dict[str, Any] = {"do_sample": not params.greedy, "num_beams": 1}
    if not params.greedy:
        config |= {"temperature": float(params.temperature), "top_k": int(params.top_k or 0)}
        config["top_p"] = 1.0 if params.top_p is None else float(params.top_p)
        if params.min_p:
            config["min_p"] = float(params.min_p)
        if params.typical_p is not None:
            config["typical_p"] = float(params.typical_p)
    if params.repetition_penalty is not None:
        config["repetition_penalty"] = float(params.repetition_penalty)
    if params.no_repeat_ngram_size is not None:
        config["no_repeat_ngram_size"] = int(params.no_repeat_ngram_size)
    return config


def as_json(params: SamplingParams) -> str:
    """Return ``params`` as the JSON of a ``generation_config.json``."""
    return json.dumps(as_generation_config(params), indent=2)


def as_python(params: SamplingParams) -> str:
    """Return ``params`` as three lines of Python for transformers."""
    options = ", ".join(f"{name}={value!r}" for name, value in as_generation_config(params).items())
    seed = "" if params.seed is None else f"transformers.set_seed({params.seed}); "
    return (
        "import transformers\n"
        f"config = transformers.GenerationConfig({options})\n"
        f"{seed}output = model.generate(**inputs, generation_config=config)\n"
    )


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Settings that were read from text.

    Attributes
    ----------
    params : SamplingParams
        What was taken.
    not_taken : tuple of str
        Names of settings that change what is generated, and that there is no slider for.
    """

    params: SamplingParams
    not_taken: tuple[str, ...] = ()


def read_settings(text: str, seed: int | None = None) -> ReadSettings:
    """Read what `as_json` and `as_python` write, or any other JSON or ``GenerationConfig(...)`` call.

    ``seed`` is kept where the text sets none.

    Raises
    ------
    ValueError
        There are no settings in ``text``, or one is out of range; the message says which.
    """
    if len(text) > _LONGEST:
        raise ValueError(_NOTHING_THERE)
    values = _read_json(text) if text.lstrip().startswith("{") else _read_call(text)
    if not any(name in values for name in (*_NAMES, "do_sample")):
        raise ValueError(_NOTHING_THERE)
    chosen = {name: values[name] for name in _NAMES if values.get(name) is not None}
    for name, value in chosen.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, not {shorten(repr(value))}.")
    if chosen.get("top_k") == 0:
        del chosen["top_k"]
    for name in ("top_p", "typical_p"):
        if chosen.get(name) == 1.0:
            del chosen[name]
    if chosen.get("min_p") == 0.0:
        del chosen["min_p"]
    # The library's own default is greedy: a config without do_sample never samples.
    if not values.get("do_sample", "temperature" in chosen):
        chosen["temperature"] = 0.0
    params = SamplingParams(seed=values.get("seed", seed), **chosen)
    return ReadSettings(
        params, tuple(name for name, off in _OTHERS.items() if values.get(name, off) not in (off, None))
    )


def shorten(text: str) -> str:
    """Return ``text`` short enough for a sentence."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _read_json(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("The copied text begins like JSON, but cannot be read as such.") from None
    return values if isinstance(values, dict) else {}


def _calls(text: str) -> list[ast.Call]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        # Only what stands between the parentheses.
        tree = ast.parse(f"GenerationConfig({text})")
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _read_call(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    try:
        for call in _calls(text.strip()):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in ("set_seed", "manual_seed") and len(call.args) == 1:
                values["seed"] = ast.literal_eval(call.args[0])
            for keyword in call.keywords:
                if keyword.arg in (*_NAMES, *_OTHERS, "do_sample"):
                    values[keyword.arg] = ast.literal_eval(keyword.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Literals only: nothing that was copied is ever run.
        raise ValueError(_NOTHING_THERE) from None
    return values
