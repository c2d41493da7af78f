"""Keeps access tokens out of whatever is shown, copied, printed or stored."""

from __future__ import annotations

import os
import re

# What the hub's tokens look like, and credentials within an address.
_TOKEN = re.compile(r"\b(?:hf|api)_[A-Za-z0-9]{16,}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+(?=@)")
_BEARER = re.compile(r"(?i)(?<=bearer )\S+")
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN")
HIDDEN = "[hidden]"


def scrub(text: str) -> str:
    """``text`` with every access token and password in it replaced by ``[hidden]``."""
    for variable in _VARIABLES:
        value = os.environ.get(variable, "").strip()
        if len(value) >= 8:
            text = text.replace(value, HIDDEN)
    for pattern in (_TOKEN, _CREDENTIALS, _BEARER):
        text = pattern.sub(HIDDEN, text)
    return text


def is_token(text: str) -> bool:
    """Whether ``text`` is an access token, pasted where something else was asked for."""
    return bool(_TOKEN.fullmatch(text.strip()))
