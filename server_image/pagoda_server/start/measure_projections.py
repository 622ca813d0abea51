"""Chooses each projection's backend at small batches by timing them all, on this GPU and the model's own weights.

A table of what is fast where would be wrong on the next GPU or model, and would hide that a kernel lost. Calls go over
the weights of all layers in turn, in a CUDA graph, so the caches are as cold as in life. It takes about a second, and
longer where Triton compiles first. A backend that fails, or computes something else than cuBLAS, is left out with an
error.
"""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from pagoda_server.kernels import gemv, linear
from pagoda_server.kernels.e4m3 import E4M3
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.model.shard import ALONE, Group
from pagoda_server.quant.fp8 import Fp8Linear
from pagoda_server.runtime.gpu.graphs import no_collection
from pagoda_server.runtime.gpu.projections import (
    ALL_FP8,
    ALL_TORCH,
    Fp8Backend,
    GemvBackend,
    LayerBackends,
    ProjectionBackend,
    ProjectionPlan,
    Quantized,
    ResidualStream,
    TiledBackend,
    multiply_tiled_fp8,
)

log = logging.getLogger(__name__)
Timer = Callable[[Sequence[Callable[[], object]]], float]
"""Seconds of one of the calls, which run one after the other."""
WRITERS = {"gate_up": "output", "qkv": "down"}
"""Whose sum a reading projection finds in the stream."""
SITES = (*WRITERS.values(), *WRITERS)
"""Writers are chosen first."""
MIN_GAIN = 0.03
"""cuBLAS stays where ours is not faster by this share: it is noise, and choices should not change between starts."""
MAX_ERROR = 0.02
"""Norm of the difference over the norm of what cuBLAS computes; 16-bit rounding leaves less than a third of it."""
MIN_CALLS = 16
REPLAYS = 3


def measure_projections(model: Llama, max_batch: int) -> ProjectionPlan | None:
    """Chooses for the batch sizes that our kernels know. None where there are none: then all is cuBLAS's."""
    found = find_candidates(model)
    if found is None or model.embedding.device.type != "cuda":
        return None
    with torch.inference_mode(), no_collection():
        backends = {size: choose_backends(found, size, time_in_graph) for size in choose_sizes(max_batch)}
    return ProjectionPlan(backends, otherwise=found.usual)


def launch_candidates(model: Llama, max_batch: int) -> None:
    """Launches once, for `compile_ahead`, all that a measurement would time."""
    found = find_candidates(model)
    if found is None:
        return
    for size, site in product(choose_sizes(max_batch), SITES):
        for backend in found.backends_for(size):
            Trial(site, found.layers[:1], size, pends=False).list_calls(backend)[0]()


def choose_sizes(max_batch: int) -> list[int]:
    """Returns one token, and what fills either tile; a batch between two goes by the larger."""
    return sorted({min(size, max_batch) for size in (1, linear.MIN_ROWS, linear.MAX_ROWS)})


@dataclass(frozen=True, slots=True)
class Candidates:
    layers: Sequence[Layer]
    usual: LayerBackends
    """By cuBLAS."""
    backends_for: Callable[[int], Sequence[ProjectionBackend]]
    """Our own, for so many tokens."""


def find_candidates(model: Llama) -> Candidates | None:
    """Finds them for projections that are all plain or all fp8; None for others."""
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    like = layers[0].attention_norm
    projections = [getattr(layer, site) for layer in layers for site in SITES]
    if all(isinstance(one, Fp8Linear) for one in projections):
        usual, dtype = ALL_FP8, E4M3
    elif all(type(one) is nn.Linear and one.weight.dtype == like.dtype for one in projections):
        usual, dtype = ALL_TORCH, like.dtype
    else:
        return None
    scratch = linear.build_linear_scratch(max(one.weight.shape[0] for one in projections), like.device)
    return Candidates(layers, usual, partial(list_backends, dtype=dtype, scratch=scratch, group=model.group))


def list_backends(
    num_tokens: int, dtype: torch.dtype, scratch: linear.LinearScratch, group: Group = ALONE
) -> list[ProjectionBackend]:
    """Lists our own for weights of this dtype. A shard's cannot add to the stream, as gemv does."""
    tiles = linear.list_tiles(num_tokens, scratch.partial.device, dtype)
    if dtype == E4M3:
        return [
            Fp8Backend(f"fp8 tiled {tile.rows}x{tile.values}", partial(multiply_tiled_fp8, tile=tile, scratch=scratch))
            for tile in tiles
        ]
    if num_tokens == 1 and group is ALONE:
        return [GemvBackend(tile) for tile in gemv.TILES]
    return [TiledBackend(tile, scratch) for tile in tiles]


