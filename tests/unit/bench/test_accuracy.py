"""fp8 keeps the bundled model's answers: bounds far above what `bench/checks` states, far below a broken scale."""

from bench.checks.accuracy import BUNDLED, measure, render
from sample_model import corpus


def test_fp8_hardly_moves_the_log_probabilities() -> None:
    distances = measure(BUNDLED, [exchange.question for exchange in corpus.build_held_out(3, 3)])
    assert len(distances) == 4
    for name, found in distances.items():
        assert found.num_tokens > 100, name
        assert 0.0 < found.mean < 0.01 and found.largest < 2.0 and found.divergence < 0.01, (name, found)
        assert found.same_choice > 0.98, (name, found)
        assert name in render(distances)
