"""From a folder to a tokenizer and weights on a device, or one sentence for why not."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import import_utils

from explorer.core.records import Family
from explorer.model import devices
from explorer.model.architecture import attention_layout, is_bare
from explorer.model.capture import implementation_for
from explorer.model.errors import DoesNotFitError, ModelError, first_line
from explorer.model.folder import Checkpoint, tensor_bytes, tokenizer_files

_AUTO_CLASSES: dict[Family, Any] = {
    "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    "decoder-only": transformers.AutoModelForCausalLM,
    "encoder-only": transformers.AutoModelForMaskedLM,
}
# Tied matrices are declared twice and stored once; beyond that a config declares what is not there.
_MOST_DECLARED = 2
_NEGLIGIBLE_PARAMETERS = 1_000_000
# Fewer names than this part of the embedding's rows, and the vocabulary's file was missing or broken.
_LEAST_NAMED = 10
_LOOKED_UP = ("decoder_start_token_id", "forced_bos_token_id")
_COMPARED = ("bos_token_id", "eos_token_id", "pad_token_id")
_LAYER_NUMBER = re.compile(r"(?:layers?|blocks?|h)\.(\d+)\.")


# While transformers builds a model it changes what holds for the whole process (torch's default dtype,
# its initialisers, the warnings' filters): a look at one model and the loading of another take turns.
_building = threading.Lock()


@dataclass(frozen=True, slots=True)
class Plan:
    """What loading will take.

    Attributes
    ----------
    family : Family
        Decides which class is loaded.
    dtype : torch.dtype
        Of the weights.
    rows, layers : int
        Of the input-embedding matrix, and of the deepest stack.
    parameters : int
        Shared ones counted once.
    converted, kept_bytes : int
        How many numbers will be held as ``dtype``, and bytes of the buffers that stay as they are.
    """

    family: Family
    dtype: torch.dtype
    rows: int
    layers: int
    parameters: int
    converted: int
    kept_bytes: int

    @property
    def needed_bytes(self) -> int:
        """What weights and buffers will occupy."""
        return self.bytes_as(self.dtype)

    def bytes_as(self, dtype: torch.dtype) -> int:
        """What they would occupy as ``dtype``."""
        return self.converted * dtype.itemsize + self.kept_bytes


def load_config(folder: Path, raw: dict[str, Any]) -> Any:
    """Transformers' own view of ``raw``, which was read from ``folder``.

    Raises
    ------
    ModelError
        It is of a type that transformers does not know, which custom code may be meant for.
    """
    kind = raw.get("model_type")
    if "auto_map" in raw and kind not in CONFIG_MAPPING:
        raise ModelError(
            f"The model in {folder} ({kind or 'of no type'}) runs only with code of its own, and this "
            "program never runs code from a checkpoint; take one whose architecture transformers knows."
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the readers of a hundred architectures raise whatever they trip over
        raise ModelError(f"The config.json in {folder} cannot be used: {first_line(error)}") from error


def load_tokenizer(folder: Path, rows: int) -> Any:
    """The tokenizer of ``folder``, held against an embedding matrix of ``rows``.

    Raises
    ------
    ModelError
        Its files are missing or broken, or it belongs to another model.
    """
    try:
        with _building, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on packages that would be faster
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:  # tokenizer readers (Rust, SentencePiece) raise bare Exception
        raise ModelError(f"The tokenizer in {folder} cannot be loaded: {_without_advice(error)}") from error
    if getattr(tokenizer, "vocab_files_names", None) and not tokenizer_files(folder):
        raise ModelError(
            f"The tokenizer in {folder} is missing: there is no tokenizer.json, vocabulary or SentencePiece "
            "file beside the weights."
        )
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    beyond = {piece for piece, token_id in vocabulary.items() if token_id >= rows}
    # Gemma 3's text models keep the picture's special token, for which they have no row.
    if beyond - set(tokenizer.all_special_tokens) - _special_pieces(tokenizer):
        raise ModelError(
            f"The tokenizer in {folder} has {len(vocabulary)} tokens but the model knows only {rows}: "
            "they do not belong together."
        )
    # A missing or broken vocabulary file loads as a near-empty vocabulary, without an error.
    if len(vocabulary) * _LEAST_NAMED < rows:
        raise ModelError(
            f"The tokenizer in {folder} has only {len(vocabulary)} tokens for a model of {rows}: "
            "its files are missing or broken."
        )
    return tokenizer


def _special_pieces(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {token.content for token in added.values() if token.special}


def _without_advice(error: BaseException) -> str:
    text = first_line(error)
    if "trust_remote_code" in text:
        return "it needs code of its own, and this program never runs code from a checkpoint."
    if "tiktoken" in text and not import_utils.is_protobuf_available():
        # transformers takes a SentencePiece file that it cannot read for one of tiktoken's.
        return "it comes as a SentencePiece file alone, which takes the package protobuf to read."
    return text


def load_weights(
    checkpoint: Checkpoint,
    config: Any,
    plan: Plan,
    device: torch.device,
    *,
    precision: str = "auto",
    several: bool = False,
    max_memory: dict[int | str, int | str] | None = None,
) -> Any:
    """The model, under capturing attention where it knows it, on ``device`` or spread over several.

    Parameters
    ----------
    plan : Plan
        What it was found to need.
    precision : str
        ``int8`` or ``int4`` to pack linear layers; anything else leaves the plan's dtype alone.
    several : bool
        Whether accelerate may spread the layers over all devices; ``device`` is then the first.
    max_memory : dict or None
        Bytes (or ``"10GiB"``) by GPU number and ``"cpu"``, for spreading.

    Raises
    ------
    ModelError
        The weights do not fit, are incomplete, or cannot be read.
    """
    folder = checkpoint.folder
    if precision not in devices.QUANTIZED:
        check_fit(folder.name, plan.needed_bytes, None if several else device)
    options: dict[str, Any] = {"device_map": {"": device}}
    if several:
        options = {"device_map": "auto", "max_memory": max_memory}
    if precision in devices.QUANTIZED:
        bits = devices.QUANTIZED[precision]
        # It warns at every product that the input is converted, which is what was asked for.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        options["quantization_config"] = transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_compute_dtype=plan.dtype
        )
    try:
        with _building, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # load reports are turned into our own sentences below
            model, report = _auto_class(config, plan.family).from_pretrained(
                folder,
                config=config,
                dtype=plan.dtype,
                attn_implementation=_attention_for(config, plan.family),
                use_safetensors=checkpoint.weights == "safetensors",
                weights_only=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        free = devices.free_bytes(device)
        raise DoesNotFitError(folder.name, str(device), plan.needed_bytes, free) from error
    except Exception as error:  # broken folders raise from safetensors, torch and the OS alike
        raise ModelError(f"The weights in {folder} cannot be loaded: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        # Loading "succeeds" with random numbers in their place.
        raise ModelError(
            f"The weights in {folder} are incomplete: {len(missing)} tensors are missing, e.g. {missing[0]}."
        )
    _check_left_over(report["unexpected_keys"], model, folder, plan)
    _check_token_ids(model, folder, plan.rows)
    return model


def _check_left_over(names: Iterable[str], model: Any, folder: Path, plan: Plan) -> None:
    """Poolers and other towers may be left over; layers of the stack itself mean another model's config."""
    own = [name for name, _ in model.named_parameters()]
    beyond = set()
    for name in names:
        match = _LAYER_NUMBER.search(name)
        if match and int(match[1]) >= plan.layers and any(name[: match.start(1)] in one for one in own):
            beyond.add(int(match[1]))
    if beyond:
        raise ModelError(
            f"The weights in {folder} hold {max(beyond) + 1} layers, but its config.json declares "
            f"{plan.layers}: they do not belong together."
        )


