"""How programs that share a result find out which of them is last: it puts the parts together, in their order.

So no second launch is needed, and the result does not depend on who is last. NB: it must read the parts past the
first-level cache (`.cg`), which does not see what other SMs have written.
"""

import triton
import triton.language as tl


@triton.jit
def arrive(arrived_ptr, count):
    """Returns whether the others of `count` programs have stored their parts; leaves the counter at 0."""
    tl.debug_barrier()  # all threads have stored, before the one that counts the program in
    is_last = tl.atomic_add(arrived_ptr, 1, sem="acq_rel") == count - 1
    tl.debug_barrier()
    tl.store(arrived_ptr, 0, mask=is_last)
    return is_last
