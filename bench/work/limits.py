"""What the hardware allows: the minimum of bytes and operations that a piece of work must do, over the rates.

Prompts are taken as bound by arithmetic, answers by memory, one after the other. `rated` rates are the data sheet's
and cannot be beaten; `measured` ones are a large copy's and a large bf16 product's, what good kernels reach.
"""

from dataclasses import dataclass

from bench.work.shapes import SHAPES, Precision, count_kv_bytes, count_prefill_flop, count_weight_bytes
from bench.work.workload import DecodePoint, Work
from pagoda_server.start.common_shapes import Shape


@dataclass(frozen=True, slots=True)
class Rates:
    bytes_per_second: float
    bf16_flop_per_second: float

    def __mul__(self, count: int) -> "Rates":
        return Rates(self.bytes_per_second * count, self.bf16_flop_per_second * count)

    def flop_per_second(self, precision: Precision) -> float:
        return self.bf16_flop_per_second * (2 if precision == "fp8" else 1)


@dataclass(frozen=True, slots=True)
class Gpu:
    rated: Rates
    measured: Rates


GPUS: dict[str, Gpu] = {
    "NVIDIA H200": Gpu(rated=Rates(4.8e12, 989e12), measured=Rates(4.3e12, 788e12)),
    "NVIDIA H100 80GB HBM3": Gpu(rated=Rates(3.35e12, 989e12), measured=Rates(3.0e12, 798e12)),
}


def name_gpus(count: int, name: str) -> str:
    return name if count == 1 else f"{count} x {name}"


def find_gpu(name: str) -> Gpu | None:
    """Takes what `name_gpus` writes; several GPUs share all work, and nothing is lost between them."""
    count, _, single = name.rpartition(" x ")
    gpu, times = GPUS.get(single), int(count or 1)
    return gpu and Gpu(rated=gpu.rated * times, measured=gpu.measured * times)


@dataclass(frozen=True, slots=True)
class Limit:
    """In the unit of the figure that it bounds, at the rates of the data sheet and at those measured."""

    rated: float
    measured: float


def compute_work_limit(gpu: str, model: str, precision: Precision, work: Work) -> Limit | None:
    """Takes every sequence as resident from the start. Returns None for a GPU whose rates are not known."""
    rates = find_gpu(gpu)
    if rates is None:
        return None
    shape = SHAPES[model]
    rated, measured = (work_seconds(shape, precision, work, each) for each in (rates.rated, rates.measured))
    return Limit(round(work.num_rated_tokens / rated), round(work.num_rated_tokens / measured))


def work_seconds(shape: Shape, precision: Precision, work: Work, rates: Rates) -> float:
    lengths = list(zip(map(len, work.prompts), work.output_lengths, strict=True))
    # The first token of an answer comes out of its prompt's own pass.
    kv_tokens_read = sum(sum(range(prompt + 1, prompt + output)) for prompt, output in lengths)
    step_bytes = count_weight_bytes(shape, precision) * (max(work.output_lengths) - 1)
    decode_seconds = (kv_tokens_read * count_kv_bytes(shape, precision) + step_bytes) / rates.bytes_per_second
    flop = sum(count_prefill_flop(shape, prompt) for prompt, _ in lengths)
    return decode_seconds + flop / rates.flop_per_second(precision)


def compute_decode_limit(gpu: str, model: str, precision: Precision, point: DecodePoint) -> Limit | None:
    rates = find_gpu(gpu)
    if rates is None:
        return None
    shape = SHAPES[model]
    step_bytes = count_weight_bytes(shape, precision) + point.batch * point.context * count_kv_bytes(shape, precision)
    rated, measured = (step_bytes / each.bytes_per_second for each in (rates.rated, rates.measured))
    return Limit(round(point.batch / rated), round(point.batch / measured))