def _check_token_ids(model: Any, folder: Path, rows: int) -> None:
    """Tokens that a run begins with are looked up unseen; on a GPU a wrong one ends the whole process."""
    settings = getattr(model, "generation_config", None)
    for name in (*_LOOKED_UP, *_COMPARED):
        value = getattr(settings, name, None)
        for token_id in value if isinstance(value, list | tuple) else [value]:
            known = isinstance(token_id, int) and (name in _COMPARED or 0 <= token_id < rows)
            if token_id is not None and not known:
                raise ModelError(
                    f"The generation settings in {folder} declare {name} = {token_id!r}, "
                    f"but the model's tokens are 0 to {rows - 1}."
                )
    for name in ("max_length", "max_new_tokens", "num_beams", "top_k", "no_repeat_ngram_size"):
        value = getattr(settings, name, None)
        if value is not None and not isinstance(value, int):
            raise ModelError(f"The generation settings in {folder} declare {name} = {value!r}.")


def check_fit(name: str, needed: int, device: torch.device | None) -> None:
    """Hold what a model needs against what ``device`` has free now; None means all devices together.

    Raises
    ------
    DoesNotFitError
        It needs more.
    """
    if device is not None:
        free, where = devices.free_bytes(device), str(device)
    else:
        found = devices.devices()
        free, where = sum(one.free_bytes for one in found), " and ".join(one.name for one in found)
    if needed > free:
        raise DoesNotFitError(name, where, needed, free)


