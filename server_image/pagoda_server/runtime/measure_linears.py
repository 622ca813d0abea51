"""Chooses the way of each projection at small batches by timing all of them, on this GPU and the model's own weights.

A table of what is fast where would be wrong on the next GPU or model, and would hide that a kernel lost. Calls go over
the weights of all layers in turn, in a CUDA graph, so the caches are as cold as in life. It takes about a second, and
longer where Triton compiles first. A way that fails or computes something else than cuBLAS ends the start, by name.
"""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from pagoda_server.kernels import gemv, linear
from pagoda_server.model.llama import Layer, Llama
from pagoda_server.runtime.graphs import no_collection
from pagoda_server.runtime.linears import ALL_TORCH, TORCH, Gemv, LinearPlan, Stream, Tiled, Way, Ways

log = logging.getLogger(__name__)
Timer = Callable[[Sequence[Callable[[], object]]], float]
"""Seconds of one of the calls, which run one after the other."""
WRITERS = {"gate_up": "output", "qkv": "down"}
"""Whose sum a reading projection finds in the stream. Writers are chosen first."""
MIN_GAIN = 0.03
"""cuBLAS stays where ours is not faster by this share: it is noise, and choices should not change between starts."""
MAX_ERROR = 0.02
"""Norm of the difference over the norm of what cuBLAS computes; 16-bit rounding leaves less than a third of it."""
MIN_CALLS = 16
REPLAYS = 3


def measure_linears(model: Llama, buckets: Sequence[int]) -> LinearPlan:
    """For the batch sizes that our kernels know. On a CPU, or with weights of another kind, all is torch's."""
    layers = [layer for layer in model.layers if isinstance(layer, Layer)]
    if model.embedding.device.type != "cuda" or not all(has_plain_weights(layer) for layer in layers):
        return LinearPlan()
    one, several = list_ways(layers)
    sizes = [size for size in buckets if size <= linear.MAX_ROWS]
    with torch.inference_mode(), no_collection():
        candidates = {size: one if size == 1 else several for size in sizes}
        return LinearPlan({size: choose_ways(layers, size, candidates[size], time_in_graph) for size in sizes})


def has_plain_weights(layer: Layer) -> bool:
    dtype = layer.attention_norm.dtype
    projections = (layer.qkv, layer.output, layer.gate_up, layer.down)
    return all(type(one) is nn.Linear and one.weight.dtype == dtype for one in projections)


def list_ways(layers: Sequence[Layer]) -> tuple[list[Way], list[Way]]:
    """Of one token; of several."""
    like = layers[0].attention_norm
    scratch = linear.build_linear_scratch(max(widest_of(layer) for layer in layers), like.device)
    tiles = linear.list_tiles(like.device, like.element_size())
    return [Gemv(tile) for tile in gemv.list_tiles(like.device)], [Tiled(tile, scratch) for tile in tiles]


def widest_of(layer: Layer) -> int:
    return max(one.out_features for one in (layer.qkv, layer.output, layer.gate_up, layer.down))


def choose_ways(layers: Sequence[Layer], num_tokens: int, candidates: Sequence[Way], time: Timer) -> Ways:
    """Raises RuntimeError when a candidate fails or is wrong."""
    chosen = ALL_TORCH
    for site in (*WRITERS.values(), *WRITERS):
        pends = getattr(chosen, WRITERS[site]) is TORCH if site in WRITERS else False
        trial = Trial(site, layers, num_tokens, pends)
        for way in candidates:
            trial.check(way)
        seconds = {way: time(trial.list_calls(way)) for way in (TORCH, *candidates)}
        fastest = choose_fastest(seconds)
        micros = ", ".join(f"{way.name} {taken * 1e6:.1f}" for way, taken in seconds.items())
        log.info(
            "projection measured: %s tokens=%d chosen=%s microseconds=[%s]", site, num_tokens, fastest.name, micros
        )
        chosen = replace(chosen, **{site: fastest})
    return chosen


def choose_fastest(seconds: Mapping[Way, float]) -> Way:
    """cuBLAS, unless another is clearly faster."""
    fastest = min(seconds, key=lambda way: seconds[way])
    return fastest if seconds[fastest] < seconds[TORCH] * (1.0 - MIN_GAIN) else TORCH


@dataclass(frozen=True, slots=True)
class Trial:
    """One projection of all layers, on random activations."""

    site: str
    layers: Sequence[Layer]
    num_tokens: int
    pends: bool
    """Whether a sum is pending in the stream, as the projection before leaves it."""

    def list_calls(self, way: Way) -> list[Callable[[], object]]:
        x, totals = self._draw()
        return [partial(self._run, way, layer, x, totals) for layer in self.layers]

    def check(self, way: Way) -> None:
        x, totals = self._draw()
        try:
            expected, found = (self._compute(one, x, totals.clone()) for one in (TORCH, way))
        except Exception as error:
            raise RuntimeError(f"{self._describe(way)} fails: {error}") from error
        if not bool((found - expected).norm() <= MAX_ERROR * expected.norm()):
            raise RuntimeError(f"{self._describe(way)} differs from torch by more than {MAX_ERROR:.0%}")

    def _describe(self, way: Way) -> str:
        return f"projection {self.site} {list(self._projection.weight.shape)} of {self.num_tokens} tokens by {way.name}"

    @property
    def _projection(self) -> nn.Linear:
        projection: nn.Linear = getattr(self.layers[0], self.site)
        return projection

    def _draw(self) -> tuple[Tensor, Tensor]:
        """What a writer multiplies, [T, size]; the stream's total and what is pending, [2, T, hidden]."""
        like = self.layers[0].attention_norm
        x = like.new_empty((self.num_tokens, self._projection.in_features)).normal_()
        totals = like.new_empty((2, self.num_tokens, like.shape[0])).normal_()
        if self.site not in WRITERS:
            totals *= self._projection(x).std()  # or an error would be lost in the sum
        return x, totals

    def _compute(self, way: Way, x: Tensor, totals: Tensor) -> Tensor:
        result = self._run(way, self.layers[0], x, totals)
        return (result.settle() if isinstance(result, Stream) else result).float()

    def _run(self, way: Way, layer: Layer, x: Tensor, totals: Tensor) -> Tensor | Stream:
        stream, eps = Stream(totals[0], totals[1] if self.pends else None), layer.config.rms_norm_eps
        match self.site:
            case "qkv":
                return way.read(stream, layer.attention_norm, eps, layer.qkv)
            case "gate_up":
                return way.read_gated(stream, layer.mlp_norm, eps, layer.gate_up)
            case _:
                way.write(x, getattr(layer, self.site), stream)
                return stream


def time_in_graph(calls: Sequence[Callable[[], object]]) -> float:
    """Median of a few replays. All has run once before: a capture must see no compilation."""
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