def choose_backends(found: Candidates, num_tokens: int, time: Timer) -> LayerBackends:
    """Chooses each site's fastest backend; one that fails or is wrong is never chosen."""
    chosen = found.usual
    for site in SITES:
        usual: ProjectionBackend = getattr(found.usual, site)
        pends = site in WRITERS and not getattr(chosen, WRITERS[site]).adds
        trial = Trial(site, found.layers, num_tokens, pends)
        right = [backend for backend in found.backends_for(num_tokens) if trial.is_right(backend, usual)]
        seconds = {backend: time(trial.list_calls(backend)) for backend in (usual, *right)}
        fastest = choose_fastest(seconds, usual)
        micros = ", ".join(f"{backend.name} {taken * 1e6:.1f}" for backend, taken in seconds.items())
        log.info(
            "projection measured site=%s tokens=%d chosen=%s microseconds=[%s]", site, num_tokens, fastest.name, micros
        )
        chosen = replace(chosen, **{site: fastest})
    return chosen


def choose_fastest(seconds: Mapping[ProjectionBackend, float], usual: ProjectionBackend) -> ProjectionBackend:
    """Returns the usual one, unless another is clearly faster."""
    fastest = min(seconds, key=lambda backend: seconds[backend])
    return fastest if seconds[fastest] < seconds[usual] * (1.0 - MIN_GAIN) else usual


@dataclass(frozen=True, slots=True)
class Trial:
    """One projection of all layers, on random activations."""

    site: str
    layers: Sequence[Layer]
    num_tokens: int
    pends: bool
    """Whether a sum is pending in the stream, as the projection before leaves it."""

    def list_calls(self, backend: ProjectionBackend) -> list[Callable[[], object]]:
        x, totals = self._draw()
        return [partial(self._run, backend, layer, x, totals) for layer in self.layers]

    def is_right(self, backend: ProjectionBackend, usual: ProjectionBackend) -> bool:
        x, totals = self._draw()
        try:
            expected, found = (self._compute(one, x, totals.clone()) for one in (usual, backend))
        except Exception as error:
            log.error("projection backend fails and is left out %s error=%s", self._describe(backend), error)
            return False
        is_near = bool((found - expected).norm() <= MAX_ERROR * expected.norm())
        if not is_near:
            log.error("projection backend is wrong and is left out %s usual=%s", self._describe(backend), usual.name)
        return is_near

    def _describe(self, backend: ProjectionBackend) -> str:
        shape = list(self._projection.weight.shape)
        return f"site={self.site} shape={shape} tokens={self.num_tokens} backend={backend.name}"

    @property
    def _projection(self) -> nn.Linear:
        projection: nn.Linear = getattr(self.layers[0], self.site)
        return projection

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Draws what a writer multiplies, [T, size], and the stream's total with what is pending, [2, T, hidden]."""
        like = self.layers[0].attention_norm
        x = like.new_empty((self.num_tokens, self._projection.weight.shape[1])).normal_()
        totals = like.new_empty((2, self.num_tokens, like.shape[0])).normal_()
        if self.site not in WRITERS:
            totals *= self._projection(x).std()  # or an error would be lost in the sum
        return x, totals

    def _compute(self, backend: ProjectionBackend, x: Tensor, totals: Tensor) -> Tensor:
        result = self._run(backend, self.layers[0], x, totals)
        if isinstance(result, tuple):
            values, scales = result
            return values.float() * scales
        return (result.settle() if isinstance(result, ResidualStream) else result).float()

    def _run(
        self, backend: ProjectionBackend, layer: Layer, x: Tensor, totals: Tensor
    ) -> Tensor | Quantized | ResidualStream:
        stream, eps = ResidualStream(totals[0], totals[1] if self.pends else None), layer.config.rms_norm_eps
        match self.site:
            case "qkv":
                return backend.read(stream, layer.attention_norm, eps, layer.qkv)
            case "gate_up":
                return backend.read_gated(stream, layer.mlp_norm, eps, layer.gate_up)
            case _:
                backend.write(x, getattr(layer, self.site), stream)
                return stream


def time_in_graph(calls: Sequence[Callable[[], object]]) -> float:
    """Returns the seconds per call, as the median of a few replays.

    All calls have run before: a capture must see no compilation.
    """
    times = -(-MIN_CALLS // len(calls))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            for call in calls:
                call()
    graph.replay()
    return statistics.median(time_replay(graph) for _ in range(REPLAYS)) / (times * len(calls))


def time_replay(graph: torch.cuda.CUDAGraph) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e-3
