"""How a checkpoint of many languages is told which one it reads and which one it is to write."""

from __future__ import annotations

import re
from typing import Any

# NLLB's codes, which stand among its special tokens: a language and its script.
_LANGUAGE_AND_SCRIPT = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")


def read_languages(tokenizer: Any, rows: int) -> dict[str, int]:
    """Token ID of every language that ``tokenizer`` can be told, by its own codes and in its own order.

    M2M100, mBART, mBART-50 and PLBart have a table of them; NLLB has them among its special tokens.
    Those without one of the ``rows`` of the embedding matrix are left out. Empty for other tokenizers.
    """
    if not hasattr(type(tokenizer), "src_lang"):
        return {}
    table = getattr(tokenizer, "lang_code_to_id", None)
    if table is None:
        codes = [str(piece) for piece in tokenizer.all_special_tokens]
        codes = [code for code in codes if _LANGUAGE_AND_SCRIPT.fullmatch(code)]
        table = {code: tokenizer.convert_tokens_to_ids(code) for code in codes}
    unknown = tokenizer.unk_token_id
    return {str(code): int(i) for code, i in table.items() if i not in (None, unknown) and int(i) < rows}


def own_target(generation_config: Any, languages: dict[str, int]) -> str:
    """The language that the checkpoint itself is set to write; empty where its first token decides."""
    codes = {token_id: code for code, token_id in languages.items()}
    for setting in ("forced_bos_token_id", "decoder_start_token_id"):
        token_id = getattr(generation_config, setting, None)
        if token_id in codes:
            return codes[token_id]
    return ""


def target_options(generation_config: Any, languages: dict[str, int], target: str) -> dict[str, int]:
    """What ``generate`` is to be given for ``target`` to be written.

    Most are told by their first token. mBART before mBART-50 was trained to start from the language's
    token, and a checkpoint that is set up so is told in that way.
    """
    starts = getattr(generation_config, "decoder_start_token_id", None) in languages.values()
    begins = getattr(generation_config, "forced_bos_token_id", None) in languages.values()
    setting = "decoder_start_token_id" if starts and not begins else "forced_bos_token_id"
    return {setting: languages[target]}
