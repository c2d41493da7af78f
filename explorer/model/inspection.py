"""What can be told of a checkpoint without loading it: config, headers and card alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from explorer.core.model_facts import ModelFacts
from explorer.model import hub
from explorer.model.architecture import architecture_of, attention_layout, context_length, family_of
from explorer.model.devices import DTYPES, QUANTIZED
from explorer.model.folder import Checkpoint, read_checkpoint, read_config
from explorer.model.loading import load_config, make_plan
from explorer.resources import bundled_models

_MOST_CARD_BYTES = 64 * 1024
_LICENCE = re.compile(r"^license(?:_name)?:[ \t]*['\"]?([^'\"\n]+)", re.MULTILINE)
_STORED_AS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def inspect(name_or_path: str) -> ModelFacts:
    """Look at a bundled model, a folder, or a model on the hub, without loading it.

    Of a model on the hub that is not downloaded yet, ``config.json`` is fetched and the list of its files.
    The parameters are counted on the model that the config declares, built without numbers, which the
    headers of the weights are held against where they are on this machine. Takes about as long as
    importing transformers, then tens of milliseconds.

    Raises
    ------
    ModelError
        There is no such model, it is broken, or of no family that can be shown; one sentence says why.
    """
    name = name_or_path.strip()
    folder = hub.locate(name, allow_pickle=True)
    if folder is not None:
        place = "bundled" if name in bundled_models() else "folder" if Path(name).is_dir() else "cache"
        checkpoint = read_checkpoint(folder, allow_pickle=True)
        return _facts(name, place, checkpoint, licence_of(folder), 0)
    remote = hub.look_up(name)
    folder = hub.fetch_config(remote)
    raw = read_config(folder)
    stand_in = Checkpoint(folder, raw, "pickle" if remote.pickled else "safetensors", (), {})
    return _facts(name, "hub", stand_in, remote.licence, remote.download_bytes, remote.parameters)


def licence_of(folder: Path) -> str:
    """The licence that a model's card (``README.md``) names in its front matter; empty where it does not."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        parts = file.read(_MOST_CARD_BYTES).split("---", 2)
    # The front matter comes first, between two lines of dashes, or there is none.
    found = _LICENCE.findall(parts[1]) if len(parts) == 3 and not parts[0].strip() else []
    return found[-1].strip() if found else ""


def _facts(
    name: str,
    place: str,
    checkpoint: Checkpoint,
    licence: str,
    download_bytes: int,
    counted: int | None = None,
) -> ModelFacts:
    config = load_config(checkpoint.folder, checkpoint.config)
    family = family_of(config, checkpoint.folder)
    plan = make_plan(checkpoint, config, family, torch.float32)
    layers, heads, key_heads = attention_layout(config, family)
    width = _width(config)
    sizes = {dtype: plan.bytes_as(kind) for dtype, kind in DTYPES.items()}
    if not checkpoint.quantized:
        embedding = plan.rows * width
        for dtype, bits in QUANTIZED.items():
            # Linear layers are packed; the embedding is not.
            sizes[dtype] = (plan.parameters - embedding) * bits // 8 + embedding * 2
    return ModelFacts(
        name=name,
        place=place,
        family=family,
        architecture=architecture_of(config),
        parameters=plan.parameters if counted is None or not checkpoint.quantized else counted,
        layers=layers,
        heads=heads,
        key_heads=key_heads,
        vocabulary_size=plan.rows,
        hidden_size=width,
        context_length=context_length(config),
        licence=licence,
        own_dtype=_own_dtype(checkpoint, config),
        download_bytes=download_bytes,
        bytes_by_dtype=sizes,
        pickled=checkpoint.weights == "pickle",
        quantized=checkpoint.quantized,
    )


def _width(config: Any) -> int:
    return int(config.get_text_config().hidden_size)


def _own_dtype(checkpoint: Checkpoint, config: Any) -> str:
    """What most numbers are stored in; where that is not at hand, what the config says."""
    counts: dict[str, int] = {}
    for tensor in checkpoint.tensors.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel
    if counts:
        return _STORED_AS.get(max(counts, key=lambda dtype: counts[dtype]), "float32")
    declared = getattr(config, "dtype", None)
    return str(declared).removeprefix("torch.") if isinstance(declared, torch.dtype) else "float32"
