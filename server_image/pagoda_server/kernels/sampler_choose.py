"""The second launch of the sampler: the best of a row's blocks, and the filters of the rows that have any.

Filters need no sort: top_k and top_p keep the tokens at or above a threshold. That of top_k is found by bisection over
the ordered bits of a float. That of top_p is not found at all: a token is kept if the probability above it is less than
top_p, so the drawn one is looked at, and where it is not kept the next is drawn among those above it, which hold all
that are: mostly, one pass. Passes go over a short list: the k-th largest of the spans' peaks is a lower bound of the
k-th largest logit, tokens under (1 - top_p) / vocab of probability cannot be in the nucleus, and min_p is a bound as it
stands. Only spans whose peak reaches the bound are read; their tokens at or above it go to scratch. Should they not
fit, or be in half of the spans, passes go over the row itself: slower, the same result.
"""

import triton
import triton.language as tl

from pagoda_server.kernels.noise import draw_gumbel

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)
PAST_ALL: tl.constexpr = tl.constexpr(0x7FFFFFFF)
GREEDY_TEMPERATURE: tl.constexpr = tl.constexpr(1e-5)
"""As `wire.GREEDY_TEMPERATURE`, which kernels do not know."""


@triton.jit
def _order(x, SHIFT: tl.constexpr):
    """Returns int32 in the order of float32 x. What was bfloat16 has 16 idle bits: SHIFT drops them."""
    bits = x.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> SHIFT


@triton.jit
def _read(listed, size, start, floor, logits_ptr, kept_value_ptr, kept_token_ptr, BLOCK: tl.constexpr):
    """Reads a block of the list, or of the row: logits (-inf where under `floor` or past the end) and tokens."""
    index = start + tl.arange(0, BLOCK)
    inside = index < size
    from_row = tl.load(logits_ptr + index, mask=inside & (listed == 0), other=float("-inf")).to(tl.float32)
    from_list = tl.load(kept_value_ptr + index, mask=inside & (listed != 0), other=float("-inf"))
    token = tl.load(kept_token_ptr + index, mask=inside & (listed != 0), other=0)
    x = tl.where(listed != 0, from_list, from_row)
    return tl.where(x >= floor, x, float("-inf")), tl.where(listed != 0, token, index)


