"""The engine's laws on a GPU, with the sample model: the tokens of transformers, alone and in a batch."""

import gc
from pathlib import Path
from typing import Literal

import pytest
import torch
import transformers

from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.engine import Engine
from pagoda_server.start.build import build_engine
from pagoda_server.wire import Sampling, Submit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
MODEL = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
QUESTIONS = ["Who are you?", "What is 17 + 25?", "Tell me a short story about a fox.", "Count from 3 to 9."]


@pytest.fixture(scope="module")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(MODEL)


def encode(tokenizer: transformers.PreTrainedTokenizerBase, question: str) -> list[int]:
    message = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def build(tmp_path: Path, dtype: Literal["float32", "bfloat16"]) -> Engine:
    gc.collect()
    torch.cuda.empty_cache()  # the engine before this one held its pages until now
    config = EngineConfig(model=MODEL, socket=tmp_path / "s", device="cuda", dtype=dtype, gpu_memory_fraction=0.1)
    return build_engine(config).engine


def answer(engine: Engine, prompts: list[list[int]], max_tokens: int = 48) -> list[list[int]]:
    for index, prompt in enumerate(prompts):
        sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
        assert engine.submit(Submit(request_id=str(index), prompt_token_ids=prompt, sampling=sampling)) is None
    tokens: list[list[int]] = [[] for _ in prompts]
    while engine.has_work:
        for delta in engine.step():
            tokens[int(delta.request_id)] += delta.token_ids
    return tokens


def test_greedy_tokens_are_those_of_transformers_in_fp32(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    reference = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).cuda().eval()
    prompts = [encode(tokenizer, question) for question in QUESTIONS]
    found = answer(build(tmp_path, "float32"), prompts)
    for prompt, tokens in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt], device="cuda")
        wanted = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False)
        assert tokens == wanted[0, len(prompt) :].tolist()


def test_a_batch_of_128_answers_as_one_does_in_fp32(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    engine = build(tmp_path, "float32")
    prompts = [encode(tokenizer, question) for question in QUESTIONS]
    alone = [answer(engine, [prompt])[0] for prompt in prompts]
    assert answer(engine, prompts * 32) == alone * 32
    engine.scheduler.check_integrity()


def test_bf16_answers_the_sum(tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    tokens = answer(build(tmp_path, "bfloat16"), [encode(tokenizer, "What is 17 + 25?")])[0]
    assert "42" in tokenizer.decode(tokens)
