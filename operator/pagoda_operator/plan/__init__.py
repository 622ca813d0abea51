"""The operator's decisions: a frozen World goes in, a ReconcilePlan comes out. It reads no clock and no cluster."""

from pagoda_operator.plan.decide import ObjectRef, ReconcilePlan, plan
from pagoda_operator.plan.drift import find_foreign, project
from pagoda_operator.plan.events import Event
from pagoda_operator.plan.hashing import needs_apply
from pagoda_operator.plan.loads import Load
from pagoda_operator.plan.world import Handshake, Refusal, Rival, World, world_of

__all__ = [
    "Event",
    "Handshake",
    "Load",
    "ObjectRef",
    "ReconcilePlan",
    "Refusal",
    "Rival",
    "World",
    "find_foreign",
    "needs_apply",
    "plan",
    "project",
    "world_of",
]
