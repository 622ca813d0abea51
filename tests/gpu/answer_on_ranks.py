"""`answer_on_ranks.py RANKS DTYPE [fp8]`: an engine's answers of `test_tensor_parallel.py`, as a line of JSON.

With fp8 they are answers to questions on which the model is sure: on other prompts rounding alone moves it far.

In a process of its own, as an engine is: a process joins ranks once.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pagoda_server.engine.config import EngineConfig
from pagoda_server.engine.engine import Engine
from pagoda_server.start.build import build_engine
from pagoda_server.wire import Sampling, Submit
from sample_model.corpus import build_held_out

MODEL = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"
SAMPLINGS = [
    Sampling(max_tokens=32, temperature=0.0, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.0, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.8, seed=5, top_p=0.9, logprobs=2, ignore_eos=True),
    Sampling(max_tokens=32, temperature=0.0, presence_penalty=0.5, min_tokens=8, logprobs=2),
]


def list_requests() -> list[Submit]:
    prompts = [[3 + (7 * index + 11 * place) % 1500 for place in range(9 + 23 * index)] for index in range(4)]
    return [
        Submit(str(index), prompt, sampling)
        for index, (prompt, sampling) in enumerate(zip(prompts, SAMPLINGS, strict=True))
    ]


def list_questions() -> list[Submit]:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    texts = [f"<|user|>{one.question}<|end|><|assistant|>" for one in build_held_out(seed=7, count_per_kind=6)]
    sampling = Sampling(max_tokens=64, temperature=0.0, logprobs=2)
    return [Submit(str(index), tokenizer.encode(text).ids, sampling) for index, text in enumerate(texts)]


def answer(engine: Engine, requests: list[Submit]) -> list[dict[str, Any]]:
    """Returns each request's tokens, their log-probabilities, and the two likeliest first tokens with theirs."""
    tokens: list[list[int]] = [[] for _ in requests]
    logprobs: list[list[Any]] = [[] for _ in requests]
    for request in requests:
        assert engine.submit(request) is None
    while engine.has_work:
        for delta in engine.step():
            tokens[int(delta.request_id)].extend(delta.token_ids)
            logprobs[int(delta.request_id)].extend(delta.logprobs or ())
    return [
        {"tokens": own, "chosen": [one.chosen for one in scores], "first": scores[0].top}
        for own, scores in zip(tokens, logprobs, strict=True)
    ]


def main(ranks: int, dtype: Any, *, fp8: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = EngineConfig(
            model=MODEL,
            socket=Path(folder) / "engine.sock",
            device="cuda",
            dtype=dtype,
            tensor_parallel=ranks,
            max_num_seqs=32,
            gpu_memory_fraction=0.2,
            quantization="fp8" if fp8 else "none",
            kv_cache_dtype="fp8" if fp8 else "auto",
        )
        built = build_engine(config)
        while built.engine.runner.prepare_next():
            pass
        print(json.dumps(answer(built.engine, list_questions() if fp8 else list_requests())), flush=True)
        built.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], fp8="fp8" in sys.argv[3:])
