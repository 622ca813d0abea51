"""Whose turn it is, whatever comes, is admitted, gives way and ends in whatever order."""

import copy
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pagoda_server.engine.request import Request
from pagoda_server.engine.turns import TOKENS_A_ROW, Waiting, choose_for_turn, choose_victim, find_cost
from pagoda_server.wire import Sampling

NAMES = st.sampled_from("abc")
LENGTHS = st.integers(1, 3 * TOKENS_A_ROW)


def build_request(number: int, tenant: str = "", group: str = "", num_tokens: int = 1) -> Request:
    return Request(
        request_id=str(number),
        token_ids=[1] * num_tokens,
        num_prompt_tokens=num_tokens,
        sampling=Sampling(max_tokens=1),
        seed=0,
        tenant=tenant,
        group=group,
        arrival=number,
    )


def names_of(requests: list[Request]) -> list[str]:
    return [request.request_id for request in requests]


class TurnsMachine(RuleBasedStateMachine):
    """Beside plain lists of who waits and who holds a row."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.queued: list[Request] = []
        self.running: list[Request] = []
        self.count = 0

    @rule(tenant=NAMES, group=NAMES, lengths=st.lists(LENGTHS, min_size=1, max_size=5))
    def submit(self, tenant: str, group: str, lengths: list[int]) -> None:
        for length in lengths:
            self.count += 1
            self.queued.append(build_request(self.count, tenant, group, length))
            self.waiting.add(self.queued[-1])

    @precondition(lambda self: self.queued)
    @rule()
    def admit(self) -> None:
        request = self.waiting.peek()
        assert request is not None
        tenants, groups = Counter[str](), Counter[tuple[str, str]]()
        for one in self.running:
            tenants[one.tenant] += find_cost(one)
            groups[one.tenant, one.group] += find_cost(one)
        assert tenants[request.tenant] == min(tenants[one.tenant] for one in self.queued)
        own = [one for one in self.queued if one.tenant == request.tenant]
        assert groups[request.tenant, request.group] == min(groups[one.tenant, one.group] for one in own)
        assert request is min((one for one in own if one.group == request.group), key=lambda one: one.arrival)
        self.waiting.admit(request)
        self.queued.remove(request)
        self.running.append(request)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.queued))
        self.waiting.remove(request)
        self.queued.remove(request)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=LENGTHS)
    def grow(self, data: st.DataObject, more: int) -> None:
        request = data.draw(st.sampled_from(self.running))
        request.token_ids += [1] * more
        self.waiting.grow(request)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.running))
        self.waiting.release(request)
        self.running.remove(request)

    @precondition(lambda self: self.running)
    @rule()
    def preempt(self) -> None:
        victim = choose_victim(self.running)
        assert len(self.running) == 1 or victim is not min(self.running, key=lambda one: one.arrival)
        self.waiting.put_back(victim)
        self.running.remove(victim)
        self.queued.append(victim)
        assert self.waiting.has_begun(victim)

    @invariant()
    def everyone_who_waits_is_there_once(self) -> None:
        assert len(self.waiting) == len(self.queued)
        assert sorted(names_of(list(self.waiting))) == sorted(names_of(self.queued))

    @invariant()
    def costs_are_counted_right(self) -> None:
        costs = Counter[tuple[str, str]]()
        for one in self.running:
            costs[one.tenant, one.group] += find_cost(one)
        assert self.waiting.costs() == costs

    @invariant()
    def the_order_told_is_the_order_of_admission(self) -> None:
        told, copied = names_of(list(self.waiting)), copy.deepcopy(self.waiting)
        admitted: list[str] = []
        while (request := copied.peek()) is not None:
            copied.admit(request)
            admitted.append(request.request_id)
        assert told == admitted


TestTurnsMachine = TurnsMachine.TestCase
TestTurnsMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(sequences=st.lists(st.integers(1, 40), min_size=1, max_size=6), rows=st.integers(1, 60))
def test_admissions_of_those_who_all_wait_are_equal_within_one(sequences: list[int], rows: int) -> None:
    """The same between tenants, and between the groups of one."""
    for tenants_differ in (True, False):
        waiting, number = Waiting(), 0
        for index, count in enumerate(sequences):
            for _ in range(count):
                number += 1
                waiting.add(build_request(number, f"t{index}" if tenants_differ else "", f"g{index}"))
        admitted = Counter[str]()
        for _ in range(min(rows, number)):
            request = waiting.peek()
            assert request is not None, "rows stay empty while requests wait"
            waiting.admit(request)
            admitted[request.group] += 1
        waits = [admitted[f"g{index}"] for index, count in enumerate(sequences) if count > admitted[f"g{index}"]]
        assert not waits or max(admitted.values()) - min(waits) <= 1


@given(ahead=st.integers(0, 30), newcomers=st.integers(1, 3))
def test_nobody_is_passed_by_newcomers_for_ever(ahead: int, newcomers: int) -> None:
    """One row; with each that ends, more tenants come than can be served."""
    waiting = Waiting()
    for number in range(ahead):
        waiting.add(build_request(number, tenant=f"t{number}"))
    patient = build_request(ahead, tenant="patient")
    waiting.add(patient)
    number = ahead
    for _ in range(ahead):
        request = waiting.peek()
        assert request is not None
        waiting.admit(request)
        for _ in range(newcomers):
            number += 1
            waiting.add(build_request(number, tenant=f"t{number}"))
        waiting.release(request)
    assert waiting.peek() is patient


MEMBERS = st.lists(st.tuples(NAMES, NAMES), max_size=20)


@given(members=MEMBERS, newcomer=st.tuples(NAMES, NAMES), wanted=st.integers(1, 8))
def test_who_gives_way_would_not_take_it_back(
    members: list[tuple[str, str]], newcomer: tuple[str, str], wanted: int
) -> None:
    running = [build_request(number, *member) for number, member in enumerate(members)]
    comes = build_request(99, *newcomer)
    victims = choose_for_turn(running, comes, lambda chosen: len(chosen) >= wanted)
    assert len(victims) in (0, wanted)
    left = [request for request in running if request not in victims] + [comes] * bool(victims)
    for victim in victims:
        back = choose_for_turn(left, victim, lambda chosen: len(chosen) >= 1)
        assert comes not in back
    assert not victims or running[0] not in victims, "the oldest always advances"


def test_one_of_a_thousand_sequences_gives_way_to_a_request_of_the_same_tenant() -> None:
    many = [build_request(number, group="many") for number in range(8)]
    victims = choose_for_turn(many, build_request(9, group="one"), lambda chosen: len(chosen) >= 1)
    assert victims == [many[-1]]
