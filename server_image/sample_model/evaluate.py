"""Greedy accuracy of a saved model on held-out cases: an answer counts if it is right to the letter and ends."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sample_model.cases import Case, build_cases

HELD_OUT_SEED = 7
MAX_NEW_TOKENS = 160


def load(folder: Path, device: str) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    return model, tokenizer


@torch.inference_mode()
def answer(model: Any, tokenizer: Any, cases: Sequence[Case]) -> list[str]:
    """Returns greedy answers, batched with padding on the left; one that does not end has no `<|end|>` at its end."""
    texts = [
        tokenizer.apply_chat_template(
            case.messages, tools=case.tools, enable_thinking=case.thinks, tokenize=False, add_generation_prompt=True
        )
        for case in cases
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(
        model.device
    )
    output = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
    )
    end: str = tokenizer.eos_token
    decoded = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=False)
    return [text.split(end)[0] + (end if end in text else "") for text in decoded]


def is_right(case: Case, text: str, end: str) -> bool:
    if case.thinks:
        begun, thought, text = text.startswith("<think>\n"), *text.partition("\n</think>\n\n")[::2]
        if not begun or thought == "<think>":
            return False
    return text == case.answer + end


def measure(
    model: Any, tokenizer: Any, cases: Sequence[Case], *, batch_size: int = 256, show_wrong: int = 0
) -> dict[str, dict[str, float]]:
    """Returns accuracy and n by kind, and over all; prints so many wrong answers of each kind."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    ordered = sorted(cases, key=lambda case: (case.thinks, len(case.answer)))
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        for case, text in zip(part, answer(model, tokenizer, part), strict=True):
            found = is_right(case, text, tokenizer.eos_token)
            for kind in (case.kind, "all"):
                asked[kind] += 1
                right[kind] += found
            if not found and asked[case.kind] - right[case.kind] <= show_wrong:
                print(f"{case.kind}: {case.messages[-1]['content']!r}\n  {case.answer!r}\n  {text!r}")
    return {kind: {"accuracy": round(right[kind] / n, 4), "n": n} for kind, n in sorted(asked.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "pagoda-tiny")
    parser.add_argument("--per-kind", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--show-wrong", type=int, default=0, help="print so many wrong answers of each kind")
    args = parser.parse_args()
    cases = build_cases(HELD_OUT_SEED, args.per_kind)
    result = measure(*load(args.model, args.device), cases, show_wrong=args.show_wrong)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
