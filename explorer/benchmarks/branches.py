"""Walking a run's tree, many steps in one run, beam search, and looking inside steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import explorer
from explorer.benchmarks import checkpoints
from explorer.benchmarks.figures import Agreement, Figure, Plan, Target
from explorer.benchmarks.generation import MOST, PLAIN, Clock, plain_model
from explorer.benchmarks.timing import Timed, compared, in_turn
from explorer.model import kv_cache
from explorer.model.generation import DecodingRun
from explorer.model.language_model import LanguageModel
from explorer.model.run import Run

PROMPT_TOKENS = 8
BRANCH_STEPS = 200
FORK = 100
MOST_MS = 16.0
BEAMS = 4
BEAM_TOKENS = 32


def measure(plan: Plan) -> Iterator[Figure]:
    """Going back, on and elsewhere; a long run; beams; the inside of steps."""
    _, gpt2, _ = checkpoints.sizes(plan.quick)
    _, small_gpt2, _ = checkpoints.sizes(quick=True)
    for device in plan.devices:
        yield from _walks(plan, gpt2, device)
        yield from _long_run(plan, small_gpt2, device)
        for size in checkpoints.sizes(plan.quick):
            yield _beams(plan, size, device)
        yield _inside(plan, gpt2, device)


# -- walking ------------------------------------------------------------------------------------------


def _walks(plan: Plan, size: checkpoints.Size, device: str) -> Iterator[Figure]:
    """One step back and on again, and to the end of another branch and back, in the worker."""
    lm = explorer.load(str(checkpoints.save(size, plan.folder)), device=device)
    run = lm.generate(checkpoints.text(PROMPT_TOKENS), max_new_tokens=BRANCH_STEPS).finish()
    end = run.node
    run.go_to(run.snapshot().nodes[FORK - 1])
    run.step(force=(run.steps[-1].token.id + 1) % lm.info.vocabulary_size)
    run.finish()
    other = run.node
    run.go_to(end)
    last = run.snapshot().nodes[-2]
    passes = _Passes(lm)

    def back_and_on() -> None:
        run.go_to(last)
        run.go_to(end)

    def there_and_back() -> None:
        run.go_to(other)
        run.go_to(end)

    def anew() -> Run:
        fresh = lm.generate(run.source, max_new_tokens=BRANCH_STEPS)
        for step in run.steps:
            fresh.step(force=step.token.id)
        return fresh

    timed = in_turn({"one": back_and_on, "other": there_and_back}, plan.rounds)
    calls = Agreement("forward passes", float(passes.count))
    passes.remove()
    same = Agreement(
        "attention after it with a fresh run's (largest difference)",
        float(np.abs(run.attention("decoder", 0) - anew().attention("decoder", 0)).max()),
        1e-4,
    )
    steps = BRANCH_STEPS - FORK
    for name, what in (
        ("one", f"one step back and on again, after {BRANCH_STEPS}"),
        ("other", f"to another branch's end and back, {steps} steps each"),
    ):
        yield Figure(
            "branches",
            f"{what}, {size.name}",
            device,
            timed[name].median / 2,
            target=Target(MOST_MS),
            agreements=(calls, same),
        )


class _Passes:
    """Counts a model's forward passes."""

    def __init__(self, lm: LanguageModel) -> None:
        self.count = 0
        self._handle = lm.model.register_forward_pre_hook(self._on_pass)

    def _on_pass(self, *_: Any) -> None:
        self.count += 1

    def remove(self) -> None:
        """Count no more."""
        self._handle.remove()


# -- a long run ---------------------------------------------------------------------------------------


def _long_run(plan: Plan, size: checkpoints.Size, device: str) -> Iterator[Figure]:
    """The last tenth of many steps beside the last tenth of generate's, and what the steps keep."""
    steps = 200 if plan.quick else 1000
    folder = checkpoints.save(size, plan.folder)
    lm, plain = explorer.load(str(folder), device=device), plain_model(size, folder, device)
    text = lm.tokenize(checkpoints.text(PROMPT_TOKENS))
    ids = torch.tensor([text.ids], device=device)
    counts = np.linspace(0, steps, 9).astype(int)[1:]
    kept: list[int] = []
    early: dict[str, list[float]] = {"explorer": [], PLAIN: []}
    late: dict[str, list[float]] = {"explorer": [], PLAIN: []}
    tenth = steps // 10

    def note(name: str, clock: Clock) -> None:
        times = np.diff(clock.times) * 1e3
        early[name].append(float(np.median(times[tenth : 2 * tenth])))
        late[name].append(float(np.median(times[-tenth:])))

    def explorers() -> Run:
        clock, weigh = Clock(), not kept
        run = lm.generate(text, max_new_tokens=steps)
        while not run.finished:
            run.step()
            clock.put(None)
            if weigh and len(run.steps) in counts:
                assert isinstance(run, DecodingRun)
                kept.append(run_bytes(run))
        if not weigh:
            note("explorer", clock)
        return run

    def generates() -> Any:
        clock = Clock()
        out = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=steps,
            do_sample=False,
            streamer=clock,
        )
        note(PLAIN, clock)
        return out

    rounds = 1 if plan.quick else 3
    timed = in_turn({"explorer": explorers, PLAIN: generates}, rounds)
    theirs = timed[PLAIN].result[0, len(text) :].tolist()
    run = timed["explorer"].result
    tokens = Agreement(
        "token IDs with model.generate (how many differ)",
        float(sum(a != b for a, b in zip(run.token_ids, theirs, strict=True))),
    )
    of_late = {name: Timed(tuple(times[-rounds:]), None) for name, times in late.items()}
    others, ratios = compared(of_late, "explorer")
    first = float(np.median(early["explorer"]))
    yield Figure(
        "branches",
        f"one of the last {tenth} of {steps} steps in one run, {size.name}",
        device,
        of_late["explorer"].median,
        others={**others, f"one of steps {tenth} to {2 * tenth}": first},
        ratios={**ratios, f"one of steps {tenth} to {2 * tenth}": of_late["explorer"].median / first},
        target=Target(MOST, PLAIN),
        agreements=(tokens,),
    )
    slope, start = np.polyfit(counts, kept, 1)
    line = slope * counts + start
    yield Figure(
        "branches",
        f"bytes that each of {steps} steps keeps: cache, notes, logits, {size.name}",
        device,
        float(slope),
        "bytes",
        agreements=(
            Agreement(
                "bytes with a straight line through them (largest, relative)",
                float((np.abs(kept - line) / line).max()),
                0.01,
            ),
        ),
    )


