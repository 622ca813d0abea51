import pytest

from bench.profile.roles import KernelEvent, assign_roles, find_role, shorten
from bench.profile.steps import parse_arguments, prepare_decode, prepare_prefill
from bench.profile.table import render_profile, summarise
from bench.work.costs import compute_decode_costs, compute_prefill_costs
from bench.work.limits import Rates
from bench.work.shapes import SHAPES, count_body_parameters, count_prefill_flop, count_weight_bytes
from bench.work.workload import DecodePoint
from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from tests.doubles.runners import ConstantRunner

CUBLAS = "nvjet_tst_64x8_64x16_4x1_v_bz_TNT"
COPY = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<int>, std::array<char*, 1ul>>(int)"
STEP = ["_prepare_kernel", "_norm_kernel", CUBLAS, "_rope_kernel", "_decode_kernel", CUBLAS, "_norm_kernel"]
STEP += [CUBLAS, "void cublasLt::splitKreduce_kernel<32, 16, int>(int)", COPY, "_scan_kernel", "choose_kernel"]


def lay_out(names: list[str], micros: float = 2.0, gap: float = 1.0) -> list[KernelEvent]:
    return [
        KernelEvent(name, index * (micros + gap), index * (micros + gap) + micros) for index, name in enumerate(names)
    ]


def test_our_kernels_and_cublas_have_roles() -> None:
    names = {
        "_gemv_kernel": "projections", "_linear_kernel": "projections", CUBLAS: "projections",
        "void cutlass::device_kernel<flashinfer>(int)": "attention",
        "_prefill_kernel": "attention", "_silu_mul_fp8_kernel": "norm, rope, activation",
        "_quantize_kernel": "norm, rope, activation", "_sum_norm_kernel": "norm, rope, activation",
        "choose_kernel": "sampler", "_append_kernel": "copies", "Memcpy HtoD (Pinned -> Device)": "copies",
        COPY: "copies", "mystery": "other",
    }  # fmt: skip
    assert {name: find_role(name) for name in names} == names


def test_the_product_between_the_last_norm_and_the_sampler_makes_the_logits() -> None:
    roles = assign_roles(lay_out(STEP * 2))
    assert roles[: len(STEP)] == roles[len(STEP) :]
    products = [role for role, name in zip(roles, STEP, strict=False) if name == CUBLAS]
    assert products == ["projections", "projections", "logits"]
    assert roles[8] == "logits" and roles[9] == "copies"


def test_calls_and_time_are_those_of_one_step() -> None:
    profile = summarise(lay_out(STEP * 4), 4)
    [norm] = [line for line in profile.lines if line.name == "_norm_kernel"]
    assert (norm.role, norm.calls, norm.micros) == ("norm, rope, activation", 2, 4.0)
    assert sum(line.micros for line in profile.lines) + profile.idle_us == pytest.approx(profile.step_us)


def test_idle_is_the_time_in_which_nothing_ran() -> None:
    events = [KernelEvent("a", 0, 10), KernelEvent("b", 4, 6), KernelEvent("c", 8, 14), KernelEvent("d", 20, 30)]
    profile = summarise(reversed(events), 2)
    assert (profile.step_us, profile.idle_us) == (15.0, 3.0)


def test_a_profile_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match="profile at least one step on a GPU"):
        summarise([], 1)


def test_roles_move_the_weights_the_context_and_the_head() -> None:
    shape = SHAPES["llama-3.1-8b"]
    costs = compute_decode_costs(shape, "bf16", 32, 1024)
    assert costs["attention"].num_bytes == 32 * 1024 * 131_072
    assert costs["logits"].num_bytes == 4096 * 128_256 * 2
    assert costs["projections"].num_bytes + costs["logits"].num_bytes == count_weight_bytes(shape, "bf16")
    assert (costs["logits"] / 2).num_bytes == 4096 * 128_256
    assert compute_decode_costs(shape, "fp8", 32, 1024)["projections"].num_bytes == count_body_parameters(shape)


def test_a_prompt_does_the_arithmetic_of_the_limit() -> None:
    shape = SHAPES["qwen3-8b"]
    costs = compute_prefill_costs(shape, "bf16", 8192)
    flop = costs["projections"].flop + costs["attention"].flop
    assert flop == count_prefill_flop(shape, 8192)


def test_a_prompt_of_one_token_does_the_arithmetic_of_a_decode() -> None:
    """The last layer needs less than the others: all but keys and values is of the last token alone."""
    shape = SHAPES["llama-3.1-8b"]
    prompt, decode = compute_prefill_costs(shape, "bf16", 1), compute_decode_costs(shape, "bf16", 1, 1)
    assert {role: cost.flop for role, cost in prompt.items()} == {role: cost.flop for role, cost in decode.items()}
    skipped = 8192 * decode["projections"].flop - compute_prefill_costs(shape, "bf16", 8192)["projections"].flop
    assert skipped / (8191 * decode["projections"].flop) == pytest.approx(0.96 / 32, rel=0.01)


def test_the_table_shows_rates_and_shares_of_what_is_known() -> None:
    shape = SHAPES["llama-3.1-8b"]
    profile = summarise(lay_out(STEP, micros=1000.0), 1)
    text = render_profile(profile, compute_decode_costs(shape, "bf16", 1, 1024), Rates(4.3e12, 788e12))
    projections = next(line for line in text.splitlines() if line.startswith("projections"))
    assert " ".join(projections.split()) == "projections 2 2000.0 16.7 % 13958.6 6.98 162 % 7 1 %"
    assert "idle: between kernels" in text and "step, first kernel to last" in text


def test_names_are_shortened_but_told_apart() -> None:
    assert shorten("void cublasLt::splitKreduce_kernel<32, 16, int>(int)") == "splitKreduce_kernel"
    assert shorten("Memcpy HtoD (Pinned -> Device)") == "Memcpy HtoD"
    assert shorten(COPY).startswith("vectorized_elementwise_kernel 4, at") and len(shorten(COPY)) <= 44
    assert shorten("_norm_kernel") == "_norm_kernel"


def test_impossible_profiles_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--steps", "0"], ["--steps", "999"], ["--prefill", "8"], ["--batch", "0"], ["--context", "9"]):
        with pytest.raises(SystemExit):
            parse_arguments(["qwen3-8b", "folder", *flags])
        assert "give" in capsys.readouterr().err


def build_engine(batched_tokens: int) -> tuple[Engine, list[list[int]]]:
    """With the tokens of each chunk of each step that it launches."""
    steps: list[list[int]] = []
    runner = ConstantRunner(0, look=lambda chunks: steps.append([chunk.num_tokens for chunk in chunks]))
    limits = Limits(2048, 64, batched_tokens, vocab_size=20_000)
    return Engine(runner, limits, PagePool(256, 64), prefix_caching=False), steps


def test_each_profiled_prompt_is_a_step_of_its_own() -> None:
    engine, steps = build_engine(512)
    prepare_prefill(engine, 512)(5)
    assert steps == [[512]] * 5


def test_every_sequence_decodes_in_each_profiled_step() -> None:
    engine, steps = build_engine(512)
    run = prepare_decode(engine, DecodePoint(8, 300))
    steps.clear()
    run(128)
    assert steps == [[1] * 8] * 128
