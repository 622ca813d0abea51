"""The fast runner: our kernels, state that stays on the device, steps as CUDA graphs, one step ahead of the host.

A step is one copy to the device, the replay of a graph, and one copy back; the host never waits in between. Where
prompts are in it, their tokens and those of the requests that decode go through the projections together, so that the
weights are read once, and attention is a launch for each kind. It decides nothing.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.runner import PendingStep, Sampled
from pagoda_server.kernels.decode_attention import decode_attention
from pagoda_server.kernels.decode_plan import build_decode_plan, plan_decode
from pagoda_server.kernels.prefill_attention import build_prefill_scratch, prefill_attention
from pagoda_server.kernels.prepare import append_tokens, prepare_decode, set_lengths
from pagoda_server.kernels.sampler import build_sampler_scratch, sample
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.cache import LayerCache, build_caches
from pagoda_server.runtime.gpu.adjustments import adjust, needs_history
from pagoda_server.runtime.gpu.decoder import FusedDecoder, Wanted
from pagoda_server.runtime.gpu.device_state import build_device_state, is_decode
from pagoda_server.runtime.gpu.graphs import CudaCapture, Graphs, choose_buckets, choose_first
from pagoda_server.runtime.gpu.projections import ALL_INVARIANT, LinearPlan
from pagoda_server.runtime.gpu.readback import SampledBatch, copy_back
from pagoda_server.runtime.gpu.staging import Staging, place
from pagoda_server.runtime.gpu.step_inputs import MOST_CAPTURED, MixedInputs, choose_token_buckets

START_TOKEN_BUCKETS = (256, 512, 1024, 2048)
"""Steps with prompts that are captured at start."""
MOST_STRETCH = 1.25
"""A step with prompts is bound by its products: what it is padded with costs as much as what it has."""


class AttendInto(Protocol):
    def __call__(self, q: Tensor, cache: LayerCache, out: Tensor | None = None) -> Tensor:
        """q [T, heads, head_dim] → the same shape, in a new tensor if none is given, written at some of its tokens."""


class GpuRunner:
    """Implements `pagoda_server.engine.runner.Runner` on CUDA (and, without graphs, in Triton's interpreter)."""

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
        self.device, self.page_size = model.embedding.device, page_size
        caches = build_caches(model, num_pages, page_size, kv_dtype or model.embedding.dtype)
        buckets = choose_buckets(limits.max_num_seqs)
        if deterministic:
            linears = LinearPlan(otherwise=ALL_INVARIANT)
        self.decoder = FusedDecoder(model, caches, limits.max_model_len, linears)
        self.state = build_device_state(limits.max_num_seqs, limits.max_model_len, page_size, self.device)
        self.scale = config.head_dim**-0.5
        widest = buckets[-1]
        self.unit_cu_seqlens = (
            torch.arange(widest + 1, dtype=torch.int32, device=self.device) if deterministic else None
        )
        self.plan = build_decode_plan(
            widest, config.num_heads, config.num_kv_heads, config.head_dim, page_size, self.device
        )
        # which tiles are split depends on the batch
        self.prefill_scratch = None if deterministic else build_prefill_scratch(config.head_dim, self.device)
        self.rows = torch.full((widest,), -1, dtype=torch.int32, device=self.device)
        self.logits = model.embedding.new_empty((widest, config.vocab_size))
        self.tokens = torch.zeros(widest, dtype=torch.int32, device=self.device)
        self.scratch = build_sampler_scratch(widest, config.vocab_size, self.device)
        self.staging = Staging(self.device)
        # where decodes begin when there are no prompts
        self.no_prompts = torch.zeros(1, dtype=torch.int32, device=self.device)
        self.inputs = MixedInputs(limits.max_batched_tokens, widest, page_size, self.device)
        capture = CudaCapture() if self.device.type == "cuda" else None
        self.graphs = Graphs(
            self._decode, buckets, capture, first=choose_first(buckets), clear=lambda _: self.rows.fill_(-1)
        )
        token_buckets = choose_token_buckets(limits.max_batched_tokens)
        self.mixed_graphs = Graphs(
            self._run_mixed,
            token_buckets,
            capture,
            first=[size for size in START_TOKEN_BUCKETS if size in token_buckets],
            clear=self.inputs.clear,
            stretch=MOST_STRETCH,
            most_captured=MOST_CAPTURED,
        )

    @torch.inference_mode()
    def capture_first(self) -> None:
        """The graphs to begin with: call it before the first launch, or batches run without a graph for long."""
        self.mixed_graphs.capture_first()
        self.graphs.capture_first()

    @torch.inference_mode()
    def prepare_next(self, *, idle: bool = True) -> bool:
        """One more graph."""
        kinds = (self.graphs, self.mixed_graphs)
        graphs = max(kinds, key=lambda graphs: (graphs.most_asked, not graphs.is_complete))
        if idle or graphs.most_asked:
            graphs.capture_next()
        return not all(graphs.is_complete for graphs in kinds)

    @torch.inference_mode()
    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        decodes = [chunk for chunk in chunks if is_decode(chunk)]
        others = [chunk for chunk in chunks if not is_decode(chunk)]
        update = self.state.plan_update(chunks).arrays()
        if others:
            bucket = self.mixed_graphs.bucket_for(sum(chunk.num_tokens for chunk in chunks))
            inputs = self.inputs.pack(bucket, decodes, others)
        else:
            bucket = self.graphs.bucket_for(len(decodes))
            inputs = np.full(bucket, -1, np.int32)
            inputs[: len(decodes)] = [chunk.request.row for chunk in decodes]
        *sent, packed = self.staging.send([*update, inputs])
        self.state.apply(sent)
        if others:
            self.inputs.load(packed)
            self.mixed_graphs.run(bucket)
        else:
            self.rows[:bucket].copy_(packed)
            self.graphs.run(bucket)
        sampling = [*decodes, *(chunk for chunk in others if chunk.is_sampled)]
        return self._collect(chunks, SampledBatch(sampling, self.logits[: len(sampling)], self.tokens[: len(sampling)]))

    def _decode(self, bucket: int) -> None:
        """From the rows' last tokens to their next ones, in the state. What a graph holds."""
        rows = self.rows[:bucket]
        ids, positions, slots = (torch.empty_like(rows) for _ in range(3))
        lengths, attend = self._prepare(rows, ids, positions, slots, self.no_prompts)
        hidden = self.decoder.forward(ids, positions, slots, attend)
        self.decoder.compute_logits(hidden, out=self.logits[:bucket])
        self._choose(rows, lengths)

    def _run_mixed(self, bucket: int) -> None:
        """The same for a step with prompts, from `self.inputs`."""
        mixed, state = self.inputs.view(bucket), self.state
        _, attend_decodes = self._prepare(
            mixed.decode_rows, mixed.input_ids, mixed.positions, mixed.slots, mixed.first_decode
        )
        set_lengths(mixed.rows, mixed.lengths, state.lengths)
        rows = mixed.sampled_rows
        lengths = state.lengths.index_select(0, rows.clamp(min=0)).masked_fill_(rows < 0, 0)

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            out = self._attend_prompts(q, cache, rows=mixed.rows, cu_seqlens=mixed.cu_seqlens, lengths=mixed.lengths)
            return attend_decodes(q, cache, out)

        def attend_sampled(q: Tensor, cache: LayerCache) -> Tensor:
            """Each is the last of its context, as in a decode."""
            return self._plan_decodes(rows, lengths, self.no_prompts)(q, cache)

        wanted = Wanted(mixed.sampled, attend_sampled)
        hidden = self.decoder.forward(mixed.input_ids, mixed.positions, mixed.slots, attend, wanted)
        self.decoder.compute_logits(hidden, out=self.logits[: rows.shape[0]])
        self._choose(rows, lengths)

    def _prepare(
        self, rows: Tensor, input_ids: Tensor, positions: Tensor, slots: Tensor, first: Tensor
    ) -> tuple[Tensor, AttendInto]:
        """Writes the inputs of decodes from `first` on; returns their contexts' lengths, and their attention."""
        state, lengths = self.state, torch.empty_like(rows)
        pool, table = state.token_pool, state.page_table
        prepare_decode(rows, pool, state.lengths, table, self.page_size, input_ids, positions, slots, lengths, first)
        return lengths, self._plan_decodes(rows, lengths, first)

    def _plan_decodes(self, rows: Tensor, lengths: Tensor, first: Tensor) -> AttendInto:
        """The attention of decodes that begin at `first` in q, until others are planned."""
        if self.unit_cu_seqlens is not None:
            starts = self.unit_cu_seqlens[: rows.shape[0] + 1] + first
            return partial(self._attend_prompts, rows=rows, cu_seqlens=starts, lengths=lengths)
        plan_decode(rows, lengths, self.plan)
        return partial(self._attend_decodes, batch=rows.shape[0], first=first)

    def _attend_decodes(
        self, q: Tensor, cache: LayerCache, out: Tensor | None = None, *, batch: int, first: Tensor
    ) -> Tensor:
        """Of the `batch` tokens that begin at `first` in q."""
        k, v, k_scale, v_scale = cache
        paged = (q, k, v, self.state.page_table, self.plan, self.scale, out, k_scale, v_scale)
        return decode_attention(*paged, batch=batch, first=first)

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
        return prefill_attention(*paged, self.scale, out, k_scale, v_scale, scratch=self.prefill_scratch)

    def _choose(self, rows: Tensor, positions: Tensor) -> None:
        """By the logits, for each of rows [S]. `positions`: where the new tokens belong, so how many there are."""
        logits, tokens = self.logits[: rows.shape[0]], self.tokens[: rows.shape[0]]
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        append_tokens(tokens, rows, self.state.token_pool, self.state.lengths)

    def _collect(self, chunks: Sequence[Chunk], batch: SampledBatch) -> PendingStep:
        """The copy back, and who it is for."""
        run_ahead = 0 if self._choose_by_history(batch) else 1
        read_tokens, read_logprobs = copy_back(batch.tokens), batch.begin_logprobs()

        def wait() -> list[Sampled]:
            tokens = dict(zip(map(id, batch.chunks), read_tokens().tolist(), strict=True))
            logprobs = read_logprobs()
            return [(tokens[id(chunk)], logprobs.get(id(chunk))) for chunk in chunks if chunk.is_sampled]

        return PendingStep(wait, run_ahead)

    def _choose_by_history(self, batch: SampledBatch) -> bool:
        """Chooses again for the rows whose logits depend on the tokens so far, which the host lists; if any do."""
        members = [(index, chunk) for index, chunk in enumerate(batch.chunks) if needs_history(chunk)]
        if not members:
            return False
        index = place(np.array([index for index, _ in members]), self.device)
        logits = batch.logits.index_select(0, index).float()
        adjust(logits, [chunk for _, chunk in members])
        rows, positions = (
            place(np.asarray(values, np.int32), self.device)
            for values in ([chunk.request.row for _, chunk in members], [chunk.end for _, chunk in members])
        )
        tokens = torch.empty_like(rows)
        sample(logits, self.state.sampling, rows, positions, self.scratch, tokens)
        batch.tokens.index_copy_(0, index, tokens)
        self.state.token_pool.index_put_((rows.long(), positions.long()), tokens.clamp(min=0))
        return True
