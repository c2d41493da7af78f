"""The recipe's loop, export and measures, on tiny models and made-up sentences."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from .conftest import RECIPE
from .made_up import write_made_up_corpus

import train  # isort: skip
from corpus import Pair, read_pairs  # isort: skip
from evaluate import score_continuation, score_mask_filling, score_translation  # isort: skip
from export import export_model  # isort: skip
from families import FAMILIES, Family, make_family  # isort: skip
from training import OtherRunError, Settings, Trainer, length_batches, load_weights, read_log  # isort: skip

TINY = {"vocabulary": 400, "layers": 1, "width": 16, "heads": 2, "feed_forward": 32}
STEPS = 12


class KilledError(Exception):
    """Stands for a process that ends without a word."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return read_pairs(write_made_up_corpus(tmp_path_factory.mktemp("corpus") / "pairs.tsv"))


@cache
def trained_tokenizer(name: str, pairs: tuple[Pair, ...]) -> PreTrainedTokenizerFast:
    """Train once, as the command does: a WordPiece's IDs come out in another order each time."""
    return make_family(name, **TINY).train_tokenizer(pairs)


def make_trainer(name: str, pairs: list[Pair], folder: Path, **changes: object) -> Trainer:
    family: Family = make_family(name, **TINY)
    tokenizer = trained_tokenizer(name, tuple(pairs))
    torch.manual_seed(0)
    options = {"steps": STEPS, "batch_tokens": 500, "warmup_steps": 4, "checkpoint_steps": 5, **changes}
    return Trainer(
        family,
        tokenizer,
        family.build_model(tokenizer),
        family.encode(pairs[30:], tokenizer),
        family.encode(pairs[:30], tokenizer),
        folder,
        Settings(**options),  # type: ignore[arg-type]
        report=lambda _line: None,
    )


def stop_after(trainer: Trainer, step: int) -> None:
    trainer.should_stop = lambda: trainer.position.step >= step


def kill_after(trainer: Trainer, step: int) -> None:
    def killed() -> bool:
        if trainer.position.step >= step:
            raise KilledError
        return False

    trainer.should_stop = killed


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_that_a_stopped_and_a_killed_run_end_like_an_uninterrupted_one(
    name: str, pairs: list[Pair], tmp_path: Path
) -> None:
    whole = make_trainer(name, pairs, tmp_path / "whole")
    whole.run()

    stopped = make_trainer(name, pairs, tmp_path / "parts")
    stop_after(stopped, 3)
    stopped.run()
    assert stopped.position.step == 3

    killed = make_trainer(name, pairs, tmp_path / "parts")
    kill_after(killed, 8)  # past the checkpoint of step 5
    with pytest.raises(KilledError):
        killed.run()

    resumed = make_trainer(name, pairs, tmp_path / "parts")
    resumed.resume()
    assert resumed.position.step == 5
    resumed.run()

    assert read_log(tmp_path / "parts") == read_log(tmp_path / "whole")
    assert list(read_log(tmp_path / "whole")) == list(range(1, STEPS + 1))
    assert whole.position.epoch > 0, "the run is to cross the end of an epoch"
    for name_of_weight, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, resumed.model.state_dict()[name_of_weight], rtol=0, atol=0)
    averages = whole.averaged_weights(), resumed.averaged_weights()
    assert averages[0] is not None
    assert averages[1] is not None
    for name_of_weight, value in averages[0].items():
        torch.testing.assert_close(value, averages[1][name_of_weight], rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_that_training_lowers_the_validation_loss(name: str, pairs: list[Pair], tmp_path: Path) -> None:
    trainer = make_trainer(name, pairs, tmp_path, steps=40, peak_rate=1e-2)
    before = trainer.validation_loss()
    trainer.run()
    assert trainer.validation_loss() < before - 1.0


def test_that_a_run_with_other_settings_is_not_mixed_in(pairs: list[Pair], tmp_path: Path) -> None:
    make_trainer("en-gpt", pairs, tmp_path, steps=2).run()
    with pytest.raises(OtherRunError, match="'seed': 1"):
        make_trainer("en-gpt", pairs, tmp_path, seed=2).run()


def test_that_the_rate_warms_up_and_ends_low(pairs: list[Pair], tmp_path: Path) -> None:
    trainer = make_trainer("en-gpt", pairs, tmp_path, steps=1000, warmup_steps=100, peak_rate=1.0)
    rates = []
    for step in (0, 99, 550, 999):
        trainer.position.step = step
        rates.append(trainer.learning_rate)
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] > 0.95
    assert rates[1] > rates[2] > rates[3] == pytest.approx(0.02, rel=1e-2)


