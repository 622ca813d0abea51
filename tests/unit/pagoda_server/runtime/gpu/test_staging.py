"""Arrays arrive as they were sent, whatever their sizes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_server.runtime.gpu.staging import FIRST_CAPACITY, Staging

steps = st.lists(st.lists(st.integers(0, 40) | st.just(FIRST_CAPACITY // 2), min_size=1, max_size=5), max_size=6)


@settings(deadline=None, max_examples=30)
@given(steps)
def test_arrays_arrive_as_they_were_sent(sizes_of_steps: list[list[int]]) -> None:
    staging, draw = Staging(torch.device("cpu")), np.random.default_rng(0)
    for sizes in sizes_of_steps:
        arrays = [draw.integers(-(2**31), 2**31, size, dtype=np.int64).astype(np.int32) for size in sizes]
        received = staging.send(arrays)
        assert all(got.storage_offset() % 4 == 0 for got in received)
        assert all((got.numpy() == sent).all() for got, sent in zip(received, arrays, strict=True))
