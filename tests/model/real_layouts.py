"""Checkpoints as they lie on the hub: old key names, heads left out, SentencePiece files, odd configs.

The weights are random and small; names of keys and files, and what the configs say, are those of the
checkpoints named.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.model import checkpoints

CORPUS = [line for line in checkpoints.WORDS.splitlines() if line] * 6
Tensors = dict[str, torch.Tensor]


def make(name: str, folder: Path) -> Path:
    """Lay the checkpoint called ``name`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name](folder)
    return folder


# -- pieces ----------------------------------------------------------------------------------------


def _weights(folder: Path, model: transformers.PreTrainedModel, **config: Any) -> Tensors:
    """Save ``model``'s config, changed, and give its tensors, drawn wide, for the caller to rename."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.25)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    stored = json.loads((folder / "config.json").read_text())
    for gone in [key for key, value in config.items() if value is None]:
        stored.pop(gone, None)
    # `dtype` and `transformers_version` are newer than these checkpoints are.
    for new in ("dtype", "transformers_version"):
        stored.pop(new, None)
    stored |= {"torch_dtype": "float32"} | {k: v for k, v in config.items() if v is not None}
    _json(folder, "config.json", stored)
    return load_file(folder / "model.safetensors")


def _save(folder: Path, tensors: Tensors) -> None:
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def _json(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def _renamed(tensors: Tensors, *changes: tuple[str, str]) -> Tensors:
    renamed = {}
    for key, value in tensors.items():
        for old, new in changes:
            if key.startswith(old):
                key = new + key.removeprefix(old)
            elif key.endswith(old):
                key = key.removesuffix(old) + new
        renamed[key] = value
    return renamed


def _sentencepiece(folder: Path, name: str, size: int, **options: Any) -> list[str]:
    """Train a small SentencePiece model; its pieces."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(folder / "spm"),
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    (folder / "spm.vocab").unlink()
    shutil.move(folder / "spm.model", folder / name)
    reader = sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
    return [reader.id_to_piece(i) for i in range(reader.get_piece_size())]


def _byte_level(
    folder: Path, *, fast: bool, special: Iterable[str] = ("<|endoftext|>",), front: bool = False
) -> int:
    """``vocab.json`` and ``merges.txt`` of GPT-2's kind, or one ``tokenizer.json``; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=list(special) if front else [],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if not front:
        tokenizer.add_special_tokens(list(special))
    if fast:
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        stored = json.loads(tokenizer.to_str())["model"]
        _json(folder, "vocab.json", tokenizer.get_vocab())
        lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in stored["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    return tokenizer.get_vocab_size()


def _word_pieces(folder: Path, *, fast: bool) -> int:
    """``vocab.txt`` of BERT's kind; its size."""
    words = sorted({word for line in CORPUS for word in line.split()})
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [
        "[PAD]",
        "[unused0]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *".,!?",
        *letters,
        *(f"##{c}" for c in letters),
    ]
    pieces += [word for word in words if word not in pieces]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    if fast:
        transformers.BertTokenizer(vocab={p: i for i, p in enumerate(pieces)}).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return len(pieces)


# -- checkpoints -----------------------------------------------------------------------------------


def gpt2(folder: Path) -> None:
    """No ``transformer.`` before the keys, the causal mask among them, no head, no padding token."""
    size = _byte_level(folder, fast=False)
    _byte_level(folder, fast=True)
    config = transformers.GPT2Config(
        vocab_size=size,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=size - 1,
        eos_token_id=size - 1,
    )
    tensors = _renamed(
        _weights(
            folder,
            transformers.GPT2LMHeadModel(config),
            tie_word_embeddings=None,
            pad_token_id=None,
            n_ctx=64,
            task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}},
        ),
        ("transformer.", ""),
    )
    tensors.pop("lm_head.weight", None)
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64)
    _save(folder, tensors)
    _json(folder, "tokenizer_config.json", {"model_max_length": 64})
    _json(
        folder,
        "generation_config.json",
        {"bos_token_id": size - 1, "eos_token_id": size - 1, "_from_model_config": True},
    )


def gpt2_without_tokenizer_config(folder: Path) -> None:
    """Older still: ``vocab.json`` and ``merges.txt`` alone."""
    gpt2(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def t5_small(folder: Path) -> None:
    """The embedding under three names, a bias of old, rows padded beyond the tokenizer."""
    pieces = _sentencepiece(folder, "spiece.model", 60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    rows = len(pieces) + 100 + 28
    config = transformers.T5Config(
        vocab_size=rows,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    tensors = _weights(
        folder,
        transformers.T5ForConditionalGeneration(config),
        tie_word_embeddings=None,
        n_positions=512,
        architectures=["T5ForConditionalGeneration"],
        task_specific_params={
            "translation_en_to_de": {"max_length": 300, "num_beams": 4, "prefix": "translate: "}
        },
    )
    for stack in ("encoder", "decoder"):
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"]
    tensors.pop("lm_head.weight", None)
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 4)
    _save(folder, tensors)
    _json(
        folder,
        "tokenizer_config.json",
        {"model_max_length": 512, "extra_ids": 100, "tokenizer_class": "T5Tokenizer"},
    )


def flan_t5(folder: Path) -> None:
    """A head of its own, gated, two shards with an index."""
    pieces = _sentencepiece(folder, "spiece.model", 60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    rows = len(pieces) + 100 + 28
    config = transformers.T5Config(
        vocab_size=rows,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    _shard(folder, _weights(folder, transformers.T5ForConditionalGeneration(config)))
    _json(folder, "tokenizer_config.json", {"extra_ids": 100, "tokenizer_class": "T5Tokenizer"})
    _json(
        folder, "generation_config.json", {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    )


def _shard(folder: Path, tensors: Tensors) -> None:
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file(
            {name: tensors[name].contiguous().clone() for name in part}, folder / file, {"format": "pt"}
        )
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    total = sum(tensor.nbytes for tensor in tensors.values())
    _json(
        folder, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map}
    )


def opus_mt(folder: Path) -> None:
    """Two SentencePiece models and one ``vocab.json``; beams, a bad word, sinusoids stored."""
    pieces: dict[str, int] = {"</s>": 0, "<unk>": 1}
    for file in ("source.spm", "target.spm"):
        for piece in _sentencepiece(folder, file, 60):
            pieces.setdefault(piece, len(pieces))
    pad = len(pieces)
    pieces["<pad>"] = pad
    _json(folder, "vocab.json", pieces)
    model = checkpoints.marian(
        vocab_size=pad + 1,
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=0,
        bos_token_id=0,
        forced_eos_token_id=0,
        scale_embedding=True,
        static_position_embeddings=True,
        activation_function="swish",
    )
    tensors = _weights(
        folder,
        model,
        num_beams=4,
        max_length=64,
        bad_words_ids=[[pad]],
        normalize_embedding=False,
        add_final_layer_norm=False,
        normalize_before=False,
        extra_pos_embeddings=pad + 1,
        _num_labels=3,
    )
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
        positions = getattr(model.model, stack).embed_positions.weight
        tensors[f"model.{stack}.embed_positions.weight"] = positions.detach()
    _save(folder, tensors)
    _json(folder, "tokenizer_config.json", {"target_lang": "en", "source_lang": "fr"})
    _json(
        folder,
        "generation_config.json",
        {
            "bad_words_ids": [[pad]],
            "bos_token_id": 0,
            "decoder_start_token_id": pad,
            "eos_token_id": 0,
            "forced_eos_token_id": 0,
            "max_length": 64,
            "num_beams": 6,
            "pad_token_id": pad,
            "renormalize_logits": True,
        },
    )


def bart_base(folder: Path) -> None:
    """Saved as a bare ``BartModel``: no ``model.``, no head, no ``final_logits_bias``."""
    size = _roberta_vocabulary(folder)
    model = checkpoints.bart(
        vocab_size=size,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    tensors = _renamed(
        _weights(
            folder,
            model,
            architectures=["BartModel"],
            early_stopping=True,
            num_beams=4,
            no_repeat_ngram_size=3,
            forced_bos_token_id=0,
            tie_word_embeddings=None,
        ),
        ("model.", ""),
    )
    for name in ("lm_head.weight", "final_logits_bias"):
        tensors.pop(name, None)
    for stack in ("encoder", "decoder"):
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"]
    _save(folder, tensors)


def _roberta_vocabulary(folder: Path) -> int:
    """``<s> <pad> </s> <unk>`` in front and ``<mask>`` behind, as BART and RoBERTa have them."""
    from tokenizers import Tokenizer

    _byte_level(folder, fast=True, special=("<s>", "<pad>", "</s>", "<unk>"), front=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary, merges = tokenizer.get_vocab(), json.loads(tokenizer.to_str())["model"]["merges"]
    vocabulary["<mask>"] = len(vocabulary)
    transformers.RobertaTokenizer(vocab=vocabulary, merges=[tuple(m) for m in merges]).save_pretrained(folder)
    _json(folder, "tokenizer_config.json", {"model_max_length": 128})
    return len(vocabulary)


def bert_base(folder: Path) -> None:
    """``gamma`` and ``beta``, a pooler, next-sentence weights, stored positions, no decoder matrix."""
    size = _word_pieces(folder, fast=True)
    config = transformers.BertConfig(vocab_size=size, **_STACK)
    tensors = _renamed(
        _weights(
            folder,
            transformers.BertForMaskedLM(config),
            tie_word_embeddings=None,
            gradient_checkpointing=False,
            position_embedding_type="absolute",
        ),
        ("LayerNorm.weight", "LayerNorm.gamma"),
        ("LayerNorm.bias", "LayerNorm.beta"),
    )
    for name in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
        tensors.pop(name, None)
    tensors["bert.pooler.dense.weight"], tensors["bert.pooler.dense.bias"] = (
        torch.zeros(32, 32),
        torch.zeros(32),
    )
    tensors["cls.seq_relationship.weight"], tensors["cls.seq_relationship.bias"] = (
        torch.zeros(2, 32),
        torch.zeros(2),
    )
    tensors["bert.embeddings.position_ids"] = torch.arange(128)[None]
    _save(folder, tensors)
    _json(folder, "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 128})


def distilbert(folder: Path) -> None:
    """``vocab.txt`` alone beside the weights."""
    size = _word_pieces(folder, fast=False)
    config = transformers.DistilBertConfig(
        vocab_size=size, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=128
    )
    tensors = _weights(
        folder, transformers.DistilBertForMaskedLM(config), tie_weights_=True, tie_word_embeddings=None
    )
    tensors.pop("vocab_projector.weight", None)
    _save(folder, tensors)


def roberta_base(folder: Path) -> None:
    """A pooler and stored positions; the head's matrix is the embedding."""
    size = _roberta_vocabulary(folder)
    config = transformers.RobertaConfig(
        vocab_size=size, **_STACK | {"max_position_embeddings": 130, "type_vocab_size": 1}
    )
    tensors = _weights(folder, transformers.RobertaForMaskedLM(config), tie_word_embeddings=None)
    for name in ("lm_head.decoder.weight", "lm_head.decoder.bias"):
        tensors.pop(name, None)
    tensors["roberta.embeddings.position_ids"] = torch.arange(130)[None]
    tensors["roberta.pooler.dense.weight"], tensors["roberta.pooler.dense.bias"] = (
        torch.zeros(32, 32),
        torch.zeros(32),
    )
    _save(folder, tensors)


def modernbert(folder: Path) -> None:
    """``tokenizer.json`` named by the general class; attention settings of the original."""
    size = _byte_level(folder, fast=True, special=("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"))
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": True,
            **{f"{k}_token": f"[{k.upper()}]" for k in ("unk", "cls", "sep", "pad", "mask")},
        },
    )
    config = transformers.ModernBertConfig(
        vocab_size=size + 11,
        local_attention=8,
        pad_token_id=size - 2,
        cls_token_id=size - 4,
        sep_token_id=size - 3,
        bos_token_id=size - 4,
        eos_token_id=size - 3,
        **_STACK,
    )
    tensors = _weights(
        folder,
        transformers.ModernBertForMaskedLM(config),
        gradient_checkpointing=False,
        position_embedding_type="absolute",
    )
    tensors.pop("decoder.weight", None)
    _save(folder, tensors)


def pythia(folder: Path) -> None:
    """Masks and rotary frequencies among the weights; half precision; rows padded to a multiple of 128."""
    size = _byte_level(folder, fast=True, special=("<|endoftext|>", "<|padding|>"), front=True)
    config = transformers.GPTNeoXConfig(vocab_size=384, bos_token_id=0, eos_token_id=0, **_STACK)
    assert size < 384
    tensors = _weights(
        folder,
        transformers.GPTNeoXForCausalLM(config),
        rotary_emb_base=10000,
        rotary_pct=0.25,
        torch_dtype="float16",
        rope_parameters=None,
        tie_word_embeddings=False,
    )
    tensors = {name: value.half() for name, value in tensors.items()}
    for layer in range(2):
        block = f"gpt_neox.layers.{layer}.attention."
        tensors[f"{block}bias"] = torch.tril(torch.ones(128, 128, dtype=torch.bool)).view(1, 1, 128, 128)
        tensors[f"{block}masked_bias"] = torch.tensor(-1e9)
        tensors[f"{block}rotary_emb.inv_freq"] = torch.ones(1)
    _save(folder, tensors)
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "GPTNeoXTokenizer",
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "add_prefix_space": False,
        },
    )


def tinyllama(folder: Path) -> None:
    """A SentencePiece BPE with byte pieces, rotary frequencies stored, no padding token of its own."""
    pieces = _sentencepiece(
        folder,
        "tokenizer.model",
        320,
        model_type="bpe",
        byte_fallback=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
    )
    config = transformers.LlamaConfig(vocab_size=len(pieces), bos_token_id=1, eos_token_id=2, **_GROUPED)
    tensors = _weights(
        folder,
        transformers.LlamaForCausalLM(config),
        rope_parameters=None,
        rope_theta=10000.0,
        rope_scaling=None,
        torch_dtype="bfloat16",
        pad_token_id=None,
    )
    for layer in range(2):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    _save(folder, tensors)
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "legacy": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": None,
            "model_max_length": 1000000000000000019884624838656,
            "sp_model_kwargs": {},
            "clean_up_tokenization_spaces": False,
            "chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        },
    )
    _json(
        folder,
        "generation_config.json",
        {"bos_token_id": 1, "eos_token_id": 2, "max_length": 128, "pad_token_id": 0},
    )


def qwen(folder: Path) -> None:
    """Tied, far more rows than tokens, sampling as the checkpoint's own default, a chat template."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    size = _byte_level(folder, fast=True, special=special)
    _byte_level(folder, fast=False, special=special)
    config = transformers.Qwen2Config(
        vocab_size=size + 200,
        bos_token_id=size - 3,
        eos_token_id=size - 1,
        tie_word_embeddings=True,
        **_GROUPED,
    )
    tensors = _weights(
        folder,
        transformers.Qwen2ForCausalLM(config),
        rope_parameters=None,
        rope_theta=1000000.0,
        use_sliding_window=False,
        pad_token_id=None,
    )
    tensors.pop("lm_head.weight", None)
    _save(folder, tensors)
    added = {
        str(size - 3 + i): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, text in enumerate(special)
    }
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": added,
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "model_max_length": 131072,
            "split_special_tokens": False,
            "chat_template": "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}",
        },
    )
    _json(
        folder,
        "generation_config.json",
        {
            "bos_token_id": size - 3,
            "pad_token_id": size - 3,
            "do_sample": True,
            "eos_token_id": [size - 1, size - 3],
            "repetition_penalty": 1.1,
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "transformers_version": "4.37.0",
        },
    )


def gemma3(folder: Path) -> None:
    """One special token (the picture's) beyond the embedding's last row."""
    size = _byte_level(folder, fast=True, special=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), front=True)
    stored = json.loads((folder / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    stored["added_tokens"].append({"id": size, "content": "<image_soft_token>", **flags})
    _json(folder, "tokenizer.json", stored)
    config = transformers.Gemma3TextConfig(
        vocab_size=size,
        head_dim=8,
        sliding_window=6,
        query_pre_attn_scalar=8,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        **_GROUPED,
    )
    _save(folder, _weights(folder, transformers.Gemma3ForCausalLM(config)))
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "model_max_length": 1000000000000000019884624838656,
            "extra_special_tokens": {"image_token": "<image_soft_token>"},
        },
    )
    _json(
        folder,
        "generation_config.json",
        {
            "cache_implementation": "hybrid",
            "do_sample": True,
            "eos_token_id": [1],
            "top_k": 64,
            "top_p": 0.95,
        },
    )


def m2m100(folder: Path) -> None:
    """SentencePiece with a ``vocab.json`` of its own and a hundred language tokens."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *_sentencepiece(folder, "sentencepiece.bpe.model", 60)[3:]]
    _json(folder, "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    _json(
        folder,
        "tokenizer_config.json",
        {
            "src_lang": None,
            "tgt_lang": None,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "language_codes": "m2m100",
            "num_madeup_words": 8,
            "tokenizer_class": "M2M100Tokenizer",
        },
    )
    model = checkpoints._bart_like(
        transformers.M2M100Config,
        transformers.M2M100ForConditionalGeneration,
        vocab_size=len(pieces) + 108,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    tensors = _weights(folder, model, max_length=200, num_beams=5, early_stopping=True)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
        tensors[f"model.{stack}.embed_positions.weights"] = torch.zeros(130, 32)
    _save(folder, tensors)


def mbart(folder: Path) -> None:
    """SentencePiece whose ids are shifted, and twenty-five languages behind them."""
    pieces = _sentencepiece(folder, "sentencepiece.bpe.model", 60)
    _json(
        folder,
        "tokenizer_config.json",
        {"tokenizer_class": "MBartTokenizer", "src_lang": "en_XX", "tgt_lang": "ro_RO"},
    )
    model = checkpoints._bart_like(
        transformers.MBartConfig,
        transformers.MBartForConditionalGeneration,
        vocab_size=len(pieces) + 27,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        scale_embedding=True,
    )
    tensors = _weights(folder, model, forced_eos_token_id=2, num_beams=5, max_length=64)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
    _save(folder, tensors)


def mbart_en_ro(folder: Path) -> None:
    """The same, fine-tuned to one language, whose token its decoder starts from."""
    mbart(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    stored = json.loads((folder / "config.json").read_text())
    stored["decoder_start_token_id"] = tokenizer.lang_code_to_id["ro_RO"]
    _json(folder, "config.json", stored)


def mbart50(folder: Path) -> None:
    """Fifty-two languages, which stand in front of what is read; one of them set to be written."""
    pieces = _sentencepiece(folder, "sentencepiece.bpe.model", 60)
    _json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "MBart50Tokenizer",
            "language_codes": "ML50",
            "src_lang": "en_XX",
            "tgt_lang": None,
        },
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = checkpoints._bart_like(
        transformers.MBartConfig,
        transformers.MBartForConditionalGeneration,
        vocab_size=len(pieces) + 54,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        scale_embedding=True,
    )
    told = tokenizer.lang_code_to_id["fr_XX"]
    tensors = _weights(folder, model, forced_eos_token_id=2, forced_bos_token_id=told, max_length=64)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
    _save(folder, tensors)


def plbart(folder: Path) -> None:
    """Two programming languages and English, and not told which unless it is asked."""
    pieces = _sentencepiece(folder, "sentencepiece.bpe.model", 60)
    _json(
        folder,
        "tokenizer_config.json",
        {"tokenizer_class": "PLBartTokenizer", "language_codes": "base", "src_lang": None, "tgt_lang": None},
    )
    model = checkpoints._bart_like(
        transformers.PLBartConfig,
        transformers.PLBartForConditionalGeneration,
        vocab_size=len(pieces) + 6,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    tensors = _weights(folder, model, max_length=64)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
    _save(folder, tensors)


def nllb(folder: Path) -> None:
    """M2M100's architecture; byte pairs in ``tokenizer.json``, 202 languages among the special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    learner.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=70, special_tokens=special, show_progress=False)
    )
    learnt = json.loads(learner.to_str())["model"]
    tokenizer = transformers.NllbTokenizer(
        vocab=learnt["vocab"], merges=[tuple(pair) for pair in learnt["merges"]], src_lang="eng_Latn"
    )
    tokenizer.save_pretrained(folder)
    model = checkpoints._bart_like(
        transformers.M2M100Config,
        transformers.M2M100ForConditionalGeneration,
        vocab_size=len(tokenizer) + 2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        scale_embedding=True,
    )
    tensors = _weights(folder, model, max_length=200)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_tokens.weight"] = tensors["model.shared.weight"]
    _save(folder, tensors)


def pegasus(folder: Path) -> None:
    """SentencePiece alone, a hundred made-up tokens in front, sinusoids stored."""
    pieces = _sentencepiece(folder, "spiece.model", 60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    _json(folder, "tokenizer_config.json", {"tokenizer_class": "PegasusTokenizer", "model_max_length": 128})
    model = checkpoints._bart_like(
        transformers.PegasusConfig,
        transformers.PegasusForConditionalGeneration,
        vocab_size=len(pieces) + 103,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        scale_embedding=True,
    )
    tensors = _weights(folder, model, num_beams=8, length_penalty=0.6, max_length=64, forced_eos_token_id=1)
    for stack in ("encoder", "decoder"):
        tensors[f"model.{stack}.embed_positions.weight"] = getattr(
            model.model, stack
        ).embed_positions.weight.detach()
    _save(folder, tensors)


def mt5(folder: Path) -> None:
    """SentencePiece alone, no made-up tokens, an untied head."""
    pieces = _sentencepiece(folder, "spiece.model", 60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    config = transformers.MT5Config(
        vocab_size=len(pieces) + 12,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    _save(
        folder,
        _weights(folder, transformers.MT5ForConditionalGeneration(config), tokenizer_class="T5Tokenizer"),
    )
    _json(
        folder,
        "tokenizer_config.json",
        {
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "extra_ids": 0,
            "additional_special_tokens": None,
        },
    )


def sentence_encoder(folder: Path) -> None:
    """A bare ``BertModel`` without ``bert.``, as sentence encoders are saved."""
    size = _word_pieces(folder, fast=True)
    tensors = _weights(folder, transformers.BertModel(transformers.BertConfig(vocab_size=size, **_STACK)))
    tensors["embeddings.position_ids"] = torch.arange(128)[None]
    _save(folder, tensors)
    _json(
        folder,
        "tokenizer_config.json",
        {"do_lower_case": True, "model_max_length": 512, "tokenizer_class": "BertTokenizer"},
    )


_STACK = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
}
_GROUPED = {**_STACK, "num_key_value_heads": 2}

LAYOUTS: dict[str, Callable[[Path], None]] = {
    "gpt2": gpt2,
    "gpt2, no tokenizer config": gpt2_without_tokenizer_config,
    "t5-small": t5_small,
    "flan-t5, sharded": flan_t5,
    "opus-mt": opus_mt,
    "bart-base": bart_base,
    "bert-base-uncased": bert_base,
    "distilbert": distilbert,
    "roberta-base": roberta_base,
    "modernbert": modernbert,
    "pythia": pythia,
    "tinyllama": tinyllama,
    "qwen2.5": qwen,
    "gemma-3-1b": gemma3,
    "m2m100": m2m100,
    "mbart": mbart,
    "mbart-large-en-ro": mbart_en_ro,
    "mbart-50": mbart50,
    "nllb": nllb,
    "plbart": plbart,
    "pegasus": pegasus,
    "mt5": mt5,
    "sentence encoder": sentence_encoder,
}