def test_that_minutes_bound_a_run_and_its_rate(pairs: list[Pair], tmp_path: Path) -> None:
    trainer = make_trainer("en-gpt", pairs, tmp_path, steps=None, minutes=10.0)
    trainer.position.step, trainer.position.seconds = 5000, 600.0
    assert trainer.progress == 1
    assert trainer.learning_rate == pytest.approx(trainer.settings.peak_rate * 0.02)
    with pytest.raises(ValueError, match="either steps or minutes"):
        Settings(steps=1, minutes=1.0)


def test_that_batches_hold_each_example_once_and_keep_to_their_size() -> None:
    examples = [([0] * (3 + n % 17), [0] * (3 + n % 5)) for n in range(500)]
    batches = length_batches(examples, 100, "name")
    assert sorted(number for batch in batches for number in batch) == list(range(500))
    for batch in batches:
        lengths = [max(map(len, examples[number])) for number in batch]
        assert len(batch) * max(lengths) <= 100
    assert length_batches(examples, 100, "name") == batches
    assert length_batches(examples, 100, "another") != batches


def test_that_masks_spare_the_frame_and_ask_something_of_every_sentence(pairs: list[Pair]) -> None:
    family = make_family("en-mlm", **TINY)
    tokenizer = family.train_tokenizer(pairs)
    examples = family.encode(pairs, tokenizer)
    batch = family.collate(examples, tokenizer, seed=1)
    predicted = batch["labels"] != -100
    frame = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id])
    assert predicted.any(dim=1).all()
    assert not torch.isin(batch["labels"][predicted], frame).any()
    assert not torch.isin(batch["input_ids"][predicted], frame).any()
    masked = (batch["input_ids"] == tokenizer.mask_token_id).sum() / predicted.sum()
    assert 0.7 < float(masked) < 0.9
    for row, (example,) in zip(range(len(examples)), examples, strict=True):
        whole = torch.where(predicted, batch["labels"], batch["input_ids"])[row, : len(example)]
        assert whole.tolist() == example


def test_that_averaging_takes_the_mean_of_the_last_snapshots(pairs: list[Pair], tmp_path: Path) -> None:
    trainer = make_trainer("en-gpt", pairs, tmp_path, steps=8)
    seen: list[torch.Tensor] = []
    trainer.should_stop = lambda: seen.append(trainer.model.transformer.wpe.weight.detach().clone()) or False
    trainer.run()
    averaged = trainer.averaged_weights()
    assert averaged is not None
    load_weights(trainer.model, averaged)
    mean = torch.stack(seen[-5:]).mean(0)
    torch.testing.assert_close(trainer.model.transformer.wpe.weight.detach(), mean)
    embeddings = trainer.model.get_input_embeddings(), trainer.model.get_output_embeddings()
    assert embeddings[0].weight.data_ptr() == embeddings[1].weight.data_ptr()


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("fr-en", AutoModelForSeq2SeqLM),
        ("en-gpt", AutoModelForCausalLM),
        ("en-mlm", AutoModelForMaskedLM),
    ],
)
def test_that_an_export_loads_by_the_auto_classes(
    name: str, loader: type, pairs: list[Pair], tmp_path: Path
) -> None:
    trainer = make_trainer(name, pairs, tmp_path / "run")
    export_model(trainer.family, trainer.model, trainer.tokenizer, tmp_path / "model")
    model, info = loader.from_pretrained(
        tmp_path / "model", dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert not any(info.values())
    assert model.config.architectures == [type(trainer.model).__name__]
    assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    for name_of_weight, value in trainer.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name_of_weight], value, rtol=1e-3, atol=1e-4)
    assert next(trainer.model.parameters()).dtype == torch.float32, "the original is left alone"


