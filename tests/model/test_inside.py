"""The inside of a step, against hidden states, hooks and heads put together by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import explorer
from explorer.core.inside import InsideReading
from explorer.core.sampling import SamplingParams
from explorer.model.language_model import LanguageModel
from explorer.model.run import Run
from tests.model.checkpoints import DECODER_ONLY, ENCODER_DECODERS, ENCODER_ONLY, TEXT, save
from tests.model.test_generation import GREEDY, SENTENCE, reference

FAMILIES = [*ENCODER_DECODERS, *DECODER_ONLY, *(name for name in ENCODER_ONLY if "head" not in name)]
MASKED = "the cat <mask> on a <mask>"


def a_run(lm: LanguageModel, steps: int = 6) -> Run:
    text = MASKED if lm.family == "encoder-only" else TEXT
    run = lm.generate(text, GREEDY)
    for index in range(steps):
        if run.finished:
            break
        # Random weights soon write the end token: other tokens keep the run going.
        run.step(force=40 + 3 * index)
    return run


def hidden_states(model: Any, run: Run) -> tuple[list[torch.Tensor], torch.Tensor]:
    """(steps, D) per stage, and own logits (steps, V), by ``output_hidden_states`` of a plain model."""
    lm, ids = run.lm, run.token_ids
    options = {"output_hidden_states": True, "use_cache": False}
    with torch.inference_mode():
        if lm.family == "encoder-decoder":
            start = [token.id for token in run.start_tokens]
            out = model(
                input_ids=torch.tensor([run.source.ids]),
                decoder_input_ids=torch.tensor([start + ids[:-1]]),
                **options,
            )
            states, first = out.decoder_hidden_states, len(start) - 1
        elif lm.family == "decoder-only":
            out = model(torch.tensor([list(run.source.ids) + ids[:-1]]), **options)
            states, first = out.hidden_states, len(run.source) - 1
        else:
            rows, logits = [], []
            for step in run.steps:
                out = model(torch.tensor(step.previous_ids)[None], output_hidden_states=True)
                place = int(np.flatnonzero(step.previous_ids == 4)[0])
                rows.append([state[0, place] for state in out.hidden_states])
                logits.append(out.logits[0, place])
            return [torch.stack(stage) for stage in zip(*rows, strict=True)], torch.stack(logits)
    return [state[0, first:] for state in states], out.logits[0, first:]


def head_by_hand(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """The output head, written out per family."""
    config, kind = model.config, model.config.model_type
    if kind == "t5" and config.scale_decoder_outputs:
        hidden = hidden * config.d_model**-0.5
    if kind == "bert":
        return model.cls(hidden)
    if kind == "distilbert":
        hidden = model.vocab_layer_norm(torch.nn.functional.gelu(model.vocab_transform(hidden)))
        return model.vocab_projector(hidden)
    if kind == "modernbert":
        return model.decoder(model.head(hidden))
    logits = model.lm_head(hidden)
    if hasattr(model, "final_logits_bias"):
        logits = logits + model.final_logits_bias
    cap = getattr(config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def final_norm_by_hand(model: Any) -> Any:
    """The norm at the end of the stack; None for families that have none."""
    kind = model.config.model_type
    by_kind: dict[str, Callable[[], Any]] = {
        "t5": lambda: model.decoder.final_layer_norm,
        "mt5": lambda: model.decoder.final_layer_norm,
        "mbart": lambda: model.model.decoder.layer_norm,
        "m2m_100": lambda: model.model.decoder.layer_norm,
        "pegasus": lambda: model.model.decoder.layer_norm,
        "gpt2": lambda: model.transformer.ln_f,
        "gpt_neox": lambda: model.gpt_neox.final_layer_norm,
        "modernbert": lambda: model.model.final_norm,
        "gemma3": lambda: model.model.language_model.norm,
    }
    if kind in by_kind:
        return by_kind[kind]()
    return None if kind in {"bart", "marian", "bert", "roberta", "distilbert"} else model.model.norm


def plain(checkpoint: Callable[[str], Path], name: str) -> Any:
    if name in ENCODER_ONLY:
        return transformers.AutoModelForMaskedLM.from_pretrained(checkpoint(name)).eval()
    family = "encoder-decoder" if name in ENCODER_DECODERS else "decoder-only"
    return reference(checkpoint(name), family)


@pytest.mark.parametrize("name", FAMILIES)
def test_that_the_lens_is_the_models_own_head_on_its_own_hidden_states(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = a_run(lm)
    reading = run.inside(top=4)
    lens = reading.lens
    assert lens is not None
    model = plain(checkpoint, name)
    states, own = hidden_states(model, run)
    norm = final_norm_by_hand(model)
    assert lens.labels == ("input", *(f"layer {index}" for index in range(len(states) - 1)))
    assert reading.nodes == run.snapshot().nodes
    np.testing.assert_allclose(reading.input_norms, states[0].norm(dim=-1), rtol=1e-4)
    with torch.inference_mode():
        for stage in range(len(lens.labels)):
            if stage == len(lens.labels) - 1:
                logits = own
            else:
                logits = head_by_hand(model, states[stage] if norm is None else norm(states[stage]))
            probabilities = torch.softmax(logits.double(), dim=-1).numpy()
            ours = np.take_along_axis(probabilities, lens.top_ids[:, stage], axis=1)
            np.testing.assert_allclose(lens.top_probabilities[:, stage], ours, atol=1e-4)
            best = np.sort(probabilities, axis=1)[:, ::-1][:, :4]
            np.testing.assert_allclose(lens.top_probabilities[:, stage], best, atol=1e-4)
            for row, token_id in enumerate(run.token_ids):
                chosen = probabilities[row, token_id]
                assert lens.chosen_probabilities[row, stage] == pytest.approx(chosen, abs=1e-4)
                close = np.abs(probabilities[row] - chosen) < 1e-7
                rank = int((probabilities[row] > chosen).sum())
                assert abs(int(lens.chosen_ranks[row, stage]) - rank) <= int(close.sum())
                positive = probabilities[row][probabilities[row] > 0]
                bits = -(positive * np.log2(positive)).sum()
                assert lens.entropy_bits[row, stage] == pytest.approx(bits, abs=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_that_the_lenss_last_row_is_what_the_steps_themselves_say(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    run = a_run(explorer.load(str(checkpoint(name)), device="cpu"))
    lens = run.inside(top=3).lens
    assert lens is not None
    for row, step in enumerate(run.steps):
        assert int(lens.top_ids[row, -1, 0]) == int(step.logits.argmax())
        shifted = np.exp(step.logits.astype(np.float64) - step.logits.max())
        own = shifted / shifted.sum()
        np.testing.assert_allclose(lens.top_probabilities[row, -1], own[lens.top_ids[row, -1]], atol=1e-4)


# Which modules a layer's parts are, per family, written out: (attention, [cross], feed-forward).
def parts_by_hand(model: Any) -> Iterator[list[tuple[str, Any, Any]]]:
    """Per layer: (kind, module whose output is added, module whose input are the activations or None)."""
    kind = model.config.model_type
    if kind in {"t5", "mt5"}:
        for block in model.decoder.block:
            ff = block.layer[2].DenseReluDense
            yield [
                ("self-attention", block.layer[0].SelfAttention, None),
                ("cross-attention", block.layer[1].EncDecAttention, None),
                ("feed-forward", ff, ff.wo),
            ]
    elif model.config.is_encoder_decoder:
        for layer in model.model.decoder.layers:
            yield [
                ("self-attention", layer.self_attn, None),
                ("cross-attention", layer.encoder_attn, None),
                ("feed-forward", layer.fc2, layer.fc2),
            ]
    elif kind == "gpt2":
        for layer in model.transformer.h:
            yield [("self-attention", layer.attn, None), ("feed-forward", layer.mlp, layer.mlp.c_proj)]
    elif kind == "gpt_neox":
        for layer in model.gpt_neox.layers:
            yield [
                ("self-attention", layer.attention, None),
                ("feed-forward", layer.mlp, layer.mlp.dense_4h_to_h),
            ]
    elif kind in {"bert", "roberta"}:
        for layer in getattr(model, kind).encoder.layer:
            yield [
                ("self-attention", layer.attention.output.dense, None),
                ("feed-forward", layer.output.dense, layer.output.dense),
            ]
    elif kind == "distilbert":
        for layer in model.distilbert.transformer.layer:
            yield [
                ("self-attention", layer.attention.out_lin, None),
                ("feed-forward", layer.ffn, layer.ffn.lin2),
            ]
    elif kind == "modernbert":
        for layer in model.model.layers:
            yield [("self-attention", layer.attn, None), ("feed-forward", layer.mlp, layer.mlp.Wo)]
    elif kind in {"gemma2", "gemma3", "gemma3_text"}:
        for layer in getattr(model.model, "language_model", model.model).layers:
            yield [
                ("self-attention", layer.post_attention_layernorm, None),
                ("feed-forward", layer.post_feedforward_layernorm, layer.mlp.down_proj),
            ]
    else:
        for layer in model.model.layers:
            yield [
                ("self-attention", layer.self_attn, None),
                ("feed-forward", layer.mlp, layer.mlp.down_proj),
            ]


def norms_of_the_stream(model: Any) -> list[list[Any]] | None:
    """Per layer, the norms that the stream goes through after each part; None for pre-norm families."""
    kind = model.config.model_type
    if kind in {"bart", "marian"}:
        return [
            [layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm]
            for layer in model.model.decoder.layers
        ]
    if kind in {"bert", "roberta"}:
        layers = getattr(model, kind).encoder.layer
        return [[layer.attention.output.LayerNorm, layer.output.LayerNorm] for layer in layers]
    if kind == "distilbert":
        return [
            [layer.sa_layer_norm, layer.output_layer_norm] for layer in model.distilbert.transformer.layer
        ]
    return None


@pytest.mark.parametrize("name", FAMILIES)
def test_that_every_part_adds_what_a_hook_on_its_module_sees(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = a_run(lm)
    reading = run.inside()
    assert not any("could not be told" in note for note in reading.notes)
    model = plain(checkpoint, name)
    seen: dict[tuple[int, int], torch.Tensor] = {}
    entered: dict[tuple[int, int], torch.Tensor] = {}
    layers = list(parts_by_hand(model))
    every = {(i, j): part for i, layer in enumerate(layers) for j, part in enumerate(layer)}
    for place, (_, module, last) in every.items():

        def on_output(_: Any, __: Any, output: Any, place: Any = place) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            seen.setdefault(place, []).append(tensor)  # type: ignore[arg-type]

        module.register_forward_hook(on_output)
        if last is not None:

            def on_input(_: Any, args: Any, place: Any = place) -> None:
                entered.setdefault(place, []).append(args[0])  # type: ignore[arg-type]

            last.register_forward_pre_hook(on_input)
    states, _ = hidden_states(model, run)
    steps = len(run.steps)

    def at_steps(passes: Any) -> torch.Tensor:
        if lm.family != "encoder-only":
            return passes[0][0, -steps:]
        places = [int(np.flatnonzero(step.previous_ids == 4)[0]) for step in run.steps]
        return torch.stack([one[0, place] for one, place in zip(passes, places, strict=True)])

    norms = norms_of_the_stream(model)
    found = iter(reading.sublayers)
    for i, layer in enumerate(layers):
        stream = states[i]
        for j, (kind, _, last) in enumerate(layer):
            part = next(found)
            assert (part.layer, part.kind) == (i, kind)
            added = at_steps(seen[i, j])
            np.testing.assert_allclose(part.added_norms, added.norm(dim=-1), rtol=1e-4)
            stream = stream + added
            if norms is not None:
                with torch.inference_mode():
                    stream = norms[i][j](stream)
            np.testing.assert_allclose(part.stream_norms, stream.norm(dim=-1), rtol=1e-4)
            if last is None:
                assert part.neurons is None
                continue
            inputs = at_steps(entered[i, j])
            assert part.neurons is not None
            assert part.activations is not None
            strongest = inputs.abs().sort(dim=-1, descending=True).values[:, :8]
            np.testing.assert_allclose(np.abs(part.activations), strongest, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(
                np.take_along_axis(inputs.numpy(), part.neurons, axis=1),
                part.activations,
                rtol=1e-3,
                atol=1e-5,
            )
        if i + 1 < len(layers):
            # residual before + what was added = residual after, by the model's own hidden states.
            np.testing.assert_allclose(stream, states[i + 1], rtol=1e-3, atol=1e-4)
    assert next(found, None) is None


@pytest.mark.parametrize(
    "name",
    ["mvp", "led", "bloom", "codegen", "gpt-j", "gpt-neo, local layers", "diffllama", "deberta", "mpnet"],
)
def test_that_parts_are_told_where_attention_runs_eagerly(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = a_run(lm)
    reading = run.inside()
    model = lm.model.to(torch.float32)
    states, own = hidden_states(model, run)
    kinds = ["self-attention", *(["cross-attention"] * (lm.family == "encoder-decoder")), "feed-forward"]
    assert [(part.layer, part.kind) for part in reading.sublayers] == [(i, k) for i in (0, 1) for k in kinds]
    # The last part of layer 0 leaves what enters layer 1.
    last = reading.sublayers[len(kinds) - 1]
    np.testing.assert_allclose(last.stream_norms, states[1].norm(dim=-1), rtol=1e-4)
    assert reading.lens is not None
    best = torch.softmax(own, dim=-1).max(dim=-1).values
    np.testing.assert_allclose(reading.lens.top_probabilities[:, -1, 0], best, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["t5 v1.1", "marian", "llama", "gpt-neox", "gemma 2, soft cap", "bert"])
def test_that_parts_add_up_in_half_precision(
    checkpoint: Callable[[str], Path], name: str, dtype: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu", dtype=dtype)
    whole = a_run(explorer.load(str(checkpoint(name)), device="cpu")).inside()
    reading = a_run(lm).inside()
    assert [(part.layer, part.kind) for part in reading.sublayers] == [
        (part.layer, part.kind) for part in whole.sublayers
    ]
    for half, full in zip(reading.sublayers, whole.sublayers, strict=True):
        np.testing.assert_allclose(half.stream_norms, full.stream_norms, rtol=0.1)
    assert reading.lens is not None


def test_that_a_mixture_of_experts_tells_what_it_adds_and_not_its_neurons(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load(str(checkpoint("gpt-oss, sinks")), device="cpu")
    run = a_run(lm)
    reading = run.inside()
    states, _ = hidden_states(lm.model, run)
    feed_forward = reading.sublayers[1]
    assert (feed_forward.kind, feed_forward.neurons) == ("feed-forward", None)
    np.testing.assert_allclose(feed_forward.stream_norms, states[1].norm(dim=-1), rtol=1e-4)
    assert any("made of experts" in note for note in reading.notes)
    assert reading.lens is not None
    assert tuple(reading.lens.top_ids[:, -1, 0]) == tuple(int(step.logits.argmax()) for step in run.steps)


@pytest.mark.parametrize(
    ("model_class", "settings", "says"),
    [
        (transformers.GraniteForCausalLM, {"residual_multiplier": 0.5}, "multiplied by 0.5 first"),
        # Its feed-forward lays the rows of all sequences after each other, and its head asks inside.
        (
            transformers.OPTForCausalLM,
            {"ffn_dim": 48, "word_embed_proj_dim": 32},
            "",
        ),
    ],
)
def test_that_families_with_ways_of_their_own_add_up(
    tmp_path: Path, model_class: Any, settings: dict[str, Any], says: str
) -> None:
    stack = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96}
    config = model_class.config_class(**stack, **{"max_position_embeddings": 128, **settings})
    lm = explorer.load(str(save(lambda: model_class(config), tmp_path, eos=False)), device="cpu")
    run = a_run(lm)
    reading = run.inside()
    states, _ = hidden_states(lm.model, run)
    assert [part.kind for part in reading.sublayers] == ["self-attention", "feed-forward"] * 2
    np.testing.assert_allclose(reading.sublayers[1].stream_norms, states[1].norm(dim=-1), rtol=1e-4)
    assert any(says in note for note in reading.notes)
    assert reading.lens is not None
    assert list(reading.lens.top_ids[:, -1, 0]) == [int(step.logits.argmax()) for step in run.steps]


def test_that_layers_that_are_no_list_of_their_own_are_said(checkpoint: Callable[[str], Path]) -> None:
    run = a_run(explorer.load(str(checkpoint("albert")), device="cpu"))
    with pytest.raises(ValueError, match=r"2 layers of .* could not be found"):
        run.inside()


def test_that_what_a_family_does_differently_is_said(checkpoint: Callable[[str], Path]) -> None:
    said = {
        name: " ".join(a_run(explorer.load(str(checkpoint(name)), device="cpu")).inside().notes)
        for name in ("gpt2", "gpt-neox", "marian", "bert", "gemma 2, soft cap", "llama")
    }
    assert [name for name, notes in said.items() if "both are added to it" in notes] == ["gpt-neox"]
    assert [name for name, notes in said.items() if "normalises the stream" in notes] == ["marian", "bert"]
    assert [name for name, notes in said.items() if "a norm of its own" in notes] == ["gemma 2, soft cap"]
    assert [name for name, notes in said.items() if "multiplies its embeddings" in notes] == [
        "gemma 2, soft cap"
    ]


def test_that_a_layer_that_does_not_add_up_is_left_out_and_said(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE, GREEDY).finish()
    whole = run.inside()

    def disturb(_: Any, __: Any, output: Any) -> Any:
        changed = (output[0] if isinstance(output, tuple) else output) * 1.5
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = fr_en.model.get_decoder().layers[1].register_forward_hook(disturb)
    try:
        reading = run.inside()
    finally:
        handle.remove()
    assert {part.layer for part in whole.sublayers} == {0, 1, 2}
    assert {part.layer for part in reading.sublayers} == {0, 2}
    assert any("parts of layer 1 make up" in note for note in reading.notes)


def test_that_reading_takes_one_pass_and_leaves_the_run_and_the_model_as_they_were(
    fr_en: LanguageModel,
) -> None:
    run = fr_en.generate(SENTENCE, SamplingParams(temperature=1.2, seed=3)).finish(max_new_tokens=8)
    attention, text = run.attention("cross"), run.text
    passes: list[Any] = []
    handle = fr_en.model.get_decoder().layers[0].register_forward_hook(lambda *_: passes.append(1))
    first = run.inside()
    handle.remove()
    assert len(passes) == 1
    assert "forward" not in vars(fr_en.model.get_decoder())
    assert fr_en.recorder.notes is None
    np.testing.assert_array_equal(run.attention("cross"), attention)
    assert run.text == text
    run.back()
    run.step(force=99)
    second = run.inside()
    assert (first.nodes[:-1], second.nodes[-1]) == (second.nodes[:-1], run.node)
    np.testing.assert_allclose(first.input_norms[:-1], second.input_norms[:-1], rtol=1e-5)


def test_that_many_steps_are_read_in_blocks(fr_en: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fr_en.generate(SENTENCE, GREEDY).finish()
    whole = run.inside()
    monkeypatch.setattr("explorer.model.logit_lens.MOST_ENTRIES", 2 * 8000 + 5)
    blocks = run.inside()
    assert whole.lens is not None
    assert blocks.lens is not None
    np.testing.assert_array_equal(blocks.lens.top_ids, whole.lens.top_ids)
    np.testing.assert_array_equal(blocks.lens.chosen_ranks, whole.lens.chosen_ranks)
    np.testing.assert_allclose(blocks.lens.entropy_bits, whole.lens.entropy_bits, atol=1e-5)


def test_that_before_the_first_step_there_is_nothing_to_look_into(fr_en: LanguageModel) -> None:
    reading: InsideReading = fr_en.generate(SENTENCE, GREEDY).inside()
    assert (reading.nodes, reading.sublayers, reading.lens) == ((), (), None)
    assert reading.notes == ("No step has been taken yet.",)


def test_that_asking_for_no_top_token_is_refused(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.step()
    with pytest.raises(ValueError, match="top must be 1 or more, not 0"):
        run.inside(top=0)
