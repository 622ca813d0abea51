"""Two halves of a start: `compile` as an image's build does, and `start`, which launches the same with what it finds.

Each prints the kernels and launch stubs that it had to compile. Not a test module: `test_shipped.py` runs it in
processes without the interpreter.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.runtime import build
from triton.runtime.driver import driver

from pagoda_server.kernels import shipped
from pagoda_server.start import compile_ahead
from pagoda_server.start.common_shapes import COMMON_SHAPES


def main(what: str, folder: Path, own: Path, stub: Path) -> None:
    compiled: list[str] = []
    link = build._build

    def note_link(name: str, *rest: object) -> object:
        compiled.append(name)
        return link(name, *rest)

    def note_compile(*, src: Any, cache_hit: bool, **_: object) -> None:
        if not cache_hit:
            compiled.append(src.name)

    build._build = note_link
    if what == "compile":
        compile_ahead.build_stub_libcuda(stub)
        compile_ahead.prepare_process(folder, stub)
    else:
        shipped.ShippedCache.folder = folder
        shipped.use_shipped_kernels()
        compile_ahead.prepare_process(own, stub)
    knobs.compilation.listener = note_compile
    driver.set_active(compile_ahead.AbsentGpu(90))
    compile_ahead.launch_all(
        compile_ahead.build_two_layers(COMMON_SHAPES["Qwen3-0.6B"]), torch.device("meta"), fp8=False
    )
    print(json.dumps(compiled))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
