"""The last of several programs adds up what all have left: no second launch, and no order but the given one."""

import triton
import triton.language as tl


@triton.jit
def arrive(counter_ptr, count):
    """Whether all others of `count` programs have arrived, whose stores this one then sees past the first-level cache.

    The counter is int32 and 0 before the first arrives, and after the last.
    """
    tl.debug_barrier()  # all threads have stored, before the one that counts the program in
    is_last = tl.atomic_add(counter_ptr, 1, sem="acq_rel") == count - 1
    tl.debug_barrier()
    tl.store(counter_ptr, 0, mask=is_last)
    return is_last
