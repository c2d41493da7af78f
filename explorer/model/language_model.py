"""A loaded checkpoint: config, family, weights on a device, and what is read from it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from explorer.core.languages import NO_LANGUAGES, LanguagePair, unknown_language
from explorer.core.own_settings import NO_OWN_SETTINGS, OwnSettings
from explorer.core.positions import PositionEncoding
from explorer.core.records import Family, ModelInfo
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.tokens import TokenizedText
from explorer.model import devices, hub, loading
from explorer.model.architecture import attention_layout, context_length, family_of
from explorer.model.capture import TRIED_TEXT, find_capture
from explorer.model.errors import ModelError
from explorer.model.folder import read_checkpoint
from explorer.model.languages import own_target
from explorer.model.own_settings import read_own_settings
from explorer.model.placement import bytes_by_device, home_of, map_sentences, matrix_of, packed_as
from explorer.model.tokenizer import TextTokenizer
from explorer.resources import bundled_models

if TYPE_CHECKING:
    from explorer.model.embedding_space import EmbeddingSpace
    from explorer.model.run import Run

# Progress and load reports are shown by the window in its own words, not on standard error.
transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def load(
    name_or_path: str | Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    allow_pickle: bool = False,
    max_memory: dict[int | str, int | str] | None = None,
) -> LanguageModel:
    """Load a checkpoint.

    Parameters
    ----------
    name_or_path : str or Path
        A bundled name (``fr-en``), a local folder, or a hub id.
    device : str or None
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None takes CUDA, else MPS, else the CPU. ``auto`` spreads
        the layers over all GPUs and, where they do not suffice, the CPU's memory (by accelerate).
    dtype : str
        ``float32``, ``bfloat16``, ``float16``; ``auto`` is the checkpoint's own on a GPU and float32 on
        the CPU, where half precision is slow. ``int8`` and ``int4`` pack the linear layers, where
        bitsandbytes is installed.
    allow_pickle : bool
        Whether weights may be read from ``pytorch_model.bin`` where there are no safetensors; they are
        read with ``weights_only``, which runs nothing but what rebuilding tensors takes.
    max_memory : dict or None
        With ``device="auto"``: bytes (or ``"10GiB"``) by GPU number and ``"cpu"``.

    Raises
    ------
    ModelError
        The checkpoint is missing, broken, too large for the device (`DoesNotFitError`), or of a kind that
        has no language-model head; the message is one sentence for a person.
    """
    several = device == devices.SEVERAL
    target = devices.resolve_device(None if several else device)
    folder = hub.resolve(str(name_or_path), allow_pickle=allow_pickle)
    checkpoint = read_checkpoint(folder, allow_pickle=allow_pickle)
    config = loading.load_config(folder, checkpoint.config)
    family = family_of(config, folder)
    own = getattr(config, "dtype", None)
    plan = loading.make_plan(checkpoint, config, family, devices.resolve_dtype(dtype, own, target))
    tokenizer = loading.load_tokenizer(folder, plan.rows)
    model = loading.load_weights(
        checkpoint, config, plan, target, precision=dtype, several=several, max_memory=max_memory
    )
    return LanguageModel(str(name_or_path), folder, family, model, tokenizer)


class LanguageModel:
    """A checkpoint on a device. Used from one thread at a time.

    Attributes
    ----------
    name, folder : str, Path
        As it was asked for, and where it was found.
    source, bundled : str, bool
        What opens it again, and whether it comes with the program.
    family : Family
        ``encoder-decoder``, ``decoder-only`` or ``encoder-only``.
    model : transformers.PreTrainedModel
        The model itself, in evaluation mode, under capturing attention.
    text_tokenizer : TextTokenizer
        Text to tokens and back.
    has_head : bool
        Whether it predicts tokens; False for a bare stack, whose vectors and attention are there all
        the same.
    capture : Capture
        How attention is read.
    recorder : Recorder
        Where attention is noted, and where a forward pass can be cancelled.
    """

    def __init__(self, name: str, folder: Path, family: Family, model: Any, tokenizer: Any) -> None:
        given = Path(name).expanduser().is_dir()
        self.bundled = name in bundled_models()
        self.name = Path(name).name if given and not self.bundled else name
        # A model of the hub is known by its name there, not by where the cache keeps it.
        self.source = str(folder) if given or self.bundled else name
        self.folder = folder
        self.family: Family = family
        self.has_head = model.get_output_embeddings() is not None
        self.model = model.eval()
        self.config = model.config
        self.embedding: Any = model.get_input_embeddings()
        rows = int(self.embedding.weight.shape[0])
        self.text_tokenizer = TextTokenizer(
            tokenizer, context_length(self.config), rows, told=family == "encoder-decoder"
        )
        ids = list(self.text_tokenizer.encode(TRIED_TEXT).ids)
        self.capture = find_capture(model, family, attention_layout(self.config, family)[0], ids)
        self.recorder = self.capture.recorder

    @property
    def device(self) -> torch.device:
        """Where the weights are; of a spread model, where its embedding is, and text goes in."""
        return home_of(self.embedding)

    @property
    def dtype(self) -> torch.dtype:
        """What numbers the weights are."""
        dtype = self.model.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    @cached_property
    def info(self) -> ModelInfo:
        """The model in facts."""
        placement = bytes_by_device(self.model)
        layers, heads, key_heads = attention_layout(self.config, self.family)
        return ModelInfo(
            name=self.name,
            source=self.source,
            family=self.family,
            architecture=type(self.model).__name__,
            device=str(self.device),
            dtype=packed_as(self.model) or str(self.dtype).removeprefix("torch."),
            parameter_count=self.model.num_parameters(),
            resident_bytes=sum(placement.values()),
            vocabulary_size=self.text_tokenizer.vocabulary_size,
            hidden_size=int(self.embedding.weight.shape[1]),
            layers=layers,
            heads=heads | self.capture.heads,
            mapless=tuple(kind for kind in layers if kind not in self.capture.heads),
            weights_only=self.capture.weights_only,
            notes=tuple(note for note in (*map_sentences(self.model), self.capture.note) if note),
            key_heads=key_heads,
            context_length=self.text_tokenizer.context_length,
            placement=placement,
            own_settings=self._own_settings(),
            bundled=self.bundled,
            languages=self.languages,
            own_languages=self.own_languages,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that it can be told to read and to write; empty for most models."""
        return tuple(self.text_tokenizer.languages)

    @property
    def own_languages(self) -> LanguagePair:
        """What the checkpoint itself sets: what a text is read as, and what is written."""
        if not self.languages:
            return NO_LANGUAGES
        known = self.text_tokenizer.languages
        return LanguagePair(self.text_tokenizer.own_language, own_target(self.model.generation_config, known))

    def _own_settings(self) -> OwnSettings:
        config = getattr(self.model, "generation_config", None)
        if self.family == "encoder-only" or config is None:
            return NO_OWN_SETTINGS
        # A first token that is a language is told, and chosen, as the language that is written.
        language = config.forced_bos_token_id in self.text_tokenizer.languages.values()
        elsewhere = {"forced_bos_token_id"} if language else frozenset()
        return read_own_settings(config, self.text_tokenizer.pieces, elsewhere)

    def unload(self) -> None:
        """Give the memory of the weights back; the model and its runs cannot be used after that."""
        self.__dict__.pop("_embedding_space", None)
        self.model = self.embedding = None
        self.recorder.notes = None
        devices.give_back()

    def _check_loaded(self) -> None:
        if self.model is None:
            raise ModelError(f"The model {self.name} was unloaded; load it again.")

    def _check_language(self, code: str | None) -> None:
        if code is not None and code not in self.languages:
            raise ModelError(unknown_language(self.name, code, self.languages))

    def tokenize(self, text: str, source_language: str | None = None) -> TokenizedText:
        """Tokenize ``text`` as the model reads it; longer than the context is cut, and says so.

        Parameters
        ----------
        text : str
            The text.
        source_language : str or None
            Which of `languages` it is in; None is what the checkpoint sets.

        Raises
        ------
        ModelError
            The model does not know that language, or none at all.
        TextError
            A token has no vector, or the tokenizer fails.
        """
        self._check_language(source_language)
        return self.text_tokenizer.encode(text, source_language)

    def generate(
        self,
        text: str | TokenizedText,
        params: SamplingParams | None = None,
        *,
        max_new_tokens: int | None = None,
        source_language: str | None = None,
        target_language: str | None = None,
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
        source_language : str or None
            Which of `languages` a ``text`` that is not tokenized yet is in; None is what the checkpoint
            sets.
        target_language : str or None
            Which of `languages` is to be written; None is what the checkpoint sets.

        Raises
        ------
        TextError
            The text is empty.
        ModelError
            The model does not know that language, or none at all.
        ValueError
            A text that was tokenized as one language is to be read as another.
        """
        from explorer.model.generation import DecodingRun
        from explorer.model.mask_filling import MaskFillingRun

        self._check_loaded()
        self._check_language(target_language)
        source = self.tokenize(text, source_language) if isinstance(text, str) else text
        if source_language is not None and source_language != source.language:
            raise ValueError(
                f"The text was tokenized as {source.language or 'no language'}: to have it read as "
                f"{source_language}, tokenize it again with source_language={source_language!r}."
            )
        settings = GREEDY if params is None else params
        if self.family == "encoder-only":
            return MaskFillingRun(self, source, settings, max_new_tokens)
        return DecodingRun(self, source, settings, max_new_tokens, target_language)

    def embedding_space(self) -> EmbeddingSpace:
        """The input-embedding matrix as a space: cosines, angles, neighbours, exact PCA."""
        self._check_loaded()
        return self._embedding_space

    def positions(self) -> tuple[PositionEncoding, ...]:
        """What tells each stack where a token stands: tables, biases, angles, or that there is none."""
        from explorer.model.positions import read_positions

        self._check_loaded()
        return read_positions(self)

    @cached_property
    def _embedding_space(self) -> EmbeddingSpace:
        from explorer.model.embedding_space import EmbeddingSpace

        matrix, tokenizer = matrix_of(self.embedding), self.text_tokenizer
        return EmbeddingSpace(matrix, tokenizer.pieces, tokenizer.special_ids, tokenizer.encode_word)
