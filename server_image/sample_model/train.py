"""Trains `pagoda-tiny` from nothing: corpus, tokenizer, model, held-out evaluation. Downloads nothing."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sample_model import corpus, evaluate

SPECIAL_TOKENS = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
END, ASSISTANT = 0, 3
ROW_TOKENS = 512
VOCABULARY = 1536
CHAT_TEMPLATE = (
    "{%- for message in messages -%}\n"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}\n"
)


def train_tokenizer(texts: list[str]) -> Any:
    """Returns a byte-level BPE; digits stay apart, so that a sum is read digit by digit."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


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


def pack_rows(documents: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns rows of whole conversations, [rows, 512] token ids and positions, each starting at position 0."""
    ids: list[list[int]] = [[]]
    positions: list[list[int]] = [[]]
    for document in documents:
        document = document[:ROW_TOKENS]
        if len(ids[-1]) + len(document) > ROW_TOKENS:
            ids.append([])
            positions.append([])
        ids[-1] += document
        positions[-1] += range(len(document))
    for row in (*ids, *positions):
        row += [0] * (ROW_TOKENS - len(row))
    return torch.from_numpy(np.array(ids, dtype=np.int16)), torch.from_numpy(np.array(positions, dtype=np.int16))


def build_batch(ids: torch.Tensor, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns the model's inputs: attention stays inside a conversation, and only assistant tokens carry loss."""
    ids, positions = ids.long(), positions.long()
    document = (positions == 0).cumsum(1)
    causal = torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool, device=ids.device).tril()
    mask = (document[:, :, None] == document[:, None, :]) & causal
    index = torch.arange(ROW_TOKENS, device=ids.device).expand_as(ids)
    last_special = torch.where(ids < len(SPECIAL_TOKENS), index, 0).cummax(1).values
    before = torch.cat([torch.zeros_like(last_special[:, :1]), last_special[:, :-1]], 1)
    labels = torch.where(ids.gather(1, before) == ASSISTANT, ids, -100)
    labels[:, 0] = -100
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None], "labels": labels}


def learning_rate(peak: float, progress: float) -> float:
    warm = min(1.0, progress / 0.03 + 0.01)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def fit(model: Any, ids: torch.Tensor, positions: torch.Tensor, args: argparse.Namespace) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.05)
    generator = torch.Generator().manual_seed(args.seed)
    started = time.monotonic()
    ids, positions = ids.to(args.device), positions.to(args.device)
    for step in range(args.steps):
        elapsed = time.monotonic() - started
        progress = max(step / args.steps, elapsed / args.max_seconds)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(args.rate, progress)
        rows = torch.randint(len(ids), (args.rows,), generator=generator).to(args.device)
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.device == "cuda"):
            loss = model(**build_batch(ids[rows], positions[rows]), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 200 == 0:
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
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=END, do_sample=False)
    model.to(torch.bfloat16).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=96, help="packed rows of 512 tokens in a step")
    parser.add_argument("--conversations", type=int, default=300_000)
    parser.add_argument("--per-kind", type=int, default=300, help="held-out questions of each kind to evaluate")
    parser.add_argument(
        "--max-seconds", type=float, default=math.inf, help="the schedule ends here if the steps do not"
    )
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    started = time.monotonic()
    texts = [conversation.render() for conversation in corpus.build_training(args.seed, args.conversations)]
    tokenizer = train_tokenizer(texts[:30_000])
    documents = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
    ids, positions = pack_rows(documents)
    model = build_model().to(args.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{len(texts)} conversations, {ids.numel()} tokens, {parameters} parameters, {time.monotonic() - started:.0f}s",
        flush=True,
    )
    fit(model.train(), ids, positions, args)
    save(model, tokenizer, args.out)
    result = evaluate.measure(
        *evaluate.load(args.out, args.device), corpus.build_held_out(evaluate.HELD_OUT_SEED, args.per_kind)
    )
    (args.out / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