@triton.jit
def _measure(
    key, listed, size, floor, peak, factor, logits_ptr, kept_value_ptr, kept_token_ptr,
    WEIGHTED: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Measures how many tokens, or how much probability relative to the peak's, lie at or above the key."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, size, BLOCK):
        x, _ = _read(listed, size, start, floor, logits_ptr, kept_value_ptr, kept_token_ptr, BLOCK)
        above = (_order(x, SHIFT) >= key) & (x > float("-inf"))
        if WEIGHTED:
            total += tl.where(above, tl.exp2((x - peak) * factor), 0.0)
        else:
            total += above.to(tl.float32)
    return tl.sum(total, 0)


@triton.jit
def _bisect(
    count, low, listed, size, floor, peak, logits_ptr, kept_value_ptr, kept_token_ptr,
    SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Finds the largest key above `low` that `count` tokens reach, else `low`."""
    high = _order(peak, SHIFT) + 1
    while low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)
        found = _measure(
            middle, listed, size, floor, peak, 0.0, logits_ptr, kept_value_ptr, kept_token_ptr, False, SHIFT, BLOCK
        )
        reached = found >= count
        low = tl.where(reached, middle, low)
        high = tl.where(reached, high, middle)
    return low


@triton.jit
def _bound_top_k(peaks_ptr, top_k, peak, PEAKS: tl.constexpr, PEAKS_POW2: tl.constexpr, SHIFT: tl.constexpr):
    """Returns the k-th largest of the spans' peaks: at least k tokens reach it. -inf if there are fewer spans."""
    index = tl.arange(0, PEAKS_POW2)
    keys = _order(tl.load(peaks_ptr + index, mask=index < PEAKS, other=float("-inf")), SHIFT)
    least = _order(tl.full([], float("-inf"), tl.float32), SHIFT)
    low, high = least, _order(peak, SHIFT) + 1
    while low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)
        reached = tl.sum((keys >= middle).to(tl.int32), 0) >= top_k
        low = tl.where(reached, middle, low)
        high = tl.where(reached, high, middle)
    wide = low << SHIFT  # of a negative number a little below it: still a bound
    bound = (wide ^ ((wide >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
    return tl.where(low == least, float("-inf"), bound)


@triton.jit
def _list_spans(peaks_ptr, spans_ptr, bound, PEAKS: tl.constexpr, PEAKS_POW2: tl.constexpr):
    """Writes the spans that have a token at or above the bound, in order; returns how many there are."""
    span = tl.arange(0, PEAKS_POW2)
    peaks = tl.load(peaks_ptr + span, mask=span < PEAKS, other=float("-inf"))
    keep = ((peaks >= bound) & (peaks > float("-inf"))).to(tl.int32)
    tl.store(spans_ptr + tl.cumsum(keep, 0) - 1, span, mask=keep != 0)
    return tl.sum(keep, 0)


@triton.jit
def _list_kept(
    logits_ptr, num_spans, bound, spans_ptr, kept_value_ptr, kept_token_ptr,
    VOCAB: tl.constexpr, CAPACITY: tl.constexpr, PEAK_SPAN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the spans' tokens at or above the bound, in order; returns how many there are, which may not all fit."""
    SPANS: tl.constexpr = BLOCK // PEAK_SPAN
    count = 0
    for start in range(0, num_spans, SPANS):
        index = start + tl.arange(0, SPANS)
        span = tl.load(spans_ptr + index, mask=index < num_spans, other=VOCAB)
        tokens = span[:, None] * PEAK_SPAN + tl.arange(0, PEAK_SPAN)[None, :]
        values = tl.load(logits_ptr + tokens, mask=tokens < VOCAB, other=float("-inf")).to(tl.float32)
        x, token = tl.reshape(values, (BLOCK,)), tl.reshape(tokens, (BLOCK,))
        keep = ((x >= bound) & (x > float("-inf"))).to(tl.int32)
        place = count + tl.cumsum(keep, 0) - 1
        fits = (keep != 0) & (place < CAPACITY)
        tl.store(kept_value_ptr + place, x, mask=fits)
        tl.store(kept_token_ptr + place, token, mask=fits)
        count += tl.sum(keep, 0)
    return count


@triton.jit
def _draw_kept(
    key, listed, size, floor, inverse, seed, position, logits_ptr, kept_value_ptr, kept_token_ptr,
    SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draws by Gumbel-max among the tokens at or above the key."""
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    chosen = tl.full([BLOCK], PAST_ALL, tl.int32)
    for start in range(0, size, BLOCK):
        x, token = _read(listed, size, start, floor, logits_ptr, kept_value_ptr, kept_token_ptr, BLOCK)
        kept = (_order(x, SHIFT) >= key) & (x > float("-inf"))
        score = tl.where(kept, x * inverse + draw_gumbel(seed, position, token), float("-inf"))
        chosen = tl.where(score > best, token, chosen)
        best = tl.maximum(best, score)
    return tl.min(tl.where(best == tl.max(best, 0), chosen, PAST_ALL), 0)


@triton.jit
def _draw_nucleus(
    token, target, key, listed, size, floor, peak, factor, inverse, seed, position,
    logits_ptr, kept_value_ptr, kept_token_ptr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Draws among the tokens at or above the key that have less probability above them than the target.

    `token`: what was drawn among all.
    """
    top, going = _order(peak, SHIFT), 1
    first = tl.load(logits_ptr + token).to(tl.float32)
    if (first < floor) | (_order(first, SHIFT) < key):
        token = _draw_kept(
            key, listed, size, floor, inverse, seed, position, logits_ptr, kept_value_ptr, kept_token_ptr, SHIFT, BLOCK
        )
    while going != 0:
        drawn = _order(tl.load(logits_ptr + token).to(tl.float32), SHIFT)
        above = _measure(
            drawn + 1, listed, size, floor, peak, factor, logits_ptr, kept_value_ptr, kept_token_ptr, True, SHIFT, BLOCK
        )
        going = ((above >= target) & (drawn < top)).to(tl.int32)
        if going != 0:
            token = _draw_kept(
                drawn + 1, listed, size, floor, inverse, seed, position, logits_ptr, kept_value_ptr, kept_token_ptr,
                SHIFT, BLOCK,
            )  # fmt: skip
    return token


@triton.jit
def _filter(
    token, peak, mass, temperature, top_k, top_p, min_p, seed, position,
    logits_ptr, peaks_ptr, spans_ptr, kept_value_ptr, kept_token_ptr,
    VOCAB: tl.constexpr, PEAKS: tl.constexpr, PEAKS_POW2: tl.constexpr, PEAK_SPAN: tl.constexpr,
    CAPACITY: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Returns `token` if the filters keep it, else the draw among those kept. Order: min_p, top_k, top_p of the rest.

    `mass`: the whole row's probability relative to the peak's.
    """
    factor = LOG2E / temperature
    limits_k = (top_k > 0) & (top_k < VOCAB)
    floor = tl.full([], float("-inf"), tl.float32)
    if min_p > 0.0:
        floor = tl.minimum(peak + temperature * tl.log(min_p), peak)
    bound = floor
    if limits_k:
        bound = tl.maximum(bound, _bound_top_k(peaks_ptr, top_k, peak, PEAKS, PEAKS_POW2, SHIFT))
    elif min_p <= 0.0:
        bound = tl.minimum(peak + temperature * tl.log(mass * (1.0 - top_p) / VOCAB), peak)
    num_spans = _list_spans(peaks_ptr, spans_ptr, bound, PEAKS, PEAKS_POW2)
    count = CAPACITY + 1
    if (num_spans <= PEAKS // 2) | (num_spans * PEAK_SPAN <= CAPACITY):
        tl.debug_barrier()  # what a thread listed, others read
        count = _list_kept(
            logits_ptr, num_spans, bound, spans_ptr, kept_value_ptr, kept_token_ptr, VOCAB, CAPACITY, PEAK_SPAN, BLOCK
        )
        tl.debug_barrier()
    listed = (count <= CAPACITY).to(tl.int32)
    size = tl.where(listed != 0, count, VOCAB)
    key = _order(bound, SHIFT)
    if limits_k:
        key = _bisect(
            top_k.to(tl.float32), key, listed, size, bound, peak, logits_ptr, kept_value_ptr, kept_token_ptr,
            SHIFT, BLOCK,
        )  # fmt: skip
    if limits_k | (min_p > 0.0):
        mass = _measure(
            key, listed, size, bound, peak, factor, logits_ptr, kept_value_ptr, kept_token_ptr, True, SHIFT, BLOCK
        )
    target = tl.where(top_p < 1.0, top_p * mass, float("inf"))
    return _draw_nucleus(
        token, target, key, listed, size, bound, peak, factor, 1.0 / temperature, seed, position,
        logits_ptr, kept_value_ptr, kept_token_ptr, SHIFT, BLOCK,
    )  # fmt: skip


@triton.jit
def choose_kernel(
    logits_ptr, temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, seed_ptr, rows_ptr, positions_ptr,
    value_ptr, token_ptr, peak_ptr, mass_ptr, peaks_ptr, spans_ptr, kept_value_ptr, kept_token_ptr, out_token_ptr,
    VOCAB: tl.constexpr, BLOCKS: tl.constexpr, BLOCKS_POW2: tl.constexpr, PEAKS: tl.constexpr,
    PEAKS_POW2: tl.constexpr, PEAK_SPAN: tl.constexpr, CAPACITY: tl.constexpr, NO_TOKEN: tl.constexpr,
    SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Runs on a grid (rows)."""
    row = tl.program_id(0)
    place = tl.load(rows_ptr + row)
    token = PAST_ALL
    if place >= 0:
        logits_ptr += row.to(tl.int64) * VOCAB
        index = tl.arange(0, BLOCKS_POW2)
        inside = index < BLOCKS
        blocks = row * BLOCKS + index
        values = tl.load(value_ptr + blocks, mask=inside, other=float("-inf"))
        tokens = tl.load(token_ptr + blocks, mask=inside, other=PAST_ALL)
        best = tl.max(values, 0)
        token = tl.min(tl.where((values == best) & (values > float("-inf")), tokens, PAST_ALL), 0)
        known = token < VOCAB

        temperature, top_k = tl.load(temperature_ptr + place), tl.load(top_k_ptr + place)
        top_p, min_p = tl.load(top_p_ptr + place), tl.load(min_p_ptr + place)
        limits = ((top_k > 0) & (top_k < VOCAB)) | (top_p < 1.0) | (min_p > 0.0)
        if known & (temperature >= GREEDY_TEMPERATURE) & limits:
            peaks = tl.load(peak_ptr + blocks, mask=inside, other=float("-inf"))
            peak = tl.maximum(tl.max(peaks, 0), -3.0e38)
            mass = tl.load(mass_ptr + blocks, mask=inside, other=0.0)
            mass = tl.sum(mass * tl.exp2((peaks - peak) * (LOG2E / temperature)), 0)
            token = _filter(
                token, peak, mass, temperature, top_k, top_p, min_p, tl.load(seed_ptr + place),
                tl.load(positions_ptr + row), logits_ptr, peaks_ptr + row * PEAKS, spans_ptr + row * PEAKS,
                kept_value_ptr + row * CAPACITY, kept_token_ptr + row * CAPACITY,
                VOCAB, PEAKS, PEAKS_POW2, PEAK_SPAN, CAPACITY, SHIFT, BLOCK,
            )  # fmt: skip
    tl.store(out_token_ptr + row, tl.where(token < VOCAB, token, NO_TOKEN))
