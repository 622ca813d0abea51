"""Trains `pagoda-tiny` from nothing: corpus, tokenizer, model, held-out evaluation. Downloads nothing."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sample_model import cases, evaluate
from sample_model.packing import ASSISTANT_ID, ROW_TOKENS, VOCABULARY, Rows, build_rows, train_tokenizer
from sample_model.rendering import SPECIAL_TOKENS, TEMPLATE

END = 0
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.05


def build_model() -> Any:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        intermediate_size=640,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=END,
    )
    return LlamaForCausalLM(config)


def build_batch(ids: Tensor, positions: Tensor, may_learn: Tensor) -> dict[str, Tensor]:
    """Returns the model's inputs: attention stays inside a conversation, and only assistant tokens carry loss."""
    ids, positions = ids.long(), positions.long()
    document = (positions == 0).cumsum(1)
    causal = torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool, device=ids.device).tril()
    mask = (document[:, :, None] == document[:, None, :]) & causal
    index = torch.arange(ROW_TOKENS, device=ids.device).expand_as(ids)
    last_special = torch.where(ids < len(SPECIAL_TOKENS), index, 0).cummax(1).values
    before = torch.cat([torch.zeros_like(last_special[:, :1]), last_special[:, :-1]], 1)
    labels = torch.where((ids.gather(1, before) == ASSISTANT_ID) & may_learn, ids, -100)
    labels[:, 0] = -100
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None], "labels": labels}


def learning_rate(peak: float, progress: float) -> float:
    warm = min(1.0, progress / 0.03 + 0.01)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def build_optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Returns Muon (Jordan, 2024) for the layers' matrices and AdamW for the rest, at rates of the same meaning."""
    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.ndim == 2]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=BETAS, weight_decay=WEIGHT_DECAY),
    ]


def fit(model: Any, rows: Rows, args: argparse.Namespace) -> None:
    """Trains until the steps or the seconds are over.

    NB: the seconds begin after the first step, in which a compiled model is compiled.
    """
    optimizers = build_optimizers(model, args.rate)
    run = torch.compile(model) if args.compile else model
    generator = torch.Generator().manual_seed(args.seed)
    data = [torch.from_numpy(array).to(args.device) for array in (rows.ids, rows.positions, rows.may_learn)]
    started = time.monotonic()
    for step in range(args.steps):
        if step == 1:
            started = time.monotonic()
        elapsed = time.monotonic() - started
        progress = max(step / args.steps, elapsed / args.max_seconds if step else 0)
        if progress >= 1:
            break
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(args.rate, progress)
        chosen = torch.randint(len(rows.ids), (args.rows,), generator=generator).to(args.device)
        batch = build_batch(*(array[chosen] for array in data))
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.device == "cuda"):
            loss = run(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 200 == 0 or step == args.steps - 1:
            print(f"step {step} loss {loss.item():.4f} elapsed {elapsed:.0f}s", flush=True)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = TEMPLATE.read_text()
    wrapped.save_pretrained(folder)
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=END, do_sample=False)
    model.to(torch.bfloat16).save_pretrained(folder)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="by torch.compile: a minute first, then faster steps")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=96, help="packed rows of 512 tokens in a step")
    parser.add_argument("--conversations", type=int, default=600_000)
    parser.add_argument("--per-kind", type=int, default=300, help="held-out cases of each kind to evaluate")
    parser.add_argument(
        "--max-seconds", type=float, default=math.inf, help="the schedule ends here if the steps do not"
    )
    parser.add_argument("--rate", type=float, default=5e-3, help="the peak")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.manual_seed(args.seed)
    started = time.monotonic()
    tokenizer = train_tokenizer(args.seed)
    rows = build_rows(tokenizer, args.seed, args.conversations)
    model = build_model().to(args.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{args.conversations} conversations, {rows.ids.size} tokens, {parameters} parameters, "
        f"{time.monotonic() - started:.0f}s",
        flush=True,
    )
    fit(model.train(), rows, args)
    save(model, tokenizer, args.out)
    held_out = cases.build_cases(evaluate.HELD_OUT_SEED, args.per_kind)
    result = evaluate.measure(*evaluate.load(args.out, args.device), held_out)
    (args.out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
