"""What lies in a checkpoint's folder, held against itself before anything is read whole.

Nothing here builds a model or reads a weight: file sizes, the JSON of ``config.json``, and the headers of
safetensors files are enough to refuse what is broken or made to do harm.
"""

from __future__ import annotations

import json
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from explorer.model.errors import ModelError, first_line

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
PICKLE_INDEX = "pytorch_model.bin.index.json"
PICKLE_WEIGHTS = "pytorch_model.bin"

_MIB = 2**20
# The largest tokenizer files in common use are about 35 MB (Gemma's); parsed, they take ten times that.
MAX_TOKENIZER_BYTES = 128 * _MIB
MAX_CONFIG_BYTES = 4 * _MIB
MAX_INDEX_BYTES = 32 * _MIB
# Headers of real shards are below 1 MB; the format's own limit of 100 MB would be gigabytes once parsed.
MAX_HEADER_BYTES = 16 * _MIB
_TOKENIZER_SUFFIXES = frozenset({".json", ".txt", ".model", ".spm", ".jinja"})
_READ_SUFFIXES = _TOKENIZER_SUFFIXES | {".safetensors", ".bin"}
_SMALL_JSON = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_LAYER_KEYS = {
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
    "num_encoder_layers",
}
_POSITION_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_source_positions", "max_seq_len")
# No model has so many of these, and some become lists as soon as the config is read.
_COUNTED = re.compile(r"(?:layers?|heads?|experts?|groups|blocks|labels)$")
_MAX_COUNT = 100_000
_MAX_POSITIONS = 2**26
_MAX_TABLE_WITHOUT_ROTARY = 2**17
_OTHER_FORMATS = {"*.gguf": "GGUF", "tf_model.h5": "TensorFlow", "flax_model.msgpack": "Flax"}
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a file's header declares it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A folder that was found to be consistent.

    Attributes
    ----------
    folder : Path
        Where it is.
    config : dict
        ``config.json`` as it was read.
    weights : {"safetensors", "pickle"}
        In which format the weights are.
    files : tuple of Path
        The weight files.
    tensors : dict
        By name, as the headers declare them; empty for pickled weights, which cannot be looked into
        without being run.
    """

    folder: Path
    config: dict[str, Any]
    weights: Literal["safetensors", "pickle"]
    files: tuple[Path, ...]
    tensors: dict[str, Tensor] = field(repr=False)

    @property
    def file_bytes(self) -> int:
        """Size of the weight files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def quantized(self) -> bool:
        """Whether the weights are packed in fewer bits than their names' shapes say."""
        return "quantization_config" in self.config or "compression_config" in self.config