def run_bytes(run: DecodingRun) -> int:
    """Bytes that a decoder-only run's steps keep: its cache, its notes, and its records on the host."""
    layers = kv_cache.growing_layers(run.cache)
    tensors = [part for layer in layers for part in (layer.keys, layer.values)]
    arrays: dict[int, int] = {}
    for step in run.steps:
        for array in (step.logits, step.scores, step.previous_ids):
            base = array if array.base is None else array.base
            arrays[id(base)] = getattr(base, "nbytes", array.nbytes)
    on_device = sum(int(tensor.nbytes) for tensor in tensors) + run.notes.resident_bytes()
    return on_device + sum(arrays.values())


# -- beams ----------------------------------------------------------------------------------------------


def _beams(plan: Plan, size: checkpoints.Size, device: str) -> Figure:
    """A whole beam search with every hypothesis kept, beside generate's."""
    folder = checkpoints.save(size, plan.folder)
    lm, plain = explorer.load(str(folder), device=device), plain_model(size, folder, device)
    text = lm.tokenize(checkpoints.text(PROMPT_TOKENS))
    ids = torch.tensor([text.ids], device=device)
    given = len(text) if size.family == "decoder-only" else 1
    name = f"model.generate(num_beams={BEAMS})"

    def generates() -> Any:
        return plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=BEAM_TOKENS,
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
        )

    def explorers() -> Any:
        return lm.generate(text).beam_search(BEAMS, max_new_tokens=BEAM_TOKENS)

    timed = in_turn({"explorer": explorers, name: generates}, min(plan.rounds, 5))
    ours, theirs = timed["explorer"].result, timed[name].result
    rows = theirs.sequences[:, given:].tolist()
    others, ratios = compared(timed, "explorer")
    return Figure(
        "branches",
        f"{BEAMS} beams, {BEAM_TOKENS} tokens, every hypothesis kept, {size.name}",
        device,
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=Target(1.5, name),
        agreements=(
            Agreement(
                "sequences with generate's (how many differ)",
                float(sum(list(o.token_ids) != row for o, row in zip(ours.hypotheses, rows, strict=True))),
            ),
            Agreement(
                "scores with generate's (largest difference)",
                float(
                    np.abs(
                        np.array([hypothesis.score for hypothesis in ours.hypotheses])
                        - theirs.sequences_scores.cpu().numpy()
                    ).max()
                ),
                1e-4,
            ),
        ),
    )


# -- the inside of steps ----------------------------------------------------------------------------------


def _inside(plan: Plan, size: checkpoints.Size, device: str) -> Figure:
    """Every part of every layer and the logit lens, beside hidden states and the head on them by hand."""
    folder = checkpoints.save(size, plan.folder)
    lm, plain = explorer.load(str(folder), device=device), plain_model(size, folder, device)
    run = lm.generate(checkpoints.text(PROMPT_TOKENS), max_new_tokens=BEAM_TOKENS).finish()
    ids = torch.tensor([[*run.source.ids, *run.token_ids[:-1]]], device=device)
    name = "output_hidden_states, and the head on each by hand"

    def by_hand() -> Any:
        with torch.inference_mode():
            states = plain(ids, output_hidden_states=True, use_cache=False).hidden_states
            last = len(states) - 1
            found = []
            for index, state in enumerate(states):
                hidden = state[0, -BEAM_TOKENS:]
                hidden = hidden if index == last else plain.transformer.ln_f(hidden)
                found.append(torch.softmax(plain.lm_head(hidden), dim=-1).topk(5))
        return found

    timed = in_turn({"explorer": run.inside, name: by_hand}, min(plan.rounds, 5))
    ours, theirs = timed["explorer"].result.lens, timed[name].result
    others, ratios = compared(timed, "explorer")
    probabilities = torch.stack([found.values for found in theirs], dim=1).cpu().numpy()
    return Figure(
        "branches",
        f"the inside of {BEAM_TOKENS} steps, {size.name}",
        device,
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        agreements=(
            Agreement(
                "the five most likely at every layer with those by hand (largest difference)",
                float(np.abs(ours.top_probabilities - probabilities).max()),
                1e-5,
            ),
        ),
    )
