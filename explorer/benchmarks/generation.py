"""Generation that can be looked into, beside plain ``model.generate``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import explorer
from explorer.benchmarks import checkpoints
from explorer.benchmarks.figures import Agreement, Figure, Plan, Target
from explorer.benchmarks.timing import Timed, compared, in_turn
from explorer.core.selection import AttentionKind
from explorer.model.run import Run

SOURCE_TOKENS = 32
NEW_TOKENS = 64
# The first steps fill caches that the later ones reuse.
FIRST_STEPS = 4
MOST_ROUNDS = 5
MOST = 1.15
PLAIN, EAGER = "model.generate", "model.generate, eager, output_attentions=True"


class Clock:
    """A streamer that notes when each token came."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: Any) -> None:
        """A token came."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """That was all."""

    @property
    def step_ms(self) -> float:
        """Median time from one token to the next, but for the first few."""
        return float(np.median(np.diff(self.times)[FIRST_STEPS:])) * 1e3


def measure(plan: Plan) -> Iterator[Figure]:
    """A whole generation, and one step of it, at each size of checkpoint."""
    for size in checkpoints.sizes(plan.quick):
        folder = checkpoints.save(size, plan.folder)
        for device in plan.devices:
            yield from _generation(plan, size, folder, device)


def plain_model(size: checkpoints.Size, folder: Path, device: str, **options: Any) -> Any:
    """The checkpoint as transformers loads it, with its own attention."""
    classes: dict[str, Any] = {
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
        "decoder-only": transformers.AutoModelForCausalLM,
    }
    return classes[size.family].from_pretrained(folder, **options).to(device).eval()


def _generation(plan: Plan, size: checkpoints.Size, folder: Path, device: str) -> Iterator[Figure]:
    lm = explorer.load(str(folder), device=device)
    plain = plain_model(size, folder, device)
    eager = plain_model(size, folder, device, attn_implementation="eager")
    text = lm.tokenize(checkpoints.text(SOURCE_TOKENS))
    ids = torch.tensor([text.ids], device=device)
    given = len(text) if size.family == "decoder-only" else 1

    steps: dict[str, list[float]] = {}

    def explorers() -> Run:
        clock = Clock()
        run = lm.generate(text, max_new_tokens=NEW_TOKENS)
        while not run.finished:
            run.step()
            clock.put(None)
        steps.setdefault("explorer", []).append(clock.step_ms)
        return run

    def generates(name: str, model: Any, **options: Any) -> Any:
        clock = Clock()
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            streamer=clock,
            return_dict_in_generate=True,
            **options,
        )
        steps.setdefault(name, []).append(clock.step_ms)
        return out

    timed = in_turn(
        {
            "explorer": explorers,
            PLAIN: lambda: generates(PLAIN, plain),
            EAGER: lambda: generates(EAGER, eager, output_attentions=True),
        },
        min(plan.rounds, MOST_ROUNDS),
    )
    run, theirs = timed["explorer"].result, timed[PLAIN].result
    tokens = Agreement(
        "token IDs with model.generate (how many differ)",
        _differing(run.token_ids, theirs.sequences[0, given:].tolist()),
    )
    weights = Agreement(
        "attention weights with the eager ones (largest difference)",
        _weights_apart(run, timed[EAGER].result, given),
        1e-4,
    )
    others, ratios = compared(timed, "explorer")
    yield Figure(
        "generation",
        f"{NEW_TOKENS} new tokens with every attention kept, {size.name}",
        device,
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(MOST, PLAIN),
        agreements=(tokens, weights),
    )
    # The first of each was to warm up.
    stepped = {name: Timed(tuple(times[1:]), None) for name, times in steps.items()}
    others, ratios = compared(stepped, "explorer")
    yield Figure(
        "generation",
        f"one step of it, {size.name}",
        device,
        stepped["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(MOST, PLAIN),
        agreements=(tokens,),
    )


def _differing(ours: list[int], theirs: list[int]) -> float:
    if not len(ours) == len(theirs) == NEW_TOKENS:
        return float("nan")
    return float(sum(a != b for a, b in zip(ours, theirs, strict=True)))


def _weights_apart(run: Run, eager: Any, given: int) -> float:
    """Largest difference at the last step before which both wrote the same."""
    theirs = eager.sequences[0, given:].tolist()
    differing = (i for i, pair in enumerate(zip(run.token_ids, theirs, strict=True)) if len(set(pair)) > 1)
    step = next(differing, NEW_TOKENS - 1)
    by_kind: dict[AttentionKind, Any]
    if run.lm.family == "decoder-only":
        row, by_kind = given - 1 + step, {"decoder": eager.attentions}
    else:
        row, by_kind = step, {"decoder": eager.decoder_attentions, "cross": eager.cross_attentions}
    apart = 0.0
    for kind, by_step in by_kind.items():
        for layer, weights in enumerate(by_step[step]):
            expected = weights[0, :, -1].float().cpu().numpy()  # (H, k)
            found = run.attention(kind, layer)[:, row, : expected.shape[1]]
            apart = max(apart, float(np.abs(found - expected).max()))
    return apart
