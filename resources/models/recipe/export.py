"""From a trained model to a folder that the Auto classes load."""

# mypy: disable-error-code="no-untyped-call"
# torch and transformers are typed in part.
from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
from families import Family
from tokenizing import save_tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast


def export_model(
    family: Family, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write config, generation config, tokenizer and float16 weights into ``folder``.

    Everything is written beside it first, so that a failure leaves what was there before.

    Raises
    ------
    ValueError
        If a weight does not fit into float16, or the weights are larger than the family may be.
    """
    half = copy.deepcopy(model).cpu().half()
    broken = [name for name, value in half.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"not finite in float16: {', '.join(broken)}")
    generation_config = family.generation_config(tokenizer)
    if generation_config is not None:
        half.generation_config = generation_config
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        temporary = Path(name)
        half.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
        megabytes = (temporary / "model.safetensors").stat().st_size / 1e6
        if megabytes > family.max_megabytes:
            raise ValueError(f"{megabytes:.1f} MB of weights: at most {family.max_megabytes} were allowed")
        for file in temporary.iterdir():
            file.replace(folder / file.name)
