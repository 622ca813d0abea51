"""The loops of each mix make all of their tokens, and a figure says what a mix costs."""

from pytest import MonkeyPatch

from bench.offline import sampling
from bench.offline.sampling import MIXES, build_constrained_engine, measure, run_loop
from bench.work.workload import Width, Work
from pagoda_server.engine.batch import Limits
from pagoda_server.engine.engine import Engine
from pagoda_server.engine.pages import PagePool
from tests.doubles.runners import MaskedRunner

VOCAB = 640
LIMITS = Limits(max_model_len=256, max_num_seqs=4, max_batched_tokens=64, vocab_size=VOCAB, eos_token_ids=(2,))


def build_engine() -> Engine:
    return build_constrained_engine(Engine(MaskedRunner(VOCAB, 1), LIMITS, PagePool(300, 4)))


def build_short_loop(width: Width) -> Work:
    return Work("short", [[5, 6, 7 + index] for index in range(width.requests)], [200] * width.requests)


def test_every_mix_is_run_to_its_end() -> None:
    for mix in MIXES:
        assert run_loop(build_engine(), build_short_loop(Width(3, 5)), mix, 3) > 0


def test_each_mix_has_a_figure_beside_the_plain_rate(monkeypatch: MonkeyPatch) -> None:
    rates = iter([50.0, 100.0, 40.0, 80.0, 100.0])
    monkeypatch.setattr(sampling, "build_closed_loop", build_short_loop)
    monkeypatch.setattr(sampling, "run_loop", lambda *_: next(rates))
    (figure,) = measure(build_engine(), Width(2, 3), MIXES[2:3], repeats=2)
    assert figure == {"mix": "top_p", "streams": 2, "output_tokens_per_second": 70, "share_of_plain": 0.825}
