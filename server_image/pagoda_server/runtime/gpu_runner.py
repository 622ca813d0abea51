"""The fast runner: our kernels, state that stays on the device, decode as one CUDA graph, one step ahead of the host.

A step is one copy to the device, one pass over the model, and one copy back; the host never waits in between. A step
of nothing but decodes replays a graph. Where prompts are in it, their tokens and those of the decodes go through the
projections together, so that the weights are read once, and attention is a launch for each kind. It decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.scheduler import Chunk, Limits
from pagoda_server.engine.step import Launched, Sampled
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.prefill_attention import prefill_attention
from pagoda_server.kernels.prepare import append_tokens, prepare_decode
from pagoda_server.kernels.sampler import build_sampler_scratch, sample
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.adjustments import adjust, needs_history
from pagoda_server.runtime.cache import LayerCache, build_caches
from pagoda_server.runtime.device_state import Ints, build_device_state, is_decode
from pagoda_server.runtime.fused import AttendInto, FusedDecoder
from pagoda_server.runtime.graphs import CudaCapture, Graphs, choose_buckets
from pagoda_server.runtime.linears import ALL_INVARIANT, LinearPlan
from pagoda_server.runtime.readback import Part, copy_back
from pagoda_server.runtime.staging import Staging


@dataclass(frozen=True, slots=True)
class Mixed:
    """The inputs of a step with prompts: D decodes, then the T tokens of P other chunks, flat, as int32 arrays."""

    input_ids: list[int]
    """[D + T]; of the decodes the device knows better, here and in the next two."""
    positions: list[int]
    slots: list[int]
    cu_seqlens: list[int]
    """[P + 1]: where each of the other chunks begins among their tokens."""
    rows: list[int]
    """[P]"""
    lengths: list[int]
    """[P]: of the context, with the chunk."""
    sampled: list[int]
    """Indices of the decodes and of the last tokens of chunks that sample."""
    sampled_rows: list[int]

    def arrays(self) -> list[Ints]:
        return [np.asarray(getattr(self, field.name), np.int32) for field in fields(self)]


def build_mixed(decodes: Sequence[Chunk], others: Sequence[Chunk], page_size: int) -> Mixed:
    unset = [0] * len(decodes)
    rows = [chunk.request.row for chunk in decodes]
    mixed = Mixed([*unset], [*unset], [*unset], [0], [], [], [*range(len(decodes))], rows)
    for chunk in others:
        request, span = chunk.request, range(chunk.start, chunk.end)
        mixed.input_ids.extend(request.token_ids[span.start : span.stop])
        mixed.positions.extend(span)
        mixed.slots.extend(request.page_ids[p // page_size] * page_size + p % page_size for p in span)
        mixed.cu_seqlens.append(len(mixed.input_ids) - len(decodes))
        mixed.rows.append(request.row)
        mixed.lengths.append(chunk.end)
        if chunk.samples:
            mixed.sampled.append(len(mixed.input_ids) - 1)
            mixed.sampled_rows.append(request.row)
    return mixed


class GpuRunner:
    """Implements `pagoda_server.engine.step.Runner` on CUDA (and, without graphs, in Triton's interpreter)."""

    def __init__(
        self,
        model: Llama,
        limits: Limits,
        num_pages: int,
        page_size: int,
        *,
        kv_dtype: torch.dtype | None = None,
        linears: LinearPlan | None = None,
        deterministic: bool = False,
    ) -> None:
        """`kv_dtype`: of the KV tensors, None: the activations'. `linears`: None: all projections are cuBLAS's.

        `deterministic`: a request's tokens are the same bits whatever runs beside it, however it was cut and preempted.
        """
        config = model.config
        self.device, self.page_size, self.run_ahead = model.embedding.device, page_size, 1
        caches = build_caches(model, num_pages, page_size, kv_dtype or model.embedding.dtype)
        buckets = choose_buckets(limits.max_num_seqs)
        if deterministic:
            linears = LinearPlan(otherwise=ALL_INVARIANT)
        self.decoder = FusedDecoder(model, caches, limits.max_model_len, linears or LinearPlan())
        self.state = build_device_state(limits.max_num_seqs, limits.max_model_len, page_size, self.device)
        self.scale = config.head_dim**-0.5
        widest = buckets[-1]
        self.one_by_one = torch.arange(widest + 1, dtype=torch.int32, device=self.device) if deterministic else None
        self.plan = build_decode_plan(
            widest, config.num_heads, config.num_kv_heads, config.head_dim, page_size, self.device
        )
        self.rows = torch.full((widest,), -1, dtype=torch.int32, device=self.device)
        self.logits = model.embedding.new_empty((widest, config.vocab_size))
        self.tokens = torch.zeros(widest, dtype=torch.int32, device=self.device)
        self.scratch = build_sampler_scratch(widest, config.vocab_size, self.device)
        self.staging = Staging(self.device)
        self.graphs = Graphs(self._decode, buckets, CudaCapture() if self.device.type == "cuda" else None)

    @torch.inference_mode()
    def capture_first(self) -> None:
        """The decode graphs to begin with: call it before the first launch, or batches run without a graph for long."""
        self.graphs.capture_first()

    @torch.inference_mode()
    def prepare_next(self) -> bool:
        """One more decode graph."""
        self.rows.fill_(-1)  # its warm-ups run for nobody
        return self.graphs.capture_next()

    @torch.inference_mode()
    def launch(self, chunks: Sequence[Chunk]) -> Launched:
        decodes = [chunk for chunk in chunks if is_decode(chunk)]
        others = [chunk for chunk in chunks if not is_decode(chunk)]
        update = self.state.plan_update(chunks).arrays()
        bucket = self.graphs.bucket_for(len(decodes))
        rows = np.full(len(decodes) if others else bucket, -1, np.int32)
        rows[: len(decodes)] = [chunk.request.row for chunk in decodes]
        mixed = build_mixed(decodes, others, self.page_size).arrays() if others else []
        sent = self.staging.send([*update, rows, *mixed])
        self.state.apply(sent[: len(update)])
        if others:
            sampling = [*decodes, *(chunk for chunk in others if chunk.samples)]
            return self._collect(chunks, Part(sampling, *self._run_mixed(*sent[len(update) :])))
        self.rows[:bucket].copy_(sent[len(update)])
        self.graphs.run(bucket)
        return self._collect(chunks, Part(decodes, self.logits[: len(decodes)], self.tokens[: len(decodes)]))

    def _decode(self, bucket: int) -> None:
        """From the rows' last tokens to their next ones, in the state. What a graph holds."""
        rows = self.rows[:bucket]
        ids, positions, slots = (torch.empty_like(rows) for _ in range(3))
        lengths, attend = self._prepare(rows, ids, positions, slots)
        hidden = self.decoder.forward(ids, positions, slots, attend)
        logits = self.decoder.compute_logits(hidden, out=self.logits[:bucket])
        self._choose(logits, rows, lengths, self.tokens[:bucket])

    def _run_mixed(
        self,
        decode_rows: Tensor,
        input_ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        cu_seqlens: Tensor,
        rows: Tensor,
        lengths: Tensor,
        sampled: Tensor,
        sampled_rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """`Mixed` on the device → logits [S, vocab] and tokens [S] of what samples."""
        cut = decode_rows.shape[0]
        _, attend_decodes = self._prepare(decode_rows, input_ids[:cut], positions[:cut], slots[:cut])

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            out = torch.empty_like(q)
            if cut:
                attend_decodes(q[:cut], cache, out[:cut])
            self._attend_prompts(q[cut:], cache, out[cut:], rows=rows, cu_seqlens=cu_seqlens, lengths=lengths)
            return out

        hidden = self.decoder.forward(input_ids, positions, slots, attend)
        self.state.lengths.index_copy_(0, rows.long(), lengths)
        logits = self.decoder.compute_logits(hidden.index_select(0, sampled))
        tokens = torch.empty_like(sampled_rows)
        if sampled.numel():
            self._choose(logits, sampled_rows, self.state.lengths.index_select(0, sampled_rows), tokens)
        return logits, tokens

    def _prepare(self, rows: Tensor, input_ids: Tensor, positions: Tensor, slots: Tensor) -> tuple[Tensor, AttendInto]:
        """Writes the inputs of decodes; returns the lengths [B] of their contexts, and their attention."""
        state, lengths = self.state, torch.empty_like(rows)
        prepare_decode(
            rows,
            state.token_pool,
            state.lengths,
            state.page_table,
            self.page_size,
            input_ids,
            positions,
            slots,
            lengths,
        )
        if self.one_by_one is not None:
            starts = self.one_by_one[: rows.shape[0] + 1]
            return lengths, partial(self._attend_prompts, rows=rows, cu_seqlens=starts, lengths=lengths)
        plan_decode(rows, lengths, self.plan)
        return lengths, self._attend_decodes

    def _attend_decodes(self, q: Tensor, cache: LayerCache, out: Tensor | None = None) -> Tensor:
        k, v, k_scale, v_scale = cache
        return decode_attention(q, k, v, self.state.page_table, self.plan, self.scale, out, k_scale, v_scale)

    def _attend_prompts(
        self,
        q: Tensor,
        cache: LayerCache,
        out: Tensor | None = None,
        *,
        rows: Tensor,
        cu_seqlens: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        k, v, k_scale, v_scale = cache
        paged = (q, k, v, self.state.page_table, rows, cu_seqlens, lengths)
        return prefill_attention(*paged, self.scale, out, k_scale, v_scale)

    def _choose(self, logits: Tensor, rows: Tensor, positions: Tensor, tokens: Tensor) -> None:
        """`positions`: where the new tokens belong, which is how many there are."""
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        append_tokens(tokens, rows, self.state.token_pool, self.state.lengths)

    def _collect(self, chunks: Sequence[Chunk], part: Part) -> Launched:
        """The copy back, and who it is for."""
        self.run_ahead = 0 if self._choose_by_history(part) else 1
        read_tokens, read_logprobs = copy_back(part.tokens), part.begin_logprobs()

        def wait() -> list[Sampled]:
            tokens = dict(zip(map(id, part.chunks), read_tokens().tolist(), strict=True))
            logprobs = read_logprobs()
            return [(tokens[id(chunk)], logprobs.get(id(chunk))) for chunk in chunks if chunk.samples]

        return wait

    def _choose_by_history(self, part: Part) -> bool:
        """Chooses again for the rows whose logits depend on the tokens so far, which the host lists; if any do."""
        members = [(index, chunk) for index, chunk in enumerate(part.chunks) if needs_history(chunk)]
        if not members:
            return False
        index = torch.tensor([index for index, _ in members], device=self.device)
        logits = part.logits.index_select(0, index).float()
        adjust(logits, [chunk for _, chunk in members])
        rows, positions = (
            torch.tensor(values, dtype=torch.int32, device=self.device)
            for values in ([chunk.request.row for _, chunk in members], [chunk.end for _, chunk in members])
        )
        tokens = torch.empty_like(rows)
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        part.tokens.index_copy_(0, index, tokens)
        self.state.token_pool.index_put_((rows.long(), positions.long()), tokens.clamp(min=0))
        return True
