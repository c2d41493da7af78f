from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import explorer
from explorer.model.language_model import LanguageModel
from tests.model import checkpoints


@pytest.fixture(scope="session")
def fr_en() -> LanguageModel:
    return explorer.load("fr-en", device="cpu")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a random-weight checkpoint by its name in `checkpoints`, made once a session."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("checkpoint")
            made[name] = checkpoints.save(
                (checkpoints.ALL | checkpoints.EAGER | checkpoints.WITHOUT_MAPS)[name],
                folder,
                bos=name in checkpoints.ENCODER_ONLY | checkpoints.EAGER_ENCODERS | checkpoints.WITHOUT_MAPS,
                eos=name not in checkpoints.DECODER_ONLY | checkpoints.EAGER_DECODERS,
            )
        return made[name]

    return make
