"""Gumbel noise without state: a function of (seed, position, token), the same in any batch, block or launch.

Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with 7 rounds, the minimum that passes
BigCrush. One call makes four words: the counter is a token's place in its span of 4 * LANE tokens, its lane picks the
word.
"""

import triton
import triton.language as tl

LANE: tl.constexpr = tl.constexpr(1024)
ROUNDS: tl.constexpr = tl.constexpr(7)


@triton.jit
def draw_words(seed, position, counter):
    """Draws four uint32 tensors of counter's shape."""
    return tl.philox(seed, counter, position, 0, 0, ROUNDS)


@triton.jit
def to_gumbel(word):
    """Returns -log(E) with E = -log(1 - v) exponential and v uniform on (0, 1), 32 bits of it.

    Near 0, where the noise is large and decides, 1 - v would lose v's bits: there the logarithm is its series.
    """
    v = tl.minimum(word.to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10, 0.9999999403953552)
    series = v * (1.0 + v * (0.5 + v * 0.3333333333))
    return -tl.log(tl.where(v < 0.00390625, series, -tl.log(1.0 - v)))


@triton.jit
def draw_gumbel(seed, position, token):
    """Draws noise of any tokens, for few of them: it draws four words for each and keeps one."""
    w0, w1, w2, w3 = draw_words(seed, position, token // (4 * LANE) * LANE + token % LANE)
    lane = token // LANE % 4
    return to_gumbel(tl.where(lane == 0, w0, tl.where(lane == 1, w1, tl.where(lane == 2, w2, w3))))
