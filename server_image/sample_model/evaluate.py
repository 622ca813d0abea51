"""Greedy accuracy of a saved model on held-out questions: an answer counts if it is right to the letter and ends."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sample_model.corpus import Exchange, build_held_out

HELD_OUT_SEED = 7


def load(folder: Path, device: str) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    return model, tokenizer


@torch.inference_mode()
def answer(model: Any, tokenizer: Any, questions: list[str], *, max_new_tokens: int = 64) -> list[str]:
    """Returns greedy answers, batched with padding on the left; one that does not end has no `<|end|>` at its end."""
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(
        model.device
    )
    output = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    end: str = tokenizer.eos_token
    decoded = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=False)
    return [text.split(end)[0] + (end if end in text else "") for text in decoded]


def measure(
    model: Any, tokenizer: Any, exchanges: list[Exchange], *, batch_size: int = 128
) -> dict[str, dict[str, float]]:
    """Returns accuracy and n by kind, and over all."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    ordered = sorted(exchanges, key=lambda exchange: len(exchange.answer))
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        for exchange, text in zip(part, answer(model, tokenizer, [e.question for e in part]), strict=True):
            for kind in (exchange.kind, "all"):
                asked[kind] += 1
                right[kind] += text == exchange.answer + tokenizer.eos_token
    return {kind: {"accuracy": round(right[kind] / n, 4), "n": n} for kind, n in sorted(asked.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "pagoda-tiny")
    parser.add_argument("--per-kind", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model, tokenizer = load(args.model, args.device)
    print(json.dumps(measure(model, tokenizer, build_held_out(HELD_OUT_SEED, args.per_kind)), indent=2))


if __name__ == "__main__":
    main()