def skeleton_of(config: Any, family: Family, dtype: torch.dtype, where: Path | str) -> Any:
    """The model that ``config`` declares, with shapes and no numbers. Occupies nothing.

    Raises
    ------
    ModelError
        It declares what cannot be built.
    """
    try:
        with _building, warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            return _auto_class(config, family).from_config(
                config,
                dtype=dtype,
                attn_implementation=_attention_for(config, family),
                trust_remote_code=False,
            )
    except Exception as error:  # whatever the architecture's own code trips over
        raise ModelError(
            f"The config.json in {where} declares a model that cannot be built: {first_line(error)}"
        ) from error


def make_plan(checkpoint: Checkpoint, config: Any, family: Family, dtype: torch.dtype) -> Plan:
    """What loading ``checkpoint`` as ``dtype`` will take, its config held against what is stored.

    Raises
    ------
    ModelError
        The config declares other shapes than the weights have, or a model many times as large.
    """
    skeleton = skeleton_of(config, family, dtype, checkpoint.folder)
    rows = int(skeleton.get_input_embeddings().weight.shape[0])
    layers = max(attention_layout(skeleton.config, family)[0].values())
    parameters = dict(skeleton.named_parameters())
    declared = sum(parameter.numel() for parameter in parameters.values())
    if checkpoint.quantized:
        stored_bytes = sum(tensor_bytes(tensor) for tensor in checkpoint.tensors.values())
        return Plan(family, dtype, rows, layers, declared, 0, stored_bytes)
    if checkpoint.tensors:
        _check_shapes(checkpoint, parameters, f"{skeleton.base_model_prefix}.")
        stored = sum(tensor.numel for tensor in checkpoint.tensors.values())
        if declared > _MOST_DECLARED * stored + _NEGLIGIBLE_PARAMETERS:
            raise ModelError(
                f"The config.json in {checkpoint.folder} declares a model of {declared:,} parameters, but "
                f"its weights hold {stored:,}: they do not belong together."
            )
    stored_names = skeleton.state_dict().keys()
    converted, kept = declared, 0
    for name, buffer in skeleton.named_buffers():
        if name in stored_names and buffer.is_floating_point():
            converted += buffer.numel()
        else:
            kept += buffer.numel() * buffer.element_size()
    return Plan(family, dtype, rows, layers, declared, converted, kept)


def _check_shapes(checkpoint: Checkpoint, parameters: dict[str, Any], prefix: str) -> None:
    # Stacks are saved with and without the name of what they stand in.
    for name, tensor in checkpoint.tensors.items():
        for known in (name, prefix + name, name.removeprefix(prefix)):
            if known in parameters and tuple(parameters[known].shape) != tensor.shape:
                raise ModelError(
                    f"The weights in {checkpoint.folder} are not those that its config.json declares: "
                    f"{name} is {_times(tensor.shape)}, declared {_times(parameters[known].shape)}."
                )


def _auto_class(config: Any, family: Family) -> Any:
    if family == "encoder-only" and is_bare(config):
        # Its head would be made up at random; a decoder's is its embedding matrix, where they are tied.
        return transformers.AutoModel
    return _AUTO_CLASSES[family]


def _attention_for(config: Any, family: Family) -> str:
    found = _auto_class(config, family)._model_mapping[type(config)]  # noqa: SLF001 - no public way to ask
    return implementation_for(found[0] if isinstance(found, tuple) else found)


def _times(shape: Any) -> str:
    return " x ".join(str(size) for size in shape) or "one number"
