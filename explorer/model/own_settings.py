"""Reads what a checkpoint's ``generation_config.json`` sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from explorer.core.own_settings import OwnSettings
from explorer.core.sampling import SamplingParams

# What ``generate(do_sample=True)`` adds where a checkpoint sets none.
_DEFAULT_TOP_K = 50
_NAMED = 3
_SAMPLING = ("top_p", "min_p", "typical_p")
_NOT_FOLLOWED = (
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "top_h",
    "epsilon_cutoff",
    "eta_cutoff",
    "penalty_alpha",
    "dola_layers",
)
_PLAIN_RULES = {
    "repetition_penalty": "repetition penalty {}",
    "encoder_repetition_penalty": "encoder repetition penalty {}",
    "no_repeat_ngram_size": "no run of {} tokens twice",
    "encoder_no_repeat_ngram_size": "no run of {} source tokens",
    "min_length": "at least {} tokens with what was read",
    "min_new_tokens": "at least {} new tokens",
    "max_length": "at most {} tokens with what was read",
    "max_new_tokens": "at most {} new tokens",
    "guidance_scale": "guidance {}",
}
_SAYS_NOTHING = {"repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "guidance_scale": 1.0}
_TOKEN_RULES = {
    "suppress_tokens": "bans {}",
    "begin_suppress_tokens": "bans {} at the start",
    "forced_bos_token_id": "begins with {}",
    "forced_eos_token_id": "ends with {}",
}
_OTHER_RULES = {
    "sequence_bias": "biased sequences",
    "exponential_decay_length_penalty": "a growing pull to the end",
    "stop_strings": "stop strings",
    "remove_invalid_values": "NaN and infinities replaced",
}


def read_own_settings(
    config: Any, pieces: Sequence[str], elsewhere: Collection[str] = frozenset()
) -> OwnSettings:
    """Put a ``GenerationConfig`` into words; ``pieces`` are those of the token IDs.

    The settings named in ``elsewhere`` are told, and can be changed, in another place.

    What transformers leaves out where it has no effect is left out here too.
    """

    def piece(token_id: int) -> str:
        return pieces[token_id] if 0 <= token_id < len(pieces) else f"#{token_id}"

    rules = []
    if config.bad_words_ids:
        rules.append(f"bans {_named([' '.join(piece(i) for i in word) for word in config.bad_words_ids])}")
    for name, text in _TOKEN_RULES.items():
        ids = None if name in elsewhere else getattr(config, name, None)
        if ids is not None and ids != []:
            rules.append(text.format(_named([piece(i) for i in (ids if isinstance(ids, list) else [ids])])))
    for name, text in _PLAIN_RULES.items():
        value = getattr(config, name, None)
        # Of two limits the one on new tokens counts.
        overruled = name == "max_length" and config.max_new_tokens is not None
        if value and value != _SAYS_NOTHING.get(name) and not overruled:
            rules.append(text.format(f"{value:g}"))
    rules += [text for name, text in _OTHER_RULES.items() if getattr(config, name, None)]
    return OwnSettings(tuple(rules), _sampling(config), tuple(_ignored(config)))


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def _sampling(config: Any) -> SamplingParams | None:
    if not config.do_sample:
        return None
    values = {name: getattr(config, name, None) for name in _SAMPLING}
    top_k = getattr(config, "top_k", None)
    temperature = getattr(config, "temperature", None)
    try:
        return SamplingParams(
            temperature=1.0 if temperature is None else float(temperature),
            top_k=_DEFAULT_TOP_K if top_k is None else top_k or None,
            **{name: value for name, value in values.items() if value is not None},
        )
    except (TypeError, ValueError):
        # Out of range: transformers itself would not sample with it.
        return None


def _ignored(config: Any) -> list[str]:
    found = []
    for name in _NOT_FOLLOWED:
        value = getattr(config, name, None)
        if value not in (None, 0, 0.0) and not (name.startswith("num_") and value == 1):
            found.append(f"{name} {value}")
    return found
