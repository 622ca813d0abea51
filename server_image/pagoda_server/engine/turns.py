"""Whose waiting request is admitted next, and whose running one makes room for it.

Tenants take turns, and within a tenant its groups do: the sequences of one HTTP request. The turn is that of whoever
costs a step least now, of equals that of whoever waits longest; a group's own sequences go first come, first served. So
a request of a thousand sequences, and a tenant of a thousand requests or of long ones, is ahead of nobody. Every
operation takes the same short time however many wait. Who gives way to others is found by rows alone, for these do not
grow: what was given would else be taken back once the other's context is the longer one.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from pagoda_server.engine.request import Request

TOKENS_A_ROW = 256
"""A row costs a step one, and one more for so many tokens of context: about as many (100 of a 0.6B model, 900 of an 8B)
are read in the time that a row is computed in."""
DISPLACING_PART = 4
"""Who comes late displaces single sequences of others until it holds a quarter of an equal share, for each of them
is a stream that halts. The rest it gets as they end; and of a request with more sequences than its own, at once."""


def find_cost(request: Request) -> int:
    """Returns what the request costs a step now, or would."""
    return 1 + request.num_tokens // TOKENS_A_ROW


def take_turns(members: Iterable[tuple[int, Iterator[Request]]]) -> Iterator[Request]:
    """Yields requests of members that cost so much now, the minimum first: each that is yielded adds its own cost."""
    later: list[tuple[int, int, Iterator[Request]]] = []
    numbers = count()
    fresh = iter(members)
    first = next(fresh, None)
    while first is not None or later:
        if first is not None and not (later and later[0][0] < first[0]):
            (cost, requests), first = first, next(fresh, None)
        else:
            cost, _, requests = heapq.heappop(later)
        for request in islice(requests, 1):
            yield request
            heapq.heappush(later, (cost + find_cost(request), next(numbers), requests))


class Lines:
    """Names in the order of their turns: a line for each cost."""

    def __init__(self) -> None:
        self._lines: dict[int, OrderedDict[str, None]] = {}
        self._costs: dict[str, int] = {}
        """The cost of each name that stands in a line: which line that is."""

    def __len__(self) -> int:
        return len(self._costs)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for cost in sorted(self._lines):
            for name in self._lines[cost]:
                yield cost, name

    def place(self, name: str, cost: int | None, *, first: bool) -> None:
        """Puts the name into the line of `cost`, at its end, or at its head if `first`; None takes it out of all lines.

        A name that already stands in that line keeps its place.
        """
        before = self._costs.get(name)
        if before == cost:
            return
        if before is not None:
            self._leave(name, before)
        if cost is not None:
            self._costs[name] = cost
            line = self._lines.setdefault(cost, OrderedDict())
            line[name] = None
            line.move_to_end(name, last=not first)

    def _leave(self, name: str, cost: int) -> None:
        line = self._lines[cost]
        del self._costs[name], line[name]
        if not line:
            del self._lines[cost]


@dataclass(slots=True)
class Group:
    waiting: deque[Request] = field(default_factory=deque)
    cost: int = 0
    has_begun: bool = False
    """One of its sequences was admitted."""


@dataclass(slots=True)
class Tenant:
    groups: dict[str, Group] = field(default_factory=dict)
    """Those that wait or hold rows."""
    lines: Lines = field(default_factory=Lines)
    cost: int = 0

    def __iter__(self) -> Iterator[Request]:
        return take_turns((cost, iter(self.groups[name].waiting)) for cost, name in self.lines)


class Waiting:
    """The requests that wait, in the order of their turns; and what those that run cost a step, by tenant and group."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._lines = Lines()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Request]:
        """Yields the requests as they would be admitted if nothing else came or ended."""
        return take_turns((cost, iter(self._tenants[name])) for cost, name in self._lines)

    def peek(self) -> Request | None:
        return next(iter(self), None)

    def has_begun(self, request: Request) -> bool:
        """Returns whether one of its group was admitted: then it waits for its own kind."""
        return self._tenants[request.tenant].groups[request.group].has_begun

    def add(self, request: Request) -> None:
        self._find_group(request).waiting.append(request)
        self._change(request, waiting=1)

    def remove(self, request: Request) -> None:
        """Removes a request that waits no longer and was not admitted."""
        self._find_group(request).waiting.remove(request)
        self._change(request, waiting=-1)

    def admit(self, request: Request) -> None:
        """Counts the request among those that hold a row from now on."""
        group = self._find_group(request)
        group.waiting.remove(request)
        group.has_begun = True
        request.cost = find_cost(request)
        self._change(request, waiting=-1, cost=request.cost)

    def grow(self, request: Request) -> None:
        """Counts the cost anew of a request that holds a row and whose context has become longer."""
        more = find_cost(request) - request.cost
        if more:
            request.cost += more
            self._change(request, cost=more)

    def put_back(self, request: Request) -> None:
        """Makes a preempted request the first of its group again, its group and its tenant the first of their lines."""
        self._find_group(request).waiting.appendleft(request)
        self._change(request, waiting=1, cost=-request.cost, first=True)

    def release(self, request: Request) -> None:
        """Takes the cost of a request that ended while it held a row."""
        self._change(request, cost=-request.cost)

    def costs(self) -> Counter[tuple[str, str]]:
        """Returns the cost of those that hold rows, by tenant and group."""
        return Counter(
            {
                (tenant_name, name): group.cost
                for tenant_name, tenant in self._tenants.items()
                for name, group in tenant.groups.items()
                if group.cost
            }
        )

    def _find_group(self, request: Request) -> Group:
        return self._tenants.setdefault(request.tenant, Tenant()).groups.setdefault(request.group, Group())

    def _change(self, request: Request, *, waiting: int = 0, cost: int = 0, first: bool = False) -> None:
        self._count += waiting
        tenant = self._tenants[request.tenant]
        group = tenant.groups[request.group]
        tenant.cost += cost
        group.cost += cost
        tenant.lines.place(request.group, group.cost if group.waiting else None, first=first)
        self._lines.place(request.tenant, tenant.cost if tenant.lines else None, first=first)
        if not group.waiting and not group.cost:
            del tenant.groups[request.group]
        if not tenant.groups:
            del self._tenants[request.tenant]


