"""``explorer trace``: a run without a window, written to files."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import explorer
from explorer.app.settings import write_atomically
from explorer.commands import options
from explorer.core.records import StepRecord
from explorer.core.tokens import Token

if TYPE_CHECKING:
    from explorer.model.run import Run

CANDIDATES = 10


def run(arguments: argparse.Namespace) -> int:
    """Write ``run.json``, ``attention.npz``, ``logits.npz`` and ``tokens.csv``.

    Raises
    ------
    ValueError, OSError
        Bad options, a model that cannot be loaded, or a folder that cannot be written.
    """
    text, params = options.text(arguments), options.sampling_params(arguments)
    folder = writable_folder(Path(arguments.out))
    lm = explorer.load(
        options.model_name(arguments),
        device=arguments.device,
        dtype=arguments.dtype,
        allow_pickle=arguments.allow_pickle,
    )
    traced = lm.generate(
        text,
        params,
        source_language=arguments.source_language,
        target_language=arguments.target_language,
    ).finish(arguments.max_new_tokens)
    write_atomically(folder / "run.json", json.dumps(as_json(traced), indent=1, ensure_ascii=False).encode())
    write_atomically(folder / "attention.npz", attention_npz(traced))
    write_atomically(folder / "logits.npz", logits_npz(traced))
    write_atomically(folder / "tokens.csv", tokens_csv(traced).encode())
    for note in lm.info.notes:
        print(note)
    if lm.languages:
        print(traced.snapshot().languages.sentence(lm.name))
    if traced.source.cut_tokens:
        print(
            f"The text is {len(traced.source) + traced.source.cut_tokens} tokens long and the model reads "
            f"{len(traced.source)}; {traced.source.cut_tokens} were cut from its end."
        )
    print(f"{traced.text}\n{len(traced.steps)} steps, ended by {traced.stop_reason}; written to {folder}")
    return 0


def writable_folder(folder: Path) -> Path:
    """Make ``folder`` if need be, and see that it can be written before anything long begins.

    Raises
    ------
    OSError
        It is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(f"The folder {folder} cannot be written.")
    return folder


def as_json(run: Run) -> dict[str, Any]:
    """Model, settings, tokens and steps, with each step's most likely tokens."""
    info = run.lm.info
    return {
        "explorer": explorer.__version__,
        "model": {
            "name": info.name,
            "family": info.family,
            "architecture": info.architecture,
            "device": info.device,
            "dtype": info.dtype,
            "parameters": info.parameter_count,
            "resident_bytes": info.resident_bytes,
            "vocabulary": info.vocabulary_size,
            "layers": info.layers,
            "heads": info.heads,
            "notes": info.notes,
        },
        "settings": _settings(run.params),
        "languages": {"source": run.source.language, "target": run.target_language},
        "source": {
            "text": run.source.text,
            "tokens": [_token(token) for token in run.source.tokens],
            "cut_tokens": run.source.cut_tokens,
        },
        "start_tokens": [_token(token) for token in run.start_tokens],
        "steps": [_step(run, step) for step in run.steps],
        "text": run.text,
        "token_ids": run.token_ids,
        "stop_reason": run.stop_reason,
    }


def _settings(params: explorer.SamplingParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in params.__dataclass_fields__}


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "piece": token.piece, "span": token.span, "special": token.special}


def _step(run: Run, step: StepRecord) -> dict[str, Any]:
    ranked = step.ranked
    pieces = run.lm.text_tokenizer.pieces
    reshaped = step.distribution()
    return {
        "index": step.index,
        "token": _token(step.token),
        "probability": ranked.unshaped.probability(step.token.id),
        "reshaped_probability": reshaped.probability(step.token.id),
        "rank": ranked.rank(step.token.id),
        "entropy_bits": reshaped.entropy_bits,
        "kept_tokens": reshaped.kept_count,
        "mass_cut": reshaped.mass_cut,
        "forced": step.forced,
        "candidates": [
            {
                "id": token_id,
                "piece": pieces[token_id],
                "probability": probability,
                "reshaped_probability": reshaped.probability(token_id),
            }
            for token_id, probability in ranked.unshaped.top(CANDIDATES)
        ],
    }


def attention_npz(run: Run) -> bytes:
    """Every map of every kind that the model has, as (layer, head, query, key) float32."""
    return _npz({kind: run.attention(kind) for kind in run.lm.info.attention_kinds})


def logits_npz(run: Run) -> bytes:
    """``logits``: raw; ``scores``: after the checkpoint's own rules. Both (steps, vocabulary) float32."""
    return _npz(
        {
            "logits": np.stack([step.logits for step in run.steps]),
            "scores": np.stack([step.scores for step in run.steps]),
        }
    )


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tokens_csv(run: Run) -> str:
    """One line a token: where it stands, its ID, piece and character span."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["side", "index", "id", "piece", "start", "end", "special"])
    sides = (
        ("source", run.source.tokens),
        ("start", run.start_tokens),
        ("generated", tuple(step.token for step in run.steps)),
    )
    for side, tokens in sides:
        for index, token in enumerate(tokens):
            start, end = token.span or ("", "")
            writer.writerow([side, index, token.id, token.piece, start, end, int(token.special)])
    return buffer.getvalue()
