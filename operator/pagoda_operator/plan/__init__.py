"""The operator's decisions: a frozen World goes in, a Plan comes out. It reads no clock and no cluster."""

from pagoda_operator.plan.drift import find_foreign, project
from pagoda_operator.plan.hashing import needs_apply
from pagoda_operator.plan.loads import Load
from pagoda_operator.plan.plan import Event, ObjectRef, Plan, plan
from pagoda_operator.plan.world import Refusal, World, world_of

__all__ = [
    "Event",
    "Load",
    "ObjectRef",
    "Plan",
    "Refusal",
    "World",
    "find_foreign",
    "needs_apply",
    "plan",
    "project",
    "world_of",
]
