"""A loaded checkpoint: config, family, weights on a device, and what is read from it."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from explorer.core.positions import PositionEncoding
from explorer.core.records import Family, ModelInfo
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.selection import AttentionKind
from explorer.core.tokens import TokenizedText
from explorer.model import hub
from explorer.model.attention import CAPTURING, AttentionRecorder
from explorer.model.errors import ModelError, first_line
from explorer.model.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from explorer.model.embedding_space import EmbeddingSpace
    from explorer.model.run import Run

# Progress and load reports are shown by the window in its own words, not on standard error.
transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]

_AUTO_CLASSES: dict[Family, Any] = {
    "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    "decoder-only": transformers.AutoModelForCausalLM,
    "encoder-only": transformers.AutoModelForMaskedLM,
}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(name_or_path: str | Path, *, device: str | None = None, dtype: str = "auto") -> LanguageModel:
    """Load a checkpoint.

    Parameters
    ----------
    name_or_path : str or Path
        A bundled name (``fr-en``), a local folder, or a hub id.
    device : str or None
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None takes CUDA, else MPS, else the CPU.
    dtype : str
        ``float32``, ``bfloat16``, ``float16``; ``auto`` is the checkpoint's own on a GPU and float32 on
        the CPU, where half precision is slow.

    Raises
    ------
    ModelError
        The checkpoint is missing, broken, or of a kind that has no language-model head; the message
        is one sentence for a person.
    """
    folder = hub.resolve(str(name_or_path))
    config = _load_config(folder)
    family = family_of(config, folder)
    target = _resolve_device(device)
    torch_dtype = _resolve_dtype(dtype, config, target)
    tokenizer = _load_tokenizer(folder)
    model = _load_weights(folder, config, family, target, torch_dtype)
    return LanguageModel(str(name_or_path), folder, family, model, tokenizer)


class LanguageModel:
    """A checkpoint on a device. Used from one thread at a time.

    Attributes
    ----------
    name, folder : str, Path
        As it was asked for, and where it was found.
    family : Family
        ``encoder-decoder``, ``decoder-only`` or ``encoder-only``.
    model : transformers.PreTrainedModel
        The model itself, in evaluation mode, under capturing attention.
    text_tokenizer : TextTokenizer
        Text to tokens and back.
    has_head : bool
        Whether it predicts tokens; False for a bare stack, whose vectors and attention are there all
        the same.
    recorder : AttentionRecorder
        Where attention is noted, and where a forward pass can be cancelled.
    """

    def __init__(self, name: str, folder: Path, family: Family, model: Any, tokenizer: Any) -> None:
        self.name = Path(name).name if Path(name).is_dir() else name
        self.folder = folder
        self.family: Family = family
        self.has_head = model.get_output_embeddings() is not None
        self.model = model.eval()
        self.config = model.config
        self.embedding: Any = model.get_input_embeddings()
        rows = int(self.embedding.weight.shape[0])
        _check_tokenizer(tokenizer, rows, folder)
        self.text_tokenizer = TextTokenizer(tokenizer, context_length(self.config), rows)
        self.recorder = AttentionRecorder(
            model, encoder_only=family == "encoder-only", has_encoder=family == "encoder-decoder"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """What numbers the weights are."""
        dtype = self.model.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    @cached_property
    def info(self) -> ModelInfo:
        """The model in facts."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        layers, heads = _attention_layout(self.config, self.family)
        return ModelInfo(
            name=self.name,
            source=str(self.folder),
            family=self.family,
            architecture=type(self.model).__name__,
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            parameter_count=sum(p.numel() for p in self.model.parameters()),
            resident_bytes=sum(storages.values()),
            vocabulary_size=self.text_tokenizer.vocabulary_size,
            hidden_size=int(self.embedding.weight.shape[1]),
            layers=layers,
            heads=heads,
            context_length=self.text_tokenizer.context_length,
        )

    def tokenize(self, text: str) -> TokenizedText:
        """Tokenize ``text`` as the model reads it; longer than the context is cut, and says so."""
        return self.text_tokenizer.encode(text)

    def generate(
        self,
        text: str | TokenizedText,
        params: SamplingParams | None = None,
        *,
        max_new_tokens: int | None = None,
    ) -> Run:
        """Begin a run: read ``text`` once, and stand before the first step.

        Parameters
        ----------
        text : str or TokenizedText
            What to translate, to continue, or (encoder-only) to fill the masks of.
        params : SamplingParams or None
            How tokens are chosen; None is greedy.
        max_new_tokens : int or None
            Where the loop ends at the latest; None takes the checkpoint's own limit.

        Raises
        ------
        TextError
            The text is empty.
        """
        from explorer.model.generation import DecodingRun
        from explorer.model.mask_filling import MaskFillingRun

        source = self.tokenize(text) if isinstance(text, str) else text
        kind = MaskFillingRun if self.family == "encoder-only" else DecodingRun
        return kind(self, source, GREEDY if params is None else params, max_new_tokens)

    def embedding_space(self) -> EmbeddingSpace:
        """The input-embedding matrix as a space: cosines, angles, neighbours, exact PCA."""
        return self._embedding_space

    def positions(self) -> tuple[PositionEncoding, ...]:
        """What tells each stack where a token stands: tables, biases, angles, or that there is none."""
        from explorer.model.positions import read_positions

        return read_positions(self)

    @cached_property
    def _embedding_space(self) -> EmbeddingSpace:
        from explorer.model.embedding_space import EmbeddingSpace

        weight = self.embedding.weight
        tokenizer = self.text_tokenizer
        return EmbeddingSpace(weight.detach(), tokenizer.pieces, tokenizer.special_ids, tokenizer.encode_word)


