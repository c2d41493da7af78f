"""What is known of a model before it is loaded, how far a download is, and what to load."""

from __future__ import annotations

from dataclasses import dataclass, field

from explorer.core.devices import Device
from explorer.core.records import Family
from explorer.core.selection import AttentionKind


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A checkpoint as its config, its headers and its card describe it.

    Attributes
    ----------
    name : str
        As it was asked for.
    place : str
        Where it lies: ``bundled``, ``folder``, ``cache`` or ``hub`` (not downloaded yet).
    family, architecture : str
        E.g. ``decoder-only`` and ``GPT2LMHeadModel``.
    parameters : int
        Shared ones counted once.
    layers, heads, key_heads : dict
        By attention kind; fewer key heads than heads mean grouped-query attention.
    vocabulary_size, hidden_size : int
        Rows and width of the input-embedding matrix.
    context_length : int or None
        Most tokens that it reads; None where nothing limits them.
    licence : str
        As its card says; empty where it does not.
    own_dtype : str
        What the weights are stored in.
    download_bytes : int
        What is still to be fetched; 0 for what is on this machine.
    bytes_by_dtype : dict
        What weights and buffers will occupy, by the dtype to load them in.
    pickled, quantized : bool
        Whether the weights are pickles, and whether they are packed already.
    """

    name: str
    place: str
    family: Family
    architecture: str
    parameters: int
    layers: dict[AttentionKind, int]
    heads: dict[AttentionKind, int]
    key_heads: dict[AttentionKind, int]
    vocabulary_size: int
    hidden_size: int
    context_length: int | None
    licence: str
    own_dtype: str
    download_bytes: int
    bytes_by_dtype: dict[str, int]
    pickled: bool = False
    quantized: bool = False

    def dtype_on(self, device: Device, dtype: str) -> str:
        """Which dtype ``auto`` is on ``device``: its own on a GPU, float32 on the CPU."""
        if dtype != "auto":
            return dtype
        return "float32" if device.name == "cpu" else self.own_dtype

    def needed_bytes(self, device: Device, dtype: str) -> int | None:
        """What it will occupy on ``device`` as ``dtype``; None where that cannot be told."""
        return self.bytes_by_dtype.get(self.dtype_on(device, dtype))

    def fits(self, device: Device, dtype: str, *, given_back: int = 0) -> bool | None:
        """Whether it fits now, or would once ``given_back`` bytes are free too; None where unknown."""
        needed = self.needed_bytes(device, dtype)
        return None if needed is None else needed <= device.free_bytes + given_back


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a download is.

    Attributes
    ----------
    name, file : str
        Which model, and which of its files.
    done_bytes, total_bytes : int
        Over all its files; what was in the cache already counts as done.
    bytes_per_second : float
        Since the download began.
    """

    name: str
    file: str
    done_bytes: int
    total_bytes: int
    bytes_per_second: float

    @property
    def fraction(self) -> float:
        """Done so far, 0 to 1."""
        return min(self.done_bytes / self.total_bytes, 1.0) if self.total_bytes else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        if self.bytes_per_second <= 0:
            return None
        return max(self.total_bytes - self.done_bytes, 0) / self.bytes_per_second


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which model to load, and where to.

    Attributes
    ----------
    name : str
        Bundled name, folder or hub id.
    device : str or None
        E.g. ``cuda:0``; ``auto`` spreads over several; None lets the program choose.
    dtype : str
        ``auto``, ``float32``, ``bfloat16``, ``float16``, ``int8`` or ``int4``.
    allow_pickle : bool
        Whether weights may be read from pickles.
    unload_first : bool
        Give the memory of the model in force back before the new one is loaded; should that fail,
        there is no model.
    """

    name: str
    device: str | None = None
    dtype: str = "auto"
    allow_pickle: bool = False
    unload_first: bool = False


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """What the program occupies on a device.

    Attributes
    ----------
    device : str
        Which.
    weights, cache, captured : int
        Bytes of the weights and buffers, of the run's key-value cache, and of the queries and keys that
        are kept to show attention.
    peak : int
        Most bytes that were ever allocated there: by torch on CUDA, by the whole process on the CPU.
    free : int
        What can still be allocated.
    """

    device: str
    weights: int
    cache: int
    captured: int
    peak: int
    free: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model of the hub that is worth opening.

    Attributes
    ----------
    name : str
        Its hub id.
    good_for : str
        What it shows well, in a few words.
    millions : int
        Parameters.
    """

    name: str
    good_for: str
    millions: int = field(default=0)


SUGGESTIONS: tuple[Suggestion, ...] = (
    Suggestion("google-t5/t5-small", "T5: translates and summarises, as a prefix says", 60),
    Suggestion("google/flan-t5-small", "FLAN-T5: follows instructions, encoder-decoder", 77),
    Suggestion("facebook/bart-base", "BART: rebuilds text with <mask> in it", 139),
    Suggestion("Helsinki-NLP/opus-mt-fr-en", "Marian: French to English, one pair of many", 75),
    Suggestion("google/mt5-small", "mT5: T5 for 101 languages, to be fine-tuned", 300),
    Suggestion("facebook/m2m100_418M", "M2M100: between any two of 100 languages", 484),
    Suggestion("openai-community/gpt2", "GPT-2: continues English text; the classic", 124),
    Suggestion("EleutherAI/pythia-70m", "Pythia: the same model in many sizes, training in the open", 70),
    Suggestion("Qwen/Qwen3-0.6B", "Qwen: grouped-query attention, many languages", 600),
    Suggestion("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Llama: rotary positions, grouped queries", 1100),
    Suggestion("HuggingFaceTB/SmolLM2-135M", "SmolLM: small, deep, of the Llama kind", 135),
    Suggestion("google-bert/bert-base-uncased", "BERT: fills [MASK] from both sides", 110),
    Suggestion("distilbert/distilbert-base-uncased", "DistilBERT: BERT at half the depth", 67),
    Suggestion("FacebookAI/roberta-base", "RoBERTa: BERT trained longer, byte-level pieces", 125),
    Suggestion("answerdotai/ModernBERT-base", "ModernBERT: rotary positions, local and global layers", 149),
)
