"""The fast runner: our kernels, state that stays on the device, steps as CUDA graphs, one step ahead of the host.

A step is one copy to the device, the replay of a graph, and one copy back; the host never waits in between. Rows that
ask for more than their temperature and filters choose again in a second, small graph (`sampling.py`). Where
prompts are in it, their tokens and those of the requests that decode go through the projections together, so that the
weights are read once, and attention is a launch for each kind. It decides nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from pagoda_server.engine.batch import Chunk, Limits
from pagoda_server.engine.constraint import Masks
from pagoda_server.engine.runner import PendingStep, Sampled
from pagoda_server.kernels.prepare import prepare_decode, set_lengths
from pagoda_server.model.llama import Llama
from pagoda_server.runtime.cache import LayerCache, build_caches
from pagoda_server.runtime.gpu.adjustments import apply_opening, plan_opening
from pagoda_server.runtime.gpu.attention import AttendInto, build_attention
from pagoda_server.runtime.gpu.decoder import Attend, FusedDecoder, Wanted
from pagoda_server.runtime.gpu.device_state import build_device_state
from pagoda_server.runtime.gpu.graphs import CudaCapture, Graphs, StepGraphs, choose_buckets, choose_first
from pagoda_server.runtime.gpu.logprobs import DeviceLogprobs
from pagoda_server.runtime.gpu.members import Member
from pagoda_server.runtime.gpu.projections import ALL_INVARIANT, ProjectionPlan
from pagoda_server.runtime.gpu.readback import copy_back
from pagoda_server.runtime.gpu.sampling import build_device_sampler
from pagoda_server.runtime.gpu.staging import ALIGNMENT, Staging
from pagoda_server.runtime.gpu.step import Step, plan_step
from pagoda_server.runtime.gpu.step_inputs import (
    MAX_CAPTURED_TOKENS,
    DecodeInputs,
    Mixed,
    MixedInputs,
    StepInputs,
    choose_token_buckets,
)
from pagoda_server.wire import PromptLogprobs

RUN_AHEAD = 1
"""Whatever the requests ask for: what a choice depends on lies on the device, but for masks, and these come in time."""
START_TOKEN_BUCKETS = (256, 512, 1024, 2048)
"""Steps with prompts that are captured at start."""
MAX_STRETCH = 1.25
"""A step with prompts is bound by its products: what it is padded with costs as much as what it has."""


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
        projections: ProjectionPlan | None = None,
        deterministic: bool = False,
    ) -> None:
        """Takes the KV tensors' `kv_dtype`, the activations' by default, and `projections`, cuBLAS's by default.

        `deterministic`: a request's tokens are the same bits whatever runs beside it, however it was cut and preempted.
        """
        self.device, self.page_size = model.embedding.device, page_size
        caches = build_caches(model, num_pages, page_size, kv_dtype or model.embedding.dtype)
        if deterministic:
            projections = ProjectionPlan(otherwise=ALL_INVARIANT)
        self.decoder = FusedDecoder(model, caches, limits.max_model_len, projections)
        self.state = build_device_state(limits.max_num_seqs, limits.max_model_len, page_size, self.device)
        self.attention = build_attention(model.config, self.state, page_size, deterministic=deterministic)
        self.sampler = build_device_sampler(model, self.state, len(limits.eos_token_ids))
        self.vocab_size = model.config.vocab_size
        self.logprobs = DeviceLogprobs(limits.max_num_seqs, self.vocab_size, self.device)
        self.staging, self.mask_staging = Staging(self.device), Staging(self.device)
        self.decode_inputs = DecodeInputs(limits.max_num_seqs, self.device)
        self.mixed_inputs = MixedInputs(limits.max_batched_tokens, limits.max_num_seqs, page_size, self.device)
        self.graphs = self._build_graphs(limits)

    def _build_graphs(self, limits: Limits) -> StepGraphs:
        """Builds each kind, none captured yet. Without CUDA none ever is: steps are run as they are."""
        capture = CudaCapture() if self.device.type == "cuda" else None
        rows, tokens = choose_buckets(limits.max_num_seqs), choose_token_buckets(limits.max_batched_tokens)
        return StepGraphs(
            decode=Graphs(self._decode, rows, capture, first=choose_first(rows), clear=self.decode_inputs.clear),
            mixed=Graphs(
                self._run_mixed,
                tokens,
                capture,
                first=[size for size in START_TOKEN_BUCKETS if size in tokens],
                clear=self.mixed_inputs.clear,
                stretch=MAX_STRETCH,
                max_captured=MAX_CAPTURED_TOKENS,
            ),
            again=Graphs(
                self.sampler.choose_again,
                choose_first(rows),
                capture,
                first=(),
                clear=self.sampler.members.clear,
            ),
        )

    @torch.inference_mode()
    def capture_first(self) -> None:
        """Captures the graphs to begin with: before the first launch, or batches run without a graph for long."""
        self.graphs.capture_first()

    @torch.inference_mode()
    def prepare_next(self, *, idle: bool = True) -> bool:
        """Captures one more graph."""
        return self.graphs.capture_next(idle=idle)

    @torch.inference_mode()
    def launch(self, chunks: Sequence[Chunk]) -> PendingStep:
        update, opened = self.state.plan_update(chunks)
        step = plan_step(chunks, self.state.rows)
        graphs = self.graphs.mixed if step.prompts else self.graphs.decode
        inputs: StepInputs = self.mixed_inputs if step.prompts else self.decode_inputs
        bucket = graphs.bucket_for(sum(chunk.num_tokens for chunk in chunks))
        again = self.graphs.again.bucket_for(len(step.unconstrained))
        new_rows, opening, (own,), (members,), (asked,), scored = self.staging.send_groups(
            [
                update.arrays(),
                plan_opening(opened, self.vocab_size).arrays() if opened else [],
                [inputs.pack(bucket, step.decodes, step.prompts)],
                [self.sampler.members.pack(again, step.unconstrained)],
                [step.asked.pack()],
                step.scored.pack(step.prompts),
            ]
        )
        self.state.apply(new_rows)
        if opening:
            apply_opening(self.sampler.table, opening)
        inputs.load(own)
        read_scores = self._run(graphs, bucket, step, scored)
        if step.unconstrained:
            self.sampler.members.load(members)
            self.graphs.again.run(again)
        return self._collect(step, asked, read_scores)

    def _run(
        self, graphs: Graphs, bucket: int, step: Step, scored: Sequence[Tensor]
    ) -> Callable[[], list[PromptLogprobs]]:
        """Runs the step up to its first choice; the function returns what prompts are scored with."""
        if not step.scored.chunks:
            graphs.run(bucket)
            return list
        places, tokens = scored
        return self.logprobs.begin_scores(step.scored, self._run_scored(bucket, places, tokens, step.scored.num_top))

    def _decode(self, bucket: int) -> None:
        """Goes from the rows' last tokens to their next ones, in the state. It is what a graph holds."""
        rows, first = self.decode_inputs.view(bucket), self.decode_inputs.first_decode
        ids, positions, slots = (torch.empty_like(rows) for _ in range(3))
        lengths, attend = self._prepare(rows, ids, positions, slots, first)
        self._choose(self.decoder.forward(ids, positions, slots, attend), rows, lengths)

    def _run_mixed(self, bucket: int) -> None:
        """Does the same for a step with prompts, from `self.mixed_inputs`."""
        mixed = self.mixed_inputs.view(bucket)
        attend = self._prepare_mixed(mixed)
        rows, lengths = mixed.sampled_rows, self._find_lengths(mixed.sampled_rows)

        def attend_sampled(q: Tensor, cache: LayerCache) -> Tensor:
            """Attends the tokens that choose: each is the last of its context, as in a decode."""
            return self.attention.plan_decodes(rows, lengths, self.decode_inputs.first_decode)(q, cache)

        wanted = Wanted(mixed.sampled, attend_sampled)
        hidden = self.decoder.forward(mixed.input_ids, mixed.positions, mixed.slots, attend, wanted)
        self._choose(hidden, rows, lengths)

    def _run_scored(self, bucket: int, places: Tensor, tokens: Tensor, num_top: int) -> Tensor:
        """Does the same, and ranks the log-probabilities of tokens [T] of prompts → [T, `WIDTH`].

        No graph holds it: few requests ask, and all hidden states are wanted. Their logits are made in the place of
        those of the tokens that choose, as many at a time, before these.
        """
        mixed, size = self.mixed_inputs.view(bucket), self.sampler.logits.shape[0]
        attend = self._prepare_mixed(mixed)
        hidden = self.decoder.forward(mixed.input_ids, mixed.positions, mixed.slots, attend)
        piece = size - size % ALIGNMENT or size

        def compute(some: Tensor) -> Tensor:
            return self.decoder.compute_logits(some, out=self.sampler.logits[: some.shape[0]])

        scores = self.logprobs.score(hidden.index_select(0, places), tokens, num_top, compute, piece)
        rows = mixed.sampled_rows
        self._choose(hidden.index_select(0, mixed.sampled), rows, self._find_lengths(rows))
        return scores

    def _prepare_mixed(self, mixed: Mixed) -> Attend:
        """Completes the inputs of a step with prompts; returns its attention."""
        _, attend_decodes = self._prepare(
            mixed.decode_rows, mixed.input_ids, mixed.positions, mixed.slots, mixed.first_decode
        )
        set_lengths(mixed.rows, mixed.lengths, self.state.lengths)
        attend_prompts = partial(
            self.attention.attend_prompts, rows=mixed.rows, cu_seqlens=mixed.cu_seqlens, lengths=mixed.lengths
        )
        return lambda q, cache: attend_decodes(q, cache, attend_prompts(q, cache))

    def _find_lengths(self, rows: Tensor) -> Tensor:
        """Returns how many tokens each of rows [S] has, 0 for none."""
        return self.state.lengths.index_select(0, rows.clamp(min=0)).masked_fill_(rows < 0, 0)

    def _choose(self, hidden: Tensor, rows: Tensor, lengths: Tensor) -> None:
        self.decoder.compute_logits(hidden, out=self.sampler.logits[: rows.shape[0]])
        self.sampler.choose(rows, lengths)

    def _prepare(
        self, rows: Tensor, input_ids: Tensor, positions: Tensor, slots: Tensor, first: Tensor
    ) -> tuple[Tensor, AttendInto]:
        """Writes the inputs of decodes from `first` on; returns their contexts' lengths, and their attention."""
        state, lengths = self.state, torch.empty_like(rows)
        pool, table = state.token_pool, state.page_table
        prepare_decode(rows, pool, state.lengths, table, self.page_size, input_ids, positions, slots, lengths, first)
        return lengths, self.attention.plan_decodes(rows, lengths, first)

    def _collect(self, step: Step, asked: Tensor, read_scores: Callable[[], list[PromptLogprobs]]) -> PendingStep:
        """Begins the copy back, once the constrained have chosen; its end gives each chunk that samples its token."""
        if not step.constrained:
            return PendingStep(self._copy_back(step, asked), RUN_AHEAD, scores=read_scores)
        reads: list[Callable[[], list[Sampled]]] = []

        def constrain(masks: Masks) -> None:
            self._constrain(step.constrained, masks)
            reads.append(self._copy_back(step, asked))

        return PendingStep(lambda: reads[0](), RUN_AHEAD, constrain, read_scores)

    @torch.inference_mode()
    def _constrain(self, members: Sequence[Member], masks: Masks) -> None:
        """Has the members choose by their masks, in their order: one copy to the device, one choice."""
        bucket = self.graphs.again.bucket_for(len(members))
        packed, placed = self.mask_staging.send([self.sampler.members.pack(bucket, members), masks])
        self.sampler.members.load(packed, placed)
        self.graphs.again.run(bucket)

    @torch.inference_mode()
    def _copy_back(self, step: Step, asked: Tensor) -> Callable[[], list[Sampled]]:
        logits, tokens = self.sampler.logits, self.sampler.tokens
        read_logprobs = self.logprobs.begin(step.asked, asked, logits, tokens)
        read_tokens = copy_back(tokens[: len(step.chosen)])

        def read() -> list[Sampled]:
            found = dict(zip(map(id, step.chosen), read_tokens().tolist(), strict=True))
            logprobs = read_logprobs()
            return [(found[id(chunk)], logprobs.get(id(chunk))) for chunk in step.chunks if chunk.is_sampled]

        return read
