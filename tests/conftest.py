"""Kernels run on the GPU if there is one, else in Triton's interpreter: chosen before any test loads them.

Torch's threads sleep while they wait, as in the product (`pagoda_server.__main__.share_cpus`).

No property test has a deadline: a busy machine is no fault.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # libgomp reads it when torch loads it

import torch
from hypothesis import settings

settings.register_profile("pagoda", deadline=None)
settings.load_profile("pagoda")


def choose_interpreter() -> None:
    """NB: triton 3.6 turns a loop bound into an int by `int(array)`, which numpy 2.4 refuses for arrays of one item.

    It also loses the carry when it rounds to e4m3 (1.99 becomes 1): torch rounds here, as the GPU does.
    """
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.language as tl
    from triton.runtime import interpreter

    patch_tensor = interpreter._patch_lang_tensor

    def patch_tensor_and_index(tensor, scope) -> None:  # type: ignore[no-untyped-def]  # Triton's have no types
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_tensor_and_index
    convert_float = interpreter._convert_float

    def convert_float_exactly(values, source, target, rounding):  # type: ignore[no-untyped-def]  # Triton's have no types
        if (source, target) != (tl.float32, tl.float8e4nv):
            return convert_float(values, source, target, rounding)
        return torch.from_numpy(values.copy()).to(torch.float8_e4m3fn).view(torch.uint8).numpy()

    interpreter._convert_float = convert_float_exactly


if not torch.cuda.is_available():
    choose_interpreter()
