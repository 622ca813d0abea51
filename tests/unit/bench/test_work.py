import json
from pathlib import Path

import pytest

from bench.commands import COMMANDS
from bench.plan import DECODE_POINTS, LOADS, build_jobs
from bench.work.arguments import choose_model_len
from bench.work.limits import GPUS, compute_decode_limit, compute_work_limit, name_gpus
from bench.work.model_dir import build_config, build_vocabulary, build_weight_shapes
from bench.work.shapes import SHAPES, Precision, count_prefill_flop
from bench.work.workload import (
    INPUT_RATE,
    DecodePoint,
    PrefillPoint,
    build_prefill,
    build_uniform,
    build_w1,
    parse_decode_name,
    parse_decode_point,
    parse_prefill_name,
    parse_prefill_point,
)


def test_w1_is_the_public_benchmark() -> None:
    work = build_w1()
    assert (len(work.prompts), work.num_prompt_tokens, work.num_output_tokens) == (256, 142_827, 133_966)


def test_divided_w1_keeps_the_prompts() -> None:
    work, divided = build_w1(), build_w1(16)
    assert divided.prompts == work.prompts
    assert divided.output_lengths == [length // 16 for length in work.output_lengths]


def test_uniform_work_has_the_lengths_asked() -> None:
    work = build_uniform(3, 40, 7)
    assert list(map(len, work.prompts)) == [40] * 3
    assert work.output_lengths == [7] * 3
    assert work.prompts == build_uniform(3, 40, 9).prompts != build_uniform(3, 40, 7, seed=2).prompts


def test_a_bad_decode_point_says_what_to_give() -> None:
    assert parse_decode_point("32,7000") == DecodePoint(32, 7000)
    for bad in ("32", "0,1024", "a,b", "1,100"):
        with pytest.raises(ValueError, match="such as 32,1024"):
            parse_decode_point(bad)


def test_a_bad_prefill_point_says_what_to_give() -> None:
    assert parse_prefill_point("32,8192") == PrefillPoint(32, 8192)
    for bad in ("32", "0,1024", "a,b", "1,1"):
        with pytest.raises(ValueError, match="such as 32,8192"):
            parse_prefill_point(bad)


def test_a_point_is_found_by_its_name() -> None:
    decode, prefill = DecodePoint(32, 7000), PrefillPoint(32, 8192)
    assert parse_decode_name(decode.name) == decode and parse_prefill_name(prefill.name) == prefill
    assert parse_decode_name(prefill.name) is None and parse_prefill_name("W1") is None


def test_a_prefill_leaves_room_for_its_answer() -> None:
    work = build_prefill(PrefillPoint(32, 8192))
    assert {len(prompt) + 1 for prompt in work.prompts} == {8192} and work.output_lengths == [1] * 32
    assert (work.unit, work.num_rated_tokens) == (INPUT_RATE, 32 * 8191)
    assert choose_model_len([PrefillPoint(32, 8192)]) == 8192 and choose_model_len([PrefillPoint(1, 9000)]) == 9000


def test_the_prefill_limit_is_arithmetic_over_its_rate() -> None:
    work = build_prefill(PrefillPoint(32, 8192))
    limit = compute_work_limit("NVIDIA H200", "llama-3.1-8b", "bf16", work)
    assert limit is not None
    assert limit.rated == pytest.approx(8191 * 989e12 / count_prefill_flop(SHAPES["llama-3.1-8b"], 8191), rel=0.001)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("qwen3-0.6b", 0.596e9), ("llama-3.2-1b", 1.236e9), ("llama-3.1-8b", 8.03e9), ("qwen3-8b", 8.19e9)],
)
def test_a_shape_has_the_public_models_parameters(model: str, parameters: float) -> None:
    total = 0
    for size in build_weight_shapes(SHAPES[model]).values():
        total += size[0] * (size[1] if len(size) > 1 else 1)
    assert total == pytest.approx(parameters, rel=0.002)


def test_a_config_says_the_shape() -> None:
    config = build_config(SHAPES["qwen3-8b"])
    assert (config["architectures"], config["num_hidden_layers"], config["tie_word_embeddings"]) == (
        ["Qwen3ForCausalLM"],
        36,
        False,
    )
    json.dumps(config)


def test_every_id_of_the_vocabulary_has_a_token() -> None:
    vocabulary = build_vocabulary(1000, ["a", "b"])
    assert sorted(vocabulary.values()) == list(range(1000))


def test_the_decode_limit_is_bytes_over_bandwidth() -> None:
    limit = compute_decode_limit("NVIDIA H200", "llama-3.1-8b", "bf16", DecodePoint(1, 1024))
    assert limit is not None
    step_bytes = 15.01e9 + 1024 * 131_072
    assert limit.rated == pytest.approx(4.8e12 / step_bytes, rel=0.01)
    assert limit.measured == pytest.approx(4.3e12 / step_bytes, rel=0.01)


@pytest.mark.parametrize("model", SHAPES)
def test_fp8_and_rated_limits_are_the_higher_ones(model: str) -> None:
    def limit(precision: Precision) -> tuple[float, float]:
        found = compute_work_limit("NVIDIA H200", model, precision, build_w1())
        assert found is not None
        return found.rated, found.measured

    assert limit("fp8") > limit("bf16")
    assert limit("bf16")[0] > limit("bf16")[1] > 0


def test_two_gpus_have_twice_the_limit_of_one() -> None:
    point, name = DecodePoint(64, 1024), "NVIDIA H100 80GB HBM3"
    one, two = (compute_decode_limit(name_gpus(count, name), "llama-3.1-8b", "bf16", point) for count in (1, 2))
    assert one is not None and two is not None
    assert two.rated == pytest.approx(2 * one.rated, abs=1)


def test_an_unknown_gpu_has_no_limit() -> None:
    assert compute_work_limit("NVIDIA T4", "qwen3-8b", "bf16", build_w1()) is None
    assert all(gpu.rated.bytes_per_second > gpu.measured.bytes_per_second for gpu in GPUS.values())


def test_every_job_is_a_command_of_bench() -> None:
    for name, job in build_jobs().items():
        arguments = job.build_arguments(Path("models/x"), Path("lines"))
        assert name == job.name and arguments[:2] == ["-m", "bench"] and arguments[2] in COMMANDS
        assert arguments[arguments.index("--lines") + 1] == "lines" and job.model in arguments


def test_vllm_and_we_are_measured_on_the_same_work() -> None:
    jobs = build_jobs()
    theirs = [name for name in jobs if name.startswith("vllm")]
    assert {name.replace("vllm", "ours") for name in theirs} == {
        name for name in jobs if name.startswith(("ours/", "ours-http/"))
    }
    for name in theirs:
        flags = [flag.replace("vllm", "ours") for flag in jobs[name].flags]
        assert flags == list(jobs[name.replace("vllm", "ours")].flags)
        assert set(LOADS if "http" in name else DECODE_POINTS) <= set(flags)
