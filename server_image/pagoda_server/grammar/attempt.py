"""Compiles one grammar and follows it for a while, in a process that may be lost.

What is wrong with a schema is looked for in its parts, so that the refusal can name the place.
"""

import json
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llguidance import LLMatcher, regex_to_lark
from llguidance.gbnf_to_lark import gbnf_to_lark

from pagoda_server.dialog.lark import OPTIONS
from pagoda_server.grammar.build import GBNF
from pagoda_server.grammar.frames import Verdict
from pagoda_server.grammar.keywords import ONE_SCHEMA, SCHEMA_LISTS, SCHEMA_MAPS
from pagoda_server.grammar.limits import LIMITS, describe_failure
from pagoda_server.grammar.pointers import Unresolved, follow, join_pointer, split_pointer
from pagoda_server.grammar.vocabulary import Vocabulary
from pagoda_server.wire import Grammar

STACK_BYTES = 8 << 20
"""Half of what the engine compiles with: what passes here does not overflow there."""
WALKS = 2
WALK_TOKENS = 12
MAX_MASK_SECONDS = 0.005
"""The median, of CPU time: while one is computed all streams of a batch may wait for it."""
ATTEMPT_SECONDS = 0.75
"""Of CPU time; the kernel ends a process that takes more."""
SEARCH_SECONDS = 0.4
PART_SECONDS = 0.2
"""Of CPU time, for one part of a schema."""
OVERDUE = "it takes too long or too much memory to compile; make it simpler: fewer properties and branches, smaller "
OVERDUE += "bounds, no large multipleOf"
FORK_BYTES = 8 << 20
"""What a fork takes for any grammar."""
MOVED = "x-moved"
ASCII_CLASSES = "dw"
"""Of a regular expression: digits and letters are ASCII's, as JSON Schema has them."""


class Unusable(Exception):
    """What is wrong with the grammar."""


def convert(grammar: Grammar) -> str:
    """Returns the grammar in the compiler's own notation. Raises `Unusable`."""
    if grammar.notation == "regex":
        return _wrap({"lark_grammar": f"start: /{regex_to_lark(grammar.text, ASCII_CLASSES)}/"})
    if f'"{GBNF}"' not in grammar.text:
        return grammar.text
    return _wrap(*map(_convert_member, json.loads(grammar.text)["grammars"]))


def _convert_member(member: dict[str, Any]) -> dict[str, Any]:
    if GBNF not in member:
        return member
    rest = {name: value for name, value in member.items() if name != GBNF}
    return {**rest, "lark_grammar": _convert_gbnf(member[GBNF])}


def _convert_gbnf(text: str) -> str:
    try:
        return str(gbnf_to_lark(text))
    except RecursionError as error:
        raise Unusable("it is nested too deep; give parts of it names") from error
    except Exception as error:  # the converter raises bare ones
        raise Unusable(str(error)) from error


def attempt(grammar: Grammar, vocabulary: Vocabulary) -> Verdict:
    """Returns what is wrong with the grammar, or what it is in the compiler's notation and how large."""
    try:
        text = convert(grammar)
        before = _read_memory_bytes()
        _try_text(text, vocabulary)
    except Unusable as error:
        return Verdict(0, problem=str(error))
    return Verdict(0, text, memory_bytes=max(0, _read_memory_bytes() - before - FORK_BYTES))


def find_place(text: str, problem: str, vocabulary: Vocabulary, note: Callable[[str, str], None]) -> None:
    """Looks for the innermost part of a schema that has the problem by itself.

    `note` is told the best known place again and again, and `OVERDUE` of each part before that is tried: whoever waits
    for this process knows the place even if it never comes back.
    """
    schema, place = _find_schema(text), ""
    until = time.monotonic() + SEARCH_SECONDS
    note(place, problem)
    found: str | None = "" if schema is not None else None
    while found is not None:
        found = None
        for child in _list_children(schema, place):
            note(child, OVERDUE)
            signal.setitimer(signal.ITIMER_PROF, PART_SECONDS)
            said = _find_problem(_isolate(schema, child), vocabulary)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if said and said == problem:
                place = found = child
            note(place, problem)
            if found is not None or time.monotonic() > until:
                break