def choose_victim(running: Sequence[Request]) -> Request:
    """Chooses the latest of the group that holds the most rows, of the tenant that does. `running` is not empty.

    It is never the oldest while there is another, so that one always advances.
    """
    tenants = Counter(request.tenant for request in running)
    groups = Counter((request.tenant, request.group) for request in running)
    return max(
        running, key=lambda request: (tenants[request.tenant], groups[request.tenant, request.group], request.arrival)
    )


def choose_for_turn(
    running: Iterable[Request], newcomer: Request, is_room: Callable[[Sequence[Request]], bool]
) -> list[Request]:
    """Chooses who gives way to a waiting request whose turn it is, until `is_room`; nobody where shares forbid it.

    Each is of another tenant that holds more rows without it than the newcomer's will have, or of such a group of the
    newcomer's own: whoever gives way does not get back by the same rule what it gave.
    """
    groups_of: dict[str, dict[str, list[Request]]] = {}
    for request in running:
        groups_of.setdefault(request.tenant, {}).setdefault(request.group, []).append(request)
    victims: list[Request] = []
    while not is_room(victims):
        group = _find_above_share(groups_of, newcomer)
        if group is None:
            return []
        victims.append(group.pop())
    return victims


def _find_above_share(groups_of: dict[str, dict[str, list[Request]]], newcomer: Request) -> list[Request] | None:
    own = groups_of.get(newcomer.tenant, {})
    own_rows, own_group = _count_rows(own), len(own.get(newcomer.group, ()))
    others = [groups for tenant, groups in groups_of.items() if tenant != newcomer.tenant]
    heaviest = max(others, key=_count_rows, default={})
    if _count_rows(heaviest) > own_rows + 1:
        largest = _find_largest(heaviest)
        share = sum(map(_count_rows, groups_of.values())) // (len(others) + 1)
        if len(largest) > own_group + 1 or own_rows < max(1, share // DISPLACING_PART):
            return largest
    largest = _find_largest(own) if own else []
    return largest if len(largest) > own_group + 1 else None


def _count_rows(groups: dict[str, list[Request]]) -> int:
    return sum(map(len, groups.values()))


def _find_largest(groups: dict[str, list[Request]]) -> list[Request]:
    """Returns the group with the most requests; of equals, the one whose latest came last."""
    return max(filter(None, groups.values()), key=lambda group: (len(group), group[-1].arrival))