def read_checkpoint(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Look into ``folder`` and give what it holds. Reads config, index and headers only.

    Raises
    ------
    ModelError
        Something is missing, broken, too large, or leads out of the folder; one sentence says what.
    """
    folder = folder.resolve()
    _check_files(folder)
    config = read_config(folder)
    for name in _SMALL_JSON:
        if (folder / name).is_file():
            read_json_object(folder / name, MAX_CONFIG_BYTES)
    weights, files = _weight_files(folder, allow_pickle)
    tensors: dict[str, Tensor] = {}
    if weights == "safetensors":
        for file in files:
            tensors.update(read_header(file))
        if not tensors:
            raise ModelError(f"The weights in {folder} are empty: {WEIGHTS} holds no tensor.")
        _check_claims(config, tensors, folder)
    return Checkpoint(folder, config, weights, files, tensors)


def pickle_refusal(where: str) -> str:
    """Why pickled weights were not read, and how to have them read."""
    return (
        f"The weights {where} are pickled ({PICKLE_WEIGHTS}), a format that can run code; if you trust where "
        "they come from, allow it by name: allow_pickle=True, --allow-pickle, or the box in the model dialog."
    )


def has_weights(folder: Path, *, allow_pickle: bool = False) -> bool:
    """Whether every weight file that ``folder`` should have is there; nothing is read but an index."""
    try:
        _weight_files(folder, allow_pickle)
    except ModelError:
        return False
    return True


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of ``folder``, held to be an object with believable counts.

    Raises
    ------
    ModelError
        It is missing, is no JSON object, or declares counts that no model has.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"The folder {folder} holds no model: {_why_no_config(folder)}")
    config = read_json_object(path, MAX_CONFIG_BYTES)
    _check_counts(config, folder)
    return config


def read_json_object(path: Path, limit: int) -> dict[str, Any]:
    """A JSON object from a file of at most ``limit`` bytes.

    Raises
    ------
    ModelError
        It is too large, cannot be read, is no JSON, is nested too deep, or is no object.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    if size > limit:
        raise ModelError(f"{path} has {_megabytes(size)}, far more than such a file needs.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not text, let alone JSON.") from error
    except RecursionError as error:
        raise ModelError(f"{path} is nested too deep to be a checkpoint's.") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {first_line(error)}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold a JSON object, not a {type(content).__name__}.")
    return content


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors that a safetensors file declares, its own length held against them.

    Raises
    ------
    ModelError
        The header is missing, huge or broken, or the file is shorter or longer than it says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
        if len(start) < 8:
            raise ModelError(f"The weights {path} are broken: the file has only {size} bytes.")
        (header,) = struct.unpack("<Q", start)
        if header > size - 8:
            raise ModelError(
                f"The weights {path} are broken: the header is said to be {header:,} bytes long in a file "
                f"of {size:,}; download it again."
            )
        if header > MAX_HEADER_BYTES:
            raise ModelError(
                f"The weights {path} are not to be trusted: their header alone is {_megabytes(header)}."
            )
        with safe_open(path, framework="np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
            return {name: Tensor(tuple(s.get_shape()), str(s.get_dtype())) for name, s in slices.items()}
    except OSError as error:
        raise ModelError(f"The weights {path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        missing = "not fully covered" in str(error)
        why = "the file is truncated; download it again" if missing else first_line(error)
        raise ModelError(f"The weights {path} are broken: {why}.") from error


def tokenizer_files(folder: Path) -> tuple[Path, ...]:
    """Files that could hold a vocabulary."""
    names = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tekken.json", "bpe.codes"}
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name in names or path.suffix in {".model", ".spm", ".bpe", ".tiktoken"})
    )


# -- the checks ----------------------------------------------------------------------------------------


def _check_files(folder: Path) -> None:
    """Each file that could be read is a plain one, lies in the folder, and is no larger than it may be."""
    roots = [folder]
    if folder.parent.name == "snapshots":
        # The hub's cache keeps the content of all revisions beside them, or of all models beside those.
        repository = folder.parent.parent
        roots += [repository / "blobs", repository.parent / "blobs"]
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        if entry.suffix not in _READ_SUFFIXES:
            continue
        try:
            target = entry.resolve(strict=True)
            facts = target.stat()
        except (OSError, RuntimeError) as error:
            raise ModelError(f"{entry} leads nowhere; download the model again.") from error
        if entry.is_symlink() and not any(target.is_relative_to(root) for root in roots):
            raise ModelError(
                f"{entry} is a link out of the folder, to {target}; "
                "put the file itself there if you trust it."
            )
        if stat.S_ISDIR(facts.st_mode):
            continue
        if not stat.S_ISREG(facts.st_mode):
            raise ModelError(f"{entry} is no plain file; a model's folder holds nothing else.")
        weights_index = entry.name.endswith(".index.json")
        if entry.suffix in _TOKENIZER_SUFFIXES and not weights_index and facts.st_size > MAX_TOKENIZER_BYTES:
            raise ModelError(
                f"{entry} has {_megabytes(facts.st_size)}; no vocabulary needs that much, and reading it "
                "would take many times as much memory."
            )


def _why_no_config(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "it is an adapter (adapter_config.json), which works only on top of its base model."
    for pattern, name in _OTHER_FORMATS.items():
        if any(folder.glob(pattern)):
            return f"its weights are in {name}'s format, without a config.json."
    return "it has no config.json."


def _check_counts(config: dict[str, Any], folder: Path) -> None:
    for where, key, value in _integers(config):
        if value < 0 and key in _LAYER_KEYS:
            raise ModelError(f"The config.json in {folder} declares {where} = {value}.")
        if _COUNTED.search(key) and value > _MAX_COUNT:
            raise ModelError(f"The config.json in {folder} declares {where} = {value:,}; no model has that.")


def _check_claims(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Hold layers and positions against the weights: building what was declared is work without bound."""
    for where, key, value in _integers(config):
        if key in _LAYER_KEYS and value > len(tensors):
            raise ModelError(
                f"The config.json in {folder} declares {where} = {value:,}, but its weights hold only "
                f"{len(tensors)} tensors: they do not belong together."
            )
    rotary = any("rope" in key or "rotary" in key for key in config)
    longest = max((tensor.shape[0] for tensor in tensors.values() if tensor.shape), default=0)
    for key in _POSITION_KEYS:
        positions = config.get(key)
        if not isinstance(positions, int):
            continue
        unbacked = not rotary and positions > max(_MAX_TABLE_WITHOUT_ROTARY, longest)
        if positions > _MAX_POSITIONS or unbacked:
            raise ModelError(
                f"The config.json in {folder} declares {key} = {positions:,}, "
                "for which its weights have no table."
            )


def _integers(config: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str, int]]:
    """Every integer of the config and of what is nested in it: where, key, value."""
    for key, value in config.items():
        if isinstance(value, dict) and depth < 4:
            yield from _integers(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{key}", str(key), value


def _weight_files(
    folder: Path, allow_pickle: bool
) -> tuple[Literal["safetensors", "pickle"], tuple[Path, ...]]:
    # In the order in which transformers looks for them.
    if (folder / WEIGHTS).is_file():
        return "safetensors", (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        return "safetensors", _shards(folder, INDEX)
    pickled = (folder / PICKLE_WEIGHTS).is_file() or (folder / PICKLE_INDEX).is_file()
    if pickled and not allow_pickle:
        raise ModelError(pickle_refusal(f"in {folder}"))
    if (folder / PICKLE_WEIGHTS).is_file():
        return "pickle", (folder / PICKLE_WEIGHTS,)
    if pickled:
        return "pickle", _shards(folder, PICKLE_INDEX)
    others = [name for pattern, name in _OTHER_FORMATS.items() if any(folder.glob(pattern))]
    instead = f"; it has weights for {others[0]}, which this program does not read" if others else ""
    raise ModelError(f"There are no weights in {folder}: it has no {WEIGHTS}{instead}.")


def _shards(folder: Path, index: str) -> tuple[Path, ...]:
    weight_map = read_json_object(folder / index, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / index} does not say which weights lie where.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{folder / index} names a file outside the folder: {name}.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"The weights in {folder} are incomplete: {len(missing)} of {len(names)} files are missing, "
            f"e.g. {missing[0]}; download the model again."
        )
    return tuple(folder / name for name in names)


def tensor_bytes(tensor: Tensor) -> int:
    """How many bytes the file holds for ``tensor``."""
    return tensor.numel * _BITS.get(tensor.dtype, 8) // 8


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
