"""The part of the shared state that is about which language is read and which is written."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from explorer.core.languages import NO_LANGUAGES, LanguagePair, unknown_language
from explorer.core.records import ModelInfo


class LanguageState(QObject):
    """Held by `AppState` as ``languages``; the same rules: set on the GUI thread, a signal per field.

    What was chosen for a model is kept for the session, and comes back when that model does.
    """

    pair_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model: ModelInfo | None = None
        self._pair = NO_LANGUAGES
        self._asked = NO_LANGUAGES
        self._remark, self._refused = "", False
        self._chosen: dict[str, LanguagePair] = {}

    @property
    def pair(self) -> LanguagePair:
        """What is read and written; `NO_LANGUAGES` for a model that is not told any."""
        return self._pair

    @property
    def known(self) -> tuple[str, ...]:
        """Codes to choose from; empty for a model that is not told any."""
        return () if self._model is None else self._model.languages

    @property
    def remark(self) -> str:
        """What a person should know of the languages when the model has just been loaded."""
        return self._remark

    @property
    def refused(self) -> bool:
        """Whether the remark is that the model does not know what was asked for."""
        return self._refused

    def ask(self, source: str | None, target: str | None) -> None:
        """What the first model is to read and write, before it is there and its codes are known."""
        self._asked = LanguagePair(source or "", target or "")

    def set_model(self, model: ModelInfo | None) -> None:
        """Another model was loaded: what was chosen for it before, or else what it sets itself."""
        self._model = model
        self._remark, self._refused = "", False
        if model is None:
            self._set_pair(NO_LANGUAGES)
            return
        pair = self._chosen.get(model.source, model.own_languages)
        asked, self._asked = self._asked, NO_LANGUAGES
        unknown = [code for code in (asked.source, asked.target) if code and code not in model.languages]
        if unknown:
            self._remark, self._refused = unknown_language(model.name, unknown[0], model.languages), True
        elif asked != NO_LANGUAGES:
            pair = LanguagePair(asked.source or pair.source, asked.target or pair.target)
            self._chosen[model.source] = pair
        if model.languages and not pair.target and not self._refused:
            self._remark = f"{pair.sentence(model.name)} Both are chosen in the Tokens panel."
        self._set_pair(pair)

    def choose(self, pair: LanguagePair) -> None:
        """A person chose; an empty target, where the checkpoint sets none, has the model decide.

        Raises
        ------
        ValueError
            The model does not know that language.
        """
        model = self._model
        for code in (pair.source, pair.target):
            if model is not None and code and code not in model.languages:
                raise ValueError(unknown_language(model.name, code, model.languages))
        if model is not None:
            self._chosen[model.source] = pair
            self._set_pair(pair)

    def _set_pair(self, pair: LanguagePair) -> None:
        if pair != self._pair:
            self._pair = pair
            self.pair_changed.emit()
