"""The training loop: it can be stopped or killed at any time and goes on as if it had not been."""

# mypy: disable-error-code="no-untyped-call"
# torch and transformers are typed in part.
from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from families import Batch, Example, Family
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

CHECKPOINT = "checkpoint.pt"
SNAPSHOTS = "snapshots"
LOG = "log.jsonl"
SNAPSHOTS_PER_RUN = 25
SNAPSHOTS_KEPT = 5


@dataclass(frozen=True)
class Settings:
    """How to train. Exactly one of ``steps`` and ``minutes`` says for how long."""

    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 2048
    peak_rate: float = 1e-3
    final_rate_share: float = 0.02
    warmup_steps: int = 400
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    seed: int = 1
    device: str = "cpu"
    bfloat16: bool = False
    checkpoint_minutes: float = 2.0
    checkpoint_steps: int | None = None
    log_steps: int = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")


@dataclass
class Position:
    """Where a run stands; with the weights and the random state, all that it needs to go on."""

    step: int = 0
    seconds: float = 0.0
    epoch: int = 0
    batch: int = 0
    snapshots: int = 0


class OtherRunError(ValueError):
    """The folder's checkpoint belongs to a run with other settings."""


class Trainer:
    """One run of one family in one folder.

    Parameters
    ----------
    family, tokenizer, model
        What is trained. The model is changed in place.
    examples, validation
        Token IDs, as ``family.encode`` gives them.
    folder
        Holds the checkpoint, the snapshots and the log. A checkpoint found there is resumed.
    settings
        How to train.
    should_stop
        Asked after each step; true ends the run with a checkpoint.
    report
        Gets one line of progress at a time.
    """

    def __init__(
        self,
        family: Family,
        tokenizer: PreTrainedTokenizerFast,
        model: PreTrainedModel,
        examples: Sequence[Example],
        validation: Sequence[Example],
        folder: Path,
        settings: Settings,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[str], None] = print,
    ) -> None:
        self.family = family
        self.tokenizer = tokenizer
        self.model = model
        torch.nn.Module.to(model, settings.device)
        self.examples = examples
        self.validation = validation
        self.folder = folder
        self.settings = settings
        self.should_stop = should_stop
        self.report = report
        self.position = Position()
        self.optimizer = torch.optim.AdamW(
            _decay_groups(model, settings.weight_decay), lr=settings.peak_rate, betas=settings.betas
        )
        (folder / SNAPSHOTS).mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Train from the folder's checkpoint, or from the beginning, to the end or until told to stop."""
        torch.manual_seed(self.settings.seed)
        self.resume()
        self.model.train()
        started, earlier = time.monotonic(), self.position.seconds
        saved_at = started
        logged: list[dict[str, float]] = []
        recent: list[float] = []
        tokens, tick = 0, started
        stopped = False

        for batch in self._batches():
            if self.progress >= 1 or stopped:
                break
            rate = self.learning_rate
            loss, count = self._step(batch, rate)
            position = self.position
            position.step += 1
            position.batch += 1
            position.seconds = earlier + time.monotonic() - started
            tokens += count
            recent.append(loss)
            logged.append({"step": position.step, "loss": loss, "rate": rate, "epoch": position.epoch})

            if position.step % self.settings.log_steps == 0:
                now = time.monotonic()
                self.report(self._progress_line(sum(recent) / len(recent), rate, tokens / (now - tick)))
                recent, tokens, tick = [], 0, now
            if self.progress * SNAPSHOTS_PER_RUN >= position.snapshots + 1:
                position.snapshots = math.floor(self.progress * SNAPSHOTS_PER_RUN)
                self._save_snapshot()
                self.report(f"step {position.step:,}: validation loss {self.validation_loss():.4f} per token")

            stopped = self.should_stop()
            due = time.monotonic() - saved_at > self.settings.checkpoint_minutes * 60
            if self.settings.checkpoint_steps:
                due = due or position.step % self.settings.checkpoint_steps == 0
            if due or stopped or self.progress >= 1:
                self._save_checkpoint(logged)
                logged = []
                saved_at = time.monotonic()

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.settings.steps is not None:
            return min(1.0, self.position.step / self.settings.steps)
        assert self.settings.minutes is not None
        return min(1.0, self.position.seconds / (self.settings.minutes * 60))

    @property
    def learning_rate(self) -> float:
        """Linear warm-up times a cosine from the peak to its final share.

        The cosine follows ``progress``, so that a run limited by minutes also ends at the low rate,
        however fast the machine is.
        """
        floor = self.settings.final_rate_share
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.progress))
        warmup = min(1.0, (self.position.step + 1) / self.settings.warmup_steps)
        return self.settings.peak_rate * warmup * cosine

    @torch.no_grad()
    def validation_loss(self, model: PreTrainedModel | None = None) -> float:
        """Mean negative log-likelihood (nats) of a predicted validation token, without smoothing."""
        model = self.model if model is None else model
        was_training = model.training
        model.eval()
        total, count = 0.0, 0
        for numbers in length_batches(self.validation, self.settings.batch_tokens, "validation"):
            examples = [self.validation[number] for number in numbers]
            batch = self._to_device(self.family.collate(examples, self.tokenizer, seed=numbers[0]))
            with self._precision():
                nats, tokens = self.family.loss(model, batch, 0.0)
            total += float(nats)
            count += tokens
        model.train(was_training)
        return total / max(count, 1)

    def averaged_weights(self) -> dict[str, Tensor] | None:
        """Average the kept snapshots, or None if there are fewer than two."""
        files = self._snapshot_files()
        if len(files) < 2:
            return None
        mean: dict[str, Tensor] = {}
        for file in files:
            for name, value in load_file(file).items():
                mean[name] = mean.get(name, 0) + value.double() / len(files)
        return {name: value.float() for name, value in mean.items()}

    def _step(self, batch: Batch, rate: float) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self._precision():
            nats, count = self.family.loss(self.model, self._to_device(batch), self.family.label_smoothing)
        loss = nats / max(count, 1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        return loss.item(), count

    def _batches(self) -> Iterator[Batch]:
        """Yield batches from the current position on, without end; the position moves with each epoch."""
        while True:
            name = f"{self.settings.seed} {self.position.epoch}"
            plan = length_batches(self.examples, self.settings.batch_tokens, name)
            for index in range(self.position.batch, len(plan)):
                examples = [self.examples[number] for number in plan[index]]
                seed = random.Random(f"{name} {index}").getrandbits(63)
                yield self.family.collate(examples, self.tokenizer, seed)
            self.position.epoch += 1
            self.position.batch = 0

    def _precision(self) -> AbstractContextManager[None]:
        device_type = torch.device(self.settings.device).type
        return torch.autocast(device_type, dtype=torch.bfloat16, enabled=self.settings.bfloat16)

    def _to_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.settings.device) for name, value in batch.items()}

    def _progress_line(self, loss: float, rate: float, tokens_per_second: float) -> str:
        left = self.position.seconds * (1 / max(self.progress, 1e-9) - 1)
        return (
            f"{self.family.name} {self.progress:6.1%}  step {self.position.step:,}  "
            f"epoch {self.position.epoch}  loss {loss:.4f}  rate {rate:.2e}  "
            f"{tokens_per_second:,.0f} tokens/s  {left / 60:.0f} min left"
        )

    def resume(self) -> None:
        """Go to where the folder's checkpoint is, if there is one.

        Raises
        ------
        OtherRunError
            If going on would mix two runs.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        # By way of the CPU, where random states and AdamW's step counts have to be; the rest is moved on.
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["plan"] != self._plan():
            raise OtherRunError(
                f"the run in {self.folder} was begun as {state['plan']}: go on with these settings, "
                "or give another folder"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = Position(**state["position"])
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None and self.settings.device.startswith("cuda"):
            torch.cuda.set_rng_state(state["cuda_random"])
        for file in self._snapshot_files():
            if file.stem > _snapshot_name(self.position.step):  # from after the checkpoint: written again
                file.unlink()
        self.report(f"resuming at step {self.position.step:,} ({self.progress:.1%})")

    def _save_checkpoint(self, logged: Sequence[dict[str, float]]) -> None:
        cuda = self.settings.device.startswith("cuda")
        state = {
            "plan": self._plan(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": vars(self.position),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if cuda else None,
        }
        # The log goes first: should the process be killed between the two, its last lines are repeated
        # by the resumed run, and a reader keeps the later ones (``read_log``); nothing is ever missing.
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in logged)
        replace_file(self.folder / CHECKPOINT, lambda path: torch.save(state, path))

    def _save_snapshot(self) -> None:
        weights = {name: value.contiguous() for name, value in _untied_weights(self.model).items()}
        path = self.folder / SNAPSHOTS / f"{_snapshot_name(self.position.step)}.safetensors"
        replace_file(path, lambda temporary: save_file(weights, temporary))
        for old in self._snapshot_files()[:-SNAPSHOTS_KEPT]:
            old.unlink()

    def _snapshot_files(self) -> list[Path]:
        return sorted((self.folder / SNAPSHOTS).glob("step-*.safetensors"))

    def _plan(self) -> dict[str, object]:
        """Tell what must be the same when a run is resumed, lest it silently becomes another."""
        return {
            "model": self.family.name,
            "size": vars(self.family.size),
            "seed": self.settings.seed,
            "batch_tokens": self.settings.batch_tokens,
            "examples": len(self.examples),
        }


def _snapshot_name(step: int) -> str:
    return f"step-{step:08d}"


def length_batches(examples: Sequence[Example], batch_tokens: int, name: str) -> list[list[int]]:
    """Cut examples into batches of similar lengths, in an order that depends on ``name`` alone.

    Returns
    -------
    list of list of int
        The numbers of the examples. A batch, padded to its longest, has at most ``batch_tokens`` tokens
        on its longer side.
    """
    shuffler = random.Random(name)
    lengths = [max(map(len, example)) for example in examples]
    order = list(range(len(examples)))
    shuffler.shuffle(order)
    order.sort(key=lengths.__getitem__)  # stable: equal lengths stay shuffled
    cuts = [0]
    for place, number in enumerate(order):
        if (place + 1 - cuts[-1]) * lengths[number] > batch_tokens and place > cuts[-1]:
            cuts.append(place)
    batches = [order[start:end] for start, end in pairwise([*cuts, len(order)])]
    shuffler.shuffle(batches)
    return batches


def read_log(folder: Path) -> dict[int, float]:
    """Read the loss of each step that a run logged."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and put it in its place in one move, so that it is never half written."""
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def load_weights(model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Put averaged weights into a model; tied weights, which are stored once, follow."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or set(missing) & set(_untied_weights(model)):
        raise ValueError(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    model.tie_weights()


def _untied_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """List each tensor under the first of its names."""
    seen: set[int] = set()
    weights: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            weights[name] = value
    return weights


def _decay_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices only: biases and norms have no reason to be small."""
    parameters = [value for value in model.parameters() if value.requires_grad]
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