def family_of(config: Any, folder: Path) -> Family:
    """Which family a config's architecture belongs to.

    Looked up in transformers' own tables: trying classes in turn is wrong, since for example
    ``AutoModelForCausalLM`` loads BART and BERT without complaint.
    """
    architecture = (config.architectures or [""])[0]
    if architecture in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values() and config.is_encoder_decoder:
        return "encoder-decoder"
    if architecture in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "decoder-only"
    if architecture in MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return "encoder-only"
    if architecture in MODEL_MAPPING_NAMES.values():
        # A bare stack: facebook/bart-base and sentence encoders are saved so.
        if config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and config.is_encoder_decoder:
            return "encoder-decoder"
        if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return "encoder-only"
        if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return "decoder-only"
    said = f"is a {architecture}" if architecture else "does not say which architecture it is"
    raise ModelError(
        f"The model in {folder} {said}, which has no language-model head that this program knows; "
        "take a checkpoint for translation, text generation or mask filling."
    )


def context_length(config: Any) -> int | None:
    """Most positions that a model has; None where it has no fixed number (T5's relative positions)."""
    length = getattr(config, "max_position_embeddings", None)
    if length is None:
        return None
    # RoBERTa counts positions from pad_token_id + 1, so that its table holds two rows more than it can use.
    offset = 2 if config.model_type in {"roberta", "xlm-roberta", "camembert"} else 0
    return int(length) - offset


def _attention_layout(
    config: Any, family: Family
) -> tuple[dict[AttentionKind, int], dict[AttentionKind, int]]:
    layers: dict[AttentionKind, int] = {}
    heads: dict[AttentionKind, int] = {}
    if family == "encoder-decoder":
        encoder_layers = int(getattr(config, "encoder_layers", None) or config.num_hidden_layers)
        decoder_layers = getattr(config, "decoder_layers", None) or getattr(
            config, "num_decoder_layers", None
        )
        decoder_layers = int(decoder_layers or config.num_hidden_layers)
        encoder_heads = int(getattr(config, "encoder_attention_heads", None) or config.num_attention_heads)
        decoder_heads = int(getattr(config, "decoder_attention_heads", None) or config.num_attention_heads)
        layers = {"encoder": encoder_layers, "decoder": decoder_layers, "cross": decoder_layers}
        heads = {"encoder": encoder_heads, "decoder": decoder_heads, "cross": decoder_heads}
    else:
        kind: AttentionKind = "decoder" if family == "decoder-only" else "encoder"
        layers = {kind: int(config.num_hidden_layers)}
        heads = {kind: int(config.num_attention_heads)}
    return layers, heads


def _resolve_device(device: str | None) -> torch.device:
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"There is no device called {device!r}; use cpu, cuda, cuda:1 or mps.") from error
    if target.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= count:
            raise ModelError(f"This machine has no {device} (CUDA devices found: {count}); use cpu.")
        return torch.device("cuda", target.index or 0)
    if target.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("This machine has no Apple GPU (mps); use cpu.")
    if target.type not in {"cpu", "mps"}:
        raise ModelError(f"The device {device!r} is not supported; use cpu, cuda, cuda:1 or mps.")
    return target


def _resolve_dtype(dtype: str, config: Any, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        own = getattr(config, "dtype", None)
        return own if device.type != "cpu" and isinstance(own, torch.dtype) else torch.float32
    if dtype not in _DTYPES:
        raise ModelError(f"There is no dtype called {dtype!r}; use auto, {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def _load_config(folder: Path) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The config.json in {folder} cannot be used: {first_line(error)}") from error


def _load_tokenizer(folder: Path) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # tokenizer readers (Rust, SentencePiece) raise bare Exception
        raise ModelError(f"The tokenizer in {folder} cannot be loaded: {first_line(error)}") from error


def _load_weights(folder: Path, config: Any, family: Family, device: torch.device, dtype: torch.dtype) -> Any:
    auto_class = _AUTO_CLASSES[family]
    if family == "encoder-only" and config.architectures[0] in MODEL_MAPPING_NAMES.values():
        # Its head would be made up at random; a decoder's is its embedding matrix, where they are tied.
        auto_class = transformers.AutoModel
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # load reports are turned into our own sentences below
            model, report = auto_class.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                device_map={"": device},
                attn_implementation=CAPTURING,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"The model in {folder} does not fit into the memory of {device}; "
            "try a smaller dtype, the CPU, or a smaller model."
        ) from error
    except Exception as error:  # broken folders raise from safetensors, torch and the OS alike
        raise ModelError(f"The weights in {folder} cannot be loaded: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        # Loading "succeeds" with random numbers in their place.
        raise ModelError(
            f"The weights in {folder} are incomplete: {len(missing)} tensors are missing, e.g. {missing[0]}."
        )
    return model


def _check_tokenizer(tokenizer: Any, rows: int, folder: Path) -> None:
    count = len(tokenizer)
    if count > rows:
        raise ModelError(
            f"The tokenizer in {folder} has {count} tokens but the model knows only {rows}: "
            "they do not belong together."
        )
    # A missing tokenizer file loads as a near-empty vocabulary, without an error.
    if count < rows // 2:
        raise ModelError(
            f"The tokenizer in {folder} has only {count} tokens for a model of {rows}: "
            "its files are missing or broken."
        )
