"""A batch, by what each of its chunks needs of the device."""

from collections.abc import Sequence
from dataclasses import dataclass

from pagoda_server.engine.batch import Chunk
from pagoda_server.runtime.gpu.device_state import DeviceRow, is_decode
from pagoda_server.runtime.gpu.logprobs import Asked, Scored, list_asked, list_scored
from pagoda_server.runtime.gpu.members import Member, list_members


@dataclass(frozen=True, slots=True)
class Step:
    chunks: Sequence[Chunk]
    decodes: list[Chunk]
    prompts: list[Chunk]
    """All others."""
    chosen: list[Chunk]
    """Those that choose a token, as their logits lie in the batch."""
    unconstrained: list[Member]
    """Those that choose again at once."""
    constrained: list[Member]
    """Those that choose again when their masks are there."""
    asked: Asked
    scored: Scored


def plan_step(chunks: Sequence[Chunk], rows: Sequence[DeviceRow]) -> Step:
    """Takes the host's view of the device's rows, which the chunks' requests have by now."""
    decodes = [chunk for chunk in chunks if is_decode(chunk)]
    prompts = [chunk for chunk in chunks if not is_decode(chunk)]
    chosen = [*decodes, *(chunk for chunk in prompts if chunk.is_sampled)]
    members = list_members(chosen, rows)
    return Step(
        chunks=chunks,
        decodes=decodes,
        prompts=prompts,
        chosen=chosen,
        unconstrained=[member for member in members if not member.is_constrained],
        constrained=[member for member in members if member.is_constrained],
        asked=list_asked(chosen),
        scored=list_scored(prompts),
    )
