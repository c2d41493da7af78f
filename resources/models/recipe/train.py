"""Train one of the bundled models with one command; run it again to go on after an interruption.

python resources/models/recipe/train.py fr-en --data fra-eng.zip --out DIR --minutes 90
"""

# mypy: disable-error-code="no-untyped-call"
# torch and transformers are typed in part.
from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Read by the maths libraries when they are first imported: more threads than asked for are slower, not
# faster, wherever something else is running.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from corpus import Pair, Split, read_pairs, read_subject_pairs, split
from evaluate import evaluate
from export import export_model
from families import FAMILIES, Family, make_family
from tokenizing import load_tokenizer, save_tokenizer
from training import OtherRunError, Settings, Trainer, load_weights
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

SUBJECT_REPETITIONS = 5
DEFAULT_MINUTES = 90.0
VALIDATION_EXAMPLES = 1000


def main(arguments: Sequence[str] | None = None, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Train, export and evaluate; 0 when the run is finished, 3 when it was stopped before."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    device = _device(options.device)
    family = make_family(options.model, **_given_sizes(options))
    try:
        pairs = read_pairs(options.data)
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot read {options.data}: {error}", file=sys.stderr)
        return 2
    subject = read_subject_pairs()
    parts = split(pairs, pinned=subject)
    if not parts.validation or not parts.test:
        print(f"{options.data} holds too few pairs to put some aside for testing", file=sys.stderr)
        return 2
    print(f"{len(parts.train):,} pairs to train on, {len(parts.test):,} to test, {len(subject)} of our own")

    run_folder = options.out / "run"
    tokenizer = _tokenizer(family, parts, subject, run_folder)
    torch.manual_seed(options.seed)
    model = family.build_model(tokenizer)
    examples = family.encode(parts.train, tokenizer) + family.encode(subject, tokenizer) * SUBJECT_REPETITIONS
    validation = family.encode(parts.validation, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(examples):,} examples, {device}")

    trainer = Trainer(
        family,
        tokenizer,
        model,
        examples,
        validation[:: math.ceil(len(validation) / VALIDATION_EXAMPLES)],  # the file is sorted by length
        run_folder,
        _settings(options, device),
        should_stop=should_stop,
        report=lambda line: print(line, flush=True),
    )
    try:
        if options.export_now:
            trainer.resume()
        else:
            trainer.run()
    except OtherRunError as error:
        print(error, file=sys.stderr)
        return 2
    if trainer.progress < 1 and not options.export_now:
        print(f"stopped at step {trainer.position.step:,}; the same command goes on from there")
        return 3
    _finish(trainer, parts, options.out)
    return 0


def _finish(trainer: Trainer, parts: Split, out: Path) -> None:
    """Choose between the last weights and the averaged ones, export, evaluate, and note the scores."""
    model = trainer.model
    losses = {"last": trainer.validation_loss()}
    averaged = trainer.averaged_weights()
    if averaged is not None:
        last = {name: value.clone() for name, value in model.state_dict().items()}
        load_weights(model, averaged)
        losses["averaged"] = trainer.validation_loss()
        if losses["last"] <= losses["averaged"]:
            model.load_state_dict(last)
    print("validation loss:", {name: round(loss, 4) for name, loss in losses.items()})
    export_model(trainer.family, model, trainer.tokenizer, out)
    scores = {
        "steps": trainer.position.step,
        "epochs": trainer.position.epoch,
        "minutes": round(trainer.position.seconds / 60, 1),
        "validation_loss": losses,
        "test": evaluate(trainer.family.name, out, parts),
    }
    text = json.dumps(scores, indent=2)
    (out / "scores.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def _tokenizer(family: Family, parts: Split, subject: list[Pair], folder: Path) -> PreTrainedTokenizerFast:
    """Train the tokenizer once; a resumed run must go on with the very same pieces.

    Training a WordPiece twice gives its continuations other IDs: the library walks through a hash map.
    """
    stored = folder / "tokenizer"
    if (stored / "tokenizer_config.json").exists():
        return load_tokenizer(stored)
    tokenizer = family.train_tokenizer([*parts.train, *subject])
    save_tokenizer(tokenizer, stored)
    return tokenizer


def _settings(options: argparse.Namespace, device: str) -> Settings:
    minutes = options.minutes
    if options.steps is None and minutes is None:
        minutes = DEFAULT_MINUTES
    bfloat16 = options.precision == "bfloat16" or (options.precision == "auto" and device != "cpu")
    return Settings(
        steps=options.steps,
        minutes=minutes,
        batch_tokens=options.batch_tokens,
        peak_rate=options.rate,
        warmup_steps=options.warmup_steps,
        seed=options.seed,
        device=device,
        bfloat16=bfloat16,
        checkpoint_minutes=options.checkpoint_minutes,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", choices=sorted(FAMILIES), help="which model to train")
    parser.add_argument("--data", type=Path, required=True, help="fra-eng.zip of manythings.org/anki")
    parser.add_argument("--out", type=Path, required=True, help="gets the model; holds the run to resume")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help=f"how long to train (default {DEFAULT_MINUTES:.0f})")
    length.add_argument("--steps", type=int, help="how many steps to train, instead of minutes")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto: bfloat16 on a GPU, else float32 (CPUs with AMX gain from bfloat16)",
    )
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=1e-3, help="the peak learning rate")
    parser.add_argument("--warmup-steps", type=int, default=400)
    parser.add_argument("--checkpoint-minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, help="instead of the bundled model's")
    parser.add_argument("--width", type=int, help="instead of the bundled model's")
    parser.add_argument("--vocabulary", type=int, help="instead of the bundled model's")
    parser.add_argument("--export-now", action="store_true", help="export the checkpoint as it is")
    return parser.parse_args(arguments)


def _given_sizes(options: argparse.Namespace) -> dict[str, int]:
    sizes = {name: getattr(options, name) for name in ("layers", "width", "vocabulary")}
    return {name: value for name, value in sizes.items() if value is not None}


def _device(name: str) -> str:
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def stop_on_signals() -> Callable[[], bool]:
    """Make SIGTERM and Ctrl+C end the run after the current step, with a checkpoint."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: received.append(number))
    return lambda: bool(received)


if __name__ == "__main__":
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    sys.exit(main(should_stop=stop_on_signals()))
