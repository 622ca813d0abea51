"""The fast runner: our kernels, state that stays on the device, decode as one CUDA graph, one step ahead of the host.

A step is one copy to the device, a replay of the decode graph over the chunks of one token that sample, a prefill pass
over the others, and one copy back. The host never waits in between. It decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
from pagoda_server.runtime.fused import FusedDecoder
from pagoda_server.runtime.graphs import CudaCapture, Graphs, choose_buckets
from pagoda_server.runtime.linears import LinearPlan
from pagoda_server.runtime.readback import Part, copy_back
from pagoda_server.runtime.staging import Staging


@dataclass(frozen=True, slots=True)
class Prefill:
    """The inputs of the chunks that do not decode, flat, as int32 arrays."""

    input_ids: list[int]
    positions: list[int]
    slots: list[int]
    cu_seqlens: list[int]
    rows: list[int]
    lengths: list[int]
    sampled: list[int]
    """Indices in the flat batch of the last tokens of chunks that sample."""
    sampled_rows: list[int]

    def arrays(self) -> list[Ints]:
        names = ("input_ids", "positions", "slots", "cu_seqlens", "rows", "lengths", "sampled", "sampled_rows")
        return [np.asarray(getattr(self, name), np.int32) for name in names]


def build_prefill(chunks: Sequence[Chunk], page_size: int) -> Prefill:
    prefill = Prefill([], [], [], [0], [], [], [], [])
    for chunk in chunks:
        request, span = chunk.request, range(chunk.start, chunk.end)
        prefill.input_ids.extend(request.token_ids[span.start : span.stop])
        prefill.positions.extend(span)
        prefill.slots.extend(request.page_ids[p // page_size] * page_size + p % page_size for p in span)
        prefill.cu_seqlens.append(len(prefill.input_ids))
        prefill.rows.append(request.row)
        prefill.lengths.append(chunk.end)
        if chunk.samples:
            prefill.sampled.append(len(prefill.input_ids) - 1)
            prefill.sampled_rows.append(request.row)
    return prefill


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
    ) -> None:
        """`kv_dtype`: of the KV tensors, None: the activations'. `linears`: None: all projections are cuBLAS's."""
        config = model.config
        self.device, self.page_size, self.run_ahead = model.embedding.device, page_size, 1
        caches = build_caches(model, num_pages, page_size, kv_dtype or model.embedding.dtype)
        buckets = choose_buckets(limits.max_num_seqs)
        self.decoder = FusedDecoder(model, caches, limits.max_model_len, linears or LinearPlan())
        self.state = build_device_state(limits.max_num_seqs, limits.max_model_len, page_size, self.device)
        self.scale = config.head_dim**-0.5
        widest = buckets[-1]
        self.plan = build_decode_plan(
            widest, config.num_heads, config.num_kv_heads, config.head_dim, page_size, self.device
        )
        self.rows = torch.full((widest,), -1, dtype=torch.int32, device=self.device)
        self.logits = model.embedding.new_empty((widest, config.vocab_size))
        self.tokens = torch.zeros(widest, dtype=torch.int32, device=self.device)
        self.logprobs = torch.zeros(widest, dtype=torch.float32, device=self.device)
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
        rows = np.full(bucket, -1, np.int32)
        rows[: len(decodes)] = [chunk.request.row for chunk in decodes]
        sent = self.staging.send([*update, rows, *build_prefill(others, self.page_size).arrays()])
        self.state.apply(sent[: len(update)])
        if decodes:
            self.rows[:bucket].copy_(sent[len(update)])
            self.graphs.run(bucket)
        parts = [Part(decodes, self.logits[: len(decodes)], self.tokens[: len(decodes)])]
        if others:
            sampling = [chunk for chunk in others if chunk.samples]
            parts.append(Part(sampling, *self._prefill(sent[len(update) + 1 :])))
        return self._collect(chunks, parts)

    def _decode(self, bucket: int) -> None:
        """From the rows' last tokens to their next ones, in the state. What a graph holds."""
        rows, state = self.rows[:bucket], self.state
        ids, positions, slots, lengths = (torch.empty_like(rows) for _ in range(4))
        prepare_decode(
            rows, state.token_pool, state.lengths, state.page_table, self.page_size, ids, positions, slots, lengths
        )
        plan_decode(rows, lengths, self.plan)

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            k, v, k_scale, v_scale = cache
            return decode_attention(q, k, v, state.page_table, self.plan, self.scale, k_scale=k_scale, v_scale=v_scale)

        hidden = self.decoder.forward(ids, positions, slots, attend)
        logits = self.decoder.compute_logits(hidden, out=self.logits[:bucket])
        self._choose(logits, rows, lengths, self.tokens[:bucket])

    def _prefill(self, sent: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [S, vocab] and tokens [S] of the chunks that sample."""
        input_ids, positions, slots, cu_seqlens, rows, lengths, sampled, sampled_rows = sent
        state = self.state

        def attend(q: Tensor, cache: LayerCache) -> Tensor:
            k, v, k_scale, v_scale = cache
            paged = (q, k, v, state.page_table, rows, cu_seqlens, lengths)
            return prefill_attention(*paged, self.scale, k_scale=k_scale, v_scale=v_scale)

        hidden = self.decoder.forward(input_ids, positions, slots, attend)
        state.lengths.index_copy_(0, rows.long(), lengths)
        logits = self.decoder.compute_logits(hidden.index_select(0, sampled))
        tokens = torch.empty_like(sampled_rows)
        if sampled.numel():
            self._choose(logits, sampled_rows, state.lengths.index_select(0, sampled_rows), tokens)
        return logits, tokens

    def _choose(self, logits: Tensor, rows: Tensor, positions: Tensor, tokens: Tensor) -> None:
        """`positions`: where the new tokens belong, which is how many there are."""
        logprobs = self.logprobs[: rows.shape[0]]
        sample(logits, self.state.choose_rows(rows, positions), self.scratch, tokens, logprobs)
        append_tokens(tokens, rows, self.state.token_pool, self.state.lengths)

    def _collect(self, chunks: Sequence[Chunk], parts: Sequence[Part]) -> Launched:
        """The copy back, and who it is for."""
        order = [chunk for part in parts for chunk in part.chunks]
        chose_by_history = [self._choose_by_history(part) for part in parts]
        self.run_ahead = 0 if any(chose_by_history) else 1
        read_tokens = copy_back(torch.cat([part.tokens for part in parts]))
        read_logprobs = [part.begin_logprobs() for part in parts]

        def wait() -> list[Sampled]:
            tokens = dict(zip(map(id, order), read_tokens().tolist(), strict=True))
            logprobs = {key: value for read in read_logprobs for key, value in read().items()}
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
        sample(logits, self.state.choose_rows(rows, positions), self.scratch, tokens, self.logprobs[: len(members)])
        part.tokens.index_copy_(0, index, tokens)
        self.state.token_pool.index_put_((rows.long(), positions.long()), tokens)
        return True