def _find_problem(schema: Any, vocabulary: Vocabulary) -> str:
    try:
        _try_text(json.dumps({"grammars": [{"json_schema": schema}]}), vocabulary)
    except Unusable as error:
        return str(error)
    return ""


def _try_text(text: str, vocabulary: Vocabulary) -> None:
    matcher = _run_in_thread(lambda: LLMatcher(vocabulary.tokens, text, log_level=0, limits=LIMITS))
    _check(matcher)
    seconds: list[float] = []
    for seed in range(WALKS):
        seconds += _walk(matcher.deep_copy(), vocabulary, random.Random(seed))
    median = sorted(seconds)[len(seconds) // 2]
    if median > MAX_MASK_SECONDS:
        raise Unusable(f"it takes {median * 1000:.0f} ms for each token; make it simpler, or its texts shorter")


def _walk(matcher: LLMatcher, vocabulary: Vocabulary, choose: random.Random) -> list[float]:
    """Follows some answer and returns the seconds that each mask took. Raises `Unusable`."""
    mask = np.zeros(vocabulary.num_compiled_words, dtype=np.int32)
    seconds = []
    for _ in range(WALK_TOKENS):
        begun = time.thread_time()
        matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        seconds.append(time.thread_time() - begun)
        _check(matcher)
        if matcher.is_stopped():
            break
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        matcher.consume_token(int(allowed[choose.randrange(len(allowed))]))
        _check(matcher)
    return seconds


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        raise Unusable(describe_failure(matcher.get_error()))


def _run_in_thread(build: Callable[[], LLMatcher]) -> LLMatcher:
    """Runs it where the stack is as large as this module says."""
    built: list[LLMatcher] = []
    before = threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=lambda: built.append(build()))
    thread.start()
    thread.join()
    threading.stack_size(before)
    return built[0]


def _wrap(*grammars: dict[str, Any]) -> str:
    return json.dumps({"grammars": grammars}, ensure_ascii=False)


def _find_schema(text: str) -> Any:
    """Returns the schema that a grammar is all of, None for any other."""
    if not text.startswith('{"grammars": [{"json_schema"'):
        return None
    return json.loads(text)["grammars"][0]["json_schema"]


def _list_children(schema: Any, place: str) -> Iterator[str]:
    """Yields where the schemas right below one stand, but for true and false."""
    try:
        here = follow(schema, split_pointer(place))
    except Unresolved:
        return
    if not isinstance(here, dict):
        return
    for name, value in here.items():
        below = join_pointer(place, name)
        if name in SCHEMA_MAPS and isinstance(value, dict):
            yield from (join_pointer(below, key) for key in value)
        elif name in SCHEMA_LISTS and isinstance(value, list):
            yield from (join_pointer(below, at) for at in range(len(value)))
        elif name in ONE_SCHEMA and not isinstance(value, bool):
            yield below


def _isolate(schema: Any, place: str) -> Any:
    """Returns a schema that is the one at `place`, with all that it may refer to."""
    return {
        MOVED: _move(schema),
        "$ref": f"#/{MOVED}{place}",
        **({OPTIONS: schema[OPTIONS]} if OPTIONS in schema else {}),
    }


def _move(value: Any) -> Any:
    """Returns a copy whose references lead to where it is moved to."""
    if isinstance(value, list):
        return [_move(one) for one in value]
    if not isinstance(value, dict):
        return value
    moved = {name: _move(one) for name, one in value.items() if name != OPTIONS}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = f"#/{MOVED}{reference[1:]}"
    return moved


def _read_memory_bytes() -> int:
    """Returns the memory that this process has, 0 where the kernel does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
