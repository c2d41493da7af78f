"""Text to tokens and back, and the immutable table of pieces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from explorer.core.tokens import Token, TokenizedText
from explorer.model.errors import TextError, first_line
from explorer.model.languages import read_languages


class TextTokenizer:
    """A checkpoint's tokenizer. Not to be used from two threads at once (fast tokenizers refuse it).

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        As loaded.
    context_length : int or None
        Longest text in tokens, specials included; longer ones are cut at the end. None: never cut.
    vocabulary_size : int
        Rows of the embedding matrix; ids from the tokenizer's end up to it are named ``<unused …>``.
    told : bool
        Whether the model is one that is told languages.

    Attributes
    ----------
    languages : dict of str to int
        Token ID by language code, for a tokenizer that is told what it reads; else empty.
    own_language : str
        What it reads a text as unless it is told; empty without languages.
    """

    def __init__(
        self, tokenizer: Any, context_length: int | None, vocabulary_size: int, *, told: bool = True
    ) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.vocabulary_size = vocabulary_size
        self.languages = read_languages(tokenizer, vocabulary_size) if told else {}
        self.own_language = str(tokenizer.src_lang or "") if self.languages else ""
        # Marks, not text, whether or not the checkpoint has them on its list of special tokens.
        self._language_ids = frozenset(self.languages.values())
        # A special token may have no row (Gemma 3's for a picture); nothing can be looked up for it.
        self.special_ids = self._language_ids | {
            int(i) for i in tokenizer.all_special_ids if int(i) < vocabulary_size
        }

    @property
    def mask_id(self) -> int | None:
        """The token that stands for a word to be filled in; None where the tokenizer has none."""
        mask_id = self.tokenizer.mask_token_id
        return None if mask_id is None else int(mask_id)

    @property
    def mask_piece(self) -> str:
        """How the mask is typed in a text, e.g. ``[MASK]``; empty where the tokenizer has none."""
        return "" if self.mask_id is None else str(self.tokenizer.mask_token)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """(V,) piece of every token ID. O(V), made on first use."""
        names: list[str | None] = [None] * self.vocabulary_size
        for piece, token_id in self.tokenizer.get_vocab().items():
            if 0 <= token_id < self.vocabulary_size:
                names[token_id] = str(piece)
        # M2M100's languages are ids beyond its vocabulary, which only it can name.
        for token_id, piece in getattr(self.tokenizer, "id_to_lang_token", {}).items():
            if 0 <= token_id < self.vocabulary_size:
                names[token_id] = str(piece)
        return tuple(f"<unused {i}>" if name is None else name for i, name in enumerate(names))

    def token(self, token_id: int) -> Token:
        """The token of an ID that stands in no text."""
        piece = self.pieces[token_id]
        unused = piece == f"<unused {token_id}>"
        text = "" if unused else str(self.tokenizer.decode([token_id], skip_special_tokens=False))
        return Token(token_id, piece, text, None, token_id in self.special_ids)

    def encode(self, text: str, language: str | None = None) -> TokenizedText:
        """Tokenize ``text`` with the special tokens that the checkpoint expects; O(length).

        Spans are the tokenizer's own offsets. A tokenizer without offsets (SentencePiece in Python)
        gets them by finding each piece in the text, in order; where one cannot be found, its span is
        None rather than a guess. ``language`` is one of `languages`; None is the tokenizer's own.

        Raises
        ------
        TextError
            A token of the text has no row in the embedding matrix, or the tokenizer fails on it.
        """
        language = self.own_language if language is None else language
        if self.languages and (self.tokenizer.src_lang or "") != language:
            self.tokenizer.src_lang = language or None
        ids, spans = self._ids_and_spans(text)
        beyond = next((token_id for token_id in ids if token_id >= self.vocabulary_size), None)
        if beyond is not None:
            piece = self.tokenizer.convert_ids_to_tokens(beyond)
            raise TextError(f"The model has no vector for the token {piece}; leave it out of the text.")
        limit = self.context_length
        if limit is None or len(ids) <= limit:
            return TokenizedText(text, self._tokens(ids, spans), language=language)
        kept_ids, kept_spans = self._ids_and_spans(text, limit)
        end = max((span[1] for span in kept_spans if span is not None), default=0)
        cut = len(ids) - len(kept_ids)
        return TokenizedText(text, self._tokens(kept_ids, kept_spans), cut, text[end:], language)

    def encode_word(self, word: str) -> list[int]:
        """Token IDs of a bare word, without special tokens."""
        return [int(i) for i in self.tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Detokenize, special tokens left out."""
        written = [i for i in ids if i not in self._language_ids]
        return str(self.tokenizer.decode(written, skip_special_tokens=True))

    def _tokens(self, ids: list[int], spans: list[tuple[int, int] | None]) -> tuple[Token, ...]:
        tokens = []
        for token_id, span in zip(ids, spans, strict=True):
            bare = self.token(token_id)
            tokens.append(Token(token_id, bare.piece, bare.text, span, bare.special))
        return tuple(tokens)

    def _ids_and_spans(
        self, text: str, limit: int | None = None
    ) -> tuple[list[int], list[tuple[int, int] | None]]:
        fast = bool(self.tokenizer.is_fast)
        try:
            encoded = self.tokenizer(
                text,
                truncation=limit is not None,
                max_length=limit,
                return_offsets_mapping=fast,
                return_special_tokens_mask=True,
                verbose=False,
            )
        except Exception as error:  # the tokenizers of Rust raise bare Exception
            raise TextError(f"The model's tokenizer cannot read this text: {first_line(error)}.") from error
        ids = [int(i) for i in encoded["input_ids"]]
        if not fast:
            return ids, self._found_spans(text, ids)
        marks = encoded["special_tokens_mask"]
        spans: list[tuple[int, int] | None] = []
        for (start, end), mark in zip(encoded["offset_mapping"], marks, strict=True):
            spans.append(None if mark or start == end else (int(start), int(end)))
        return ids, spans

    def _found_spans(self, text: str, ids: list[int]) -> list[tuple[int, int] | None]:
        spans: list[tuple[int, int] | None] = []
        cursor = 0
        for token_id in ids:
            visible = self.token(token_id).text.strip() if token_id not in self.special_ids else ""
            start = text.find(visible, cursor) if visible else -1
            # A piece is looked for only just ahead, else one normalised character would throw off the rest.
            if start < 0 or start - cursor > len(visible) + 8:
                spans.append(None)
            else:
                cursor = start + len(visible)
                spans.append((start, cursor))
        return spans
