"""Score a model on the sentences that it was never trained on.

python resources/models/recipe/evaluate.py en-gpt --data fra-eng.zip --model DIR
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from corpus import Pair, Split, english_sentences, read_pairs, read_subject_pairs, split
from families import FAMILIES, Translation, make_family, pad
from torch import Tensor
from training import length_batches
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

Scores = dict[str, float | int]
BATCH_TOKENS = 2048
MAX_TRANSLATIONS = 1500


def evaluate(name: str, folder: Path, parts: Split) -> Scores:
    """Load a model as anyone would, and score it with its family's measures on ``parts.test``."""
    measures = {"fr-en": score_translation, "en-gpt": score_continuation, "en-mlm": score_mask_filling}
    classes = {
        "fr-en": AutoModelForSeq2SeqLM,
        "en-gpt": AutoModelForCausalLM,
        "en-mlm": AutoModelForMaskedLM,
    }
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = classes[name].from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    with torch.inference_mode():
        return measures[name](model, tokenizer, parts.test)


def score_translation(
    model: Any,  # the hints of ``generate`` accept no model at all
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[Pair],
) -> Scores:
    """Translate greedily and compare with every known translation: BLEU, chrF, and exactly right.

    All are percentages. A French sentence is translated once; all its English sentences in ``pairs`` are
    references.
    """
    from sacrebleu import corpus_bleu, corpus_chrf  # only this measure needs the package

    references: dict[str, list[str]] = {}
    for pair in pairs:
        references.setdefault(pair.french, []).append(pair.english)
    sources = list(references)[:: max(1, len(references) // MAX_TRANSLATIONS)][:MAX_TRANSLATIONS]
    translated: dict[str, str] = {}
    encoded = [(row,) for row in tokenizer(sources, truncation=True)["input_ids"]]
    for numbers in length_batches(encoded, BATCH_TOKENS, "translate"):
        batch = tokenizer(
            [sources[number] for number in numbers], padding=True, truncation=True, return_tensors="pt"
        )
        output = model.generate(**batch, do_sample=False, num_beams=1)
        texts = tokenizer.batch_decode(output, skip_special_tokens=True)
        translated.update(zip((sources[number] for number in numbers), texts, strict=True))

    hypotheses = [translated[source] for source in sources]
    most = max(len(references[source]) for source in sources)
    streams: Any = [  # sacrebleu's hints forbid what it documents: None where there is no further reference
        [references[source][n] if n < len(references[source]) else None for source in sources]
        for n in range(most)
    ]
    exact = sum(text in references[source] for source, text in zip(sources, hypotheses, strict=True))
    return {
        "sentences": len(sources),
        "bleu": round(corpus_bleu(hypotheses, streams).score, 1),
        "bleu_first_reference": round(corpus_bleu(hypotheses, streams[:1]).score, 1),
        "chrf": round(corpus_chrf(hypotheses, streams).score, 1),
        "exactly_right_percent": round(100 * exact / len(sources), 1),
        "loss_per_token": round(_loss_per_token(model, tokenizer, pairs), 4),
    }


def score_continuation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]
) -> Scores:
    """Perplexity per token and bits per byte of whole sentences, their end included.

    Bits per byte compare across tokenizers: the bits of all predicted tokens over the UTF-8 bytes of the
    sentences, with one byte for the end of each.
    """
    sentences = english_sentences(pairs)
    family = make_family("en-gpt")
    examples = family.encode(pairs, tokenizer)
    nats, count, right = 0.0, 0, 0
    for numbers in length_batches(examples, BATCH_TOKENS, "continue"):
        batch = family.collate([examples[number] for number in numbers], tokenizer, seed=0)
        logits = model(input_ids=batch["input_ids"]).logits
        labels = batch["labels"]
        nats += float(torch.nn.functional.cross_entropy(logits.mT, labels, reduction="sum"))
        right += int((logits.argmax(-1) == labels).sum())
        count += int((labels != -100).sum())
    size = sum(len(sentence.encode("utf-8")) + 1 for sentence in sentences)
    return {
        "sentences": len(sentences),
        "tokens": count,
        "perplexity": round(math.exp(nats / count), 2),
        "bits_per_byte": round(nats / math.log(2) / size, 3),
        "next_token_right_percent": round(100 * right / count, 1),
    }


def score_mask_filling(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]
) -> Scores:
    """Mask every token of every sentence, one at a time, and see whether the model finds it.

    This needs no random choice, and is what a person does who masks one word. The perplexity is known as
    pseudo-perplexity (Salazar et al. 2020, "Masked Language Model Scoring"). Words are pieces that begin
    with a letter and do not continue a word; among the tokens, the full stop at the end is an easy one.
    """
    rows = tokenizer(english_sentences(pairs), truncation=True)["input_ids"]
    questions = [(row, place) for row in rows for place in range(1, len(row) - 1)]
    nats, right, right_in_five = 0.0, 0, 0
    words, words_right = 0, 0
    is_word = torch.tensor(
        [piece[:1].isalpha() for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    )
    for numbers in length_batches([(row,) for row, _ in questions], BATCH_TOKENS, "mask"):
        input_ids = pad([questions[number][0] for number in numbers], tokenizer.pad_token_id)
        attention_mask = (input_ids != tokenizer.pad_token_id).long()
        places = torch.tensor([questions[number][1] for number in numbers])
        line = torch.arange(len(numbers))
        answers: Tensor = input_ids[line, places].clone()
        input_ids[line, places] = tokenizer.mask_token_id
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[line, places]
        best = logits.topk(5).indices
        hits = best == answers[:, None]
        nats += float(torch.nn.functional.cross_entropy(logits, answers, reduction="sum"))
        right += int(hits[:, 0].sum())
        right_in_five += int(hits.sum())
        words += int(is_word[answers].sum())
        words_right += int(hits[:, 0][is_word[answers]].sum())
    return {
        "sentences": len(rows),
        "masks": len(questions),
        "right_percent": round(100 * right / len(questions), 1),
        "right_in_five_percent": round(100 * right_in_five / len(questions), 1),
        "words": words,
        "words_right_percent": round(100 * words_right / max(words, 1), 1),
        "perplexity": round(math.exp(nats / len(questions)), 2),
    }


def _loss_per_token(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Pair]
) -> float:
    family = Translation()
    examples = family.encode(pairs, tokenizer)
    nats, count = 0.0, 0
    for numbers in length_batches(examples, BATCH_TOKENS, "loss"):
        batch = family.collate([examples[number] for number in numbers], tokenizer, seed=0)
        batch_nats, batch_count = family.loss(model, batch, 0.0)
        nats, count = nats + float(batch_nats), count + batch_count
    return nats / max(count, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kind", choices=sorted(FAMILIES), help="which measures to take")
    parser.add_argument("--data", type=Path, required=True, help="fra-eng.zip of manythings.org/anki")
    parser.add_argument("--model", type=Path, required=True, help="the folder of the model")
    options = parser.parse_args(arguments)
    parts = split(read_pairs(options.data), pinned=read_subject_pairs())
    print(json.dumps(evaluate(options.kind, options.model, parts), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