def test_that_an_export_that_is_too_large_leaves_nothing(pairs: list[Pair], tmp_path: Path) -> None:
    trainer = make_trainer("en-gpt", pairs, tmp_path / "run")
    trainer.family.max_megabytes = 0
    with pytest.raises(ValueError, match="MB of weights"):
        export_model(trainer.family, trainer.model, trainer.tokenizer, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_that_a_model_that_knows_nothing_has_the_vocabulary_as_perplexity(
    pairs: list[Pair], tmp_path: Path
) -> None:
    for name, measure in (("en-gpt", score_continuation), ("en-mlm", score_mask_filling)):
        trainer = make_trainer(name, pairs, tmp_path / name)
        for value in trainer.model.parameters():
            value.data.zero_()
        with torch.inference_mode():
            scores = measure(trainer.model.eval(), trainer.tokenizer, pairs)
        assert scores["perplexity"] == pytest.approx(len(trainer.tokenizer), abs=0.01)


def test_that_any_of_several_translations_counts_as_right(pairs: list[Pair]) -> None:
    family = make_family("fr-en", **TINY)
    tokenizer = family.train_tokenizer(pairs)

    class Parrot:
        """Always answers the same, whatever it is asked."""

        def generate(self, input_ids: torch.Tensor, **_: object) -> torch.Tensor:
            answer = tokenizer("My brother sees the old tree.", return_tensors="pt")["input_ids"]
            return answer.expand(len(input_ids), -1)

        def __call__(self, decoder_input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.zeros(*decoder_input_ids.shape, len(tokenizer)))

    french = "Mon frère voit le vieil arbre."
    references = [Pair("The old tree is seen.", french), Pair("My brother sees the old tree.", french)]
    scores = score_translation(Parrot(), tokenizer, [*references, Pair("The sea.", "La mer.")])
    assert scores["sentences"] == 2
    assert scores["exactly_right_percent"] == 50.0
    assert scores["bleu"] > scores["bleu_first_reference"]
    assert scores["loss_per_token"] == pytest.approx(math.log(len(tokenizer)), abs=1e-3)


def test_that_the_command_survives_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real process, a real SIGKILL, and the same command again."""
    data = write_made_up_corpus(tmp_path / "pairs.tsv")

    def arguments(out: str) -> list[str]:
        sizes = ["--layers", "1", "--width", "16", "--vocabulary", "600", "--batch-tokens", "300"]
        length = ["--steps", "30", "--checkpoint-minutes", "0", "--device", "cpu"]
        return ["en-gpt", "--data", str(data), "--out", str(tmp_path / out), *sizes, *length]

    process = subprocess.Popen(
        [sys.executable, str(RECIPE / "train.py"), *arguments("killed")],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = tmp_path / "killed" / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_text(encoding="utf-8").splitlines()) >= 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was to be killed before its end"

    assert train.main(arguments("killed")) == 0
    assert "resuming at step" in capsys.readouterr().out
    assert train.main(arguments("whole")) == 0
    assert read_log(tmp_path / "killed" / "run") == read_log(tmp_path / "whole" / "run")
    scores = json.loads((tmp_path / "killed" / "scores.json").read_text(encoding="utf-8"))
    assert scores["steps"] == 30
    assert scores["test"] == json.loads((tmp_path / "whole" / "scores.json").read_text("utf-8"))["test"]


def test_that_the_command_names_what_is_wrong_with_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["en-gpt", "--data", str(tmp_path / "none.zip"), "--out", str(tmp_path / "out")]
    assert train.main(missing) == 2
    assert "cannot read" in capsys.readouterr().err
    (tmp_path / "few.tsv").write_text("Go.\tVa !\n", encoding="utf-8")
    assert train.main(["en-gpt", "--data", str(tmp_path / "few.tsv"), "--out", str(tmp_path / "out")]) == 2
    assert "too few pairs" in capsys.readouterr().err


def test_that_a_stop_before_the_end_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_made_up_corpus(tmp_path / "pairs.tsv")
    sizes = ["--layers", "1", "--width", "16", "--vocabulary", "600", "--steps", "50", "--device", "cpu"]
    command = ["en-mlm", "--data", str(data), "--out", str(tmp_path / "out"), *sizes]
    assert train.main(command, should_stop=lambda: True) == 3
    assert "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert train.main([*command, "--export-now"]) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
