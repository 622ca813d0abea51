"""The lines of an input file: which are requests and where they lie, or what is wrong with them.

Pure. A file is read once from its beginning to its end; what is kept of each line is its place and a digest of its
`custom_id`. A line that is too long is passed over without being held.
"""

from array import array
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from pagoda_gateway.batch.limits import ERRORS_LISTED
from pagoda_gateway.batch.records import LineError
from pagoda_guard.parsing import BadInput, parse_json

CUSTOM_ID_LIMIT = 512
SHOWN = 64
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ABSENT = msgspec.Raw(b"null")


class InputLine(msgspec.Struct, frozen=True):
    """One request. Its fields are taken as they come; `judge_line` says what is wrong with them."""

    custom_id: msgspec.Raw = _ABSENT
    method: msgspec.Raw = _ABSENT
    url: msgspec.Raw = _ABSENT
    body: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct):
    model: msgspec.Raw = _ABSENT
    stream: msgspec.Raw = _ABSENT


@dataclass(frozen=True, slots=True)
class Expected:
    """What all requests of a batch have in common."""

    endpoint: str
    model: str
    line_bytes: int
    requests: int


class Wrong(Exception):
    """A line is no request of this batch."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def read_line(raw: bytes) -> InputLine:
    """Raises Wrong."""
    try:
        return parse_json(raw, InputLine, limit_bytes=len(raw))
    except BadInput as error:
        raise Wrong("invalid_json_line", f"This line is no JSON object: {error}.") from error


def read_text(raw: msgspec.Raw) -> str | None:
    """Returns a string, None for anything else."""
    data = bytes(raw)
    if not data.startswith(b'"'):
        return None
    try:
        return parse_json(data, str, limit_bytes=len(data))
    except BadInput:
        return None


def judge_line(line: InputLine, expected: Expected) -> str:
    """Returns the custom_id. Raises Wrong for the first thing that is wrong."""
    custom_id = read_text(line.custom_id)
    if custom_id is None or not custom_id.strip():
        raise Wrong("missing_custom_id", "custom_id is missing: give each line a string of its own.", "custom_id")
    if len(custom_id) > CUSTOM_ID_LIMIT:
        message = f"custom_id has {len(custom_id)} characters: give at most {CUSTOM_ID_LIMIT}."
        raise Wrong("invalid_custom_id", message, "custom_id")
    if (method := read_text(line.method)) != "POST":
        raise Wrong("invalid_method", f"method is {show(method)}: give 'POST'.", "method")
    if (url := read_text(line.url)) != expected.endpoint:
        message = f"url is {show(url)}: give {expected.endpoint!r}, the endpoint of the batch."
        raise Wrong("invalid_url", message, "url")
    judge_body(bytes(line.body), expected.model)
    return custom_id


def judge_body(raw: bytes, model: str) -> None:
    if not raw.startswith(b"{"):
        raise Wrong("invalid_body", "body is missing or no object: give the request's JSON.", "body")
    body = parse_json(raw, _Body, limit_bytes=len(raw))
    if bytes(body.stream) == b"true":
        raise Wrong("invalid_body", "body.stream is true: a batch does not stream, so leave it out.", "body.stream")
    named = read_text(body.model)
    if bytes(body.model) != b"null" and named != model:
        raise Wrong("model_not_found", f"body.model is {show(named)}: give {model!r}.", "body.model")


def show(text: str | None) -> str:
    return "no string" if text is None else repr(text[:SHOWN])


class Index:
    """Where the requests of a file lie."""

    def __init__(self) -> None:
        self._starts = array("Q")
        self._sizes = array("L")

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, size: int) -> None:
        self._starts.append(start)
        self._sizes.append(size)

    def place(self, number: int) -> tuple[int, int]:
        """Returns where a request starts and its size, in bytes."""
        return self._starts[number], self._sizes[number]


class Scanner:
    """Takes a file block by block."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.index = Index()
        self.errors: list[LineError] = []
        self._seen: set[bytes] = set()
        self._held = bytearray()
        self._is_too_long = False
        self._line = 1
        self._start = 0
        """Where the line begins that is held."""
        self._read_bytes = 0

    @property
    def has_enough(self) -> bool:
        """Returns True when more would tell nothing new."""
        return len(self.errors) >= ERRORS_LISTED or len(self.index) > self._expected.requests

    def feed(self, block: bytes) -> None:
        at = 0
        while not self.has_enough and (end := block.find(b"\n", at)) >= 0:
            self._hold(block[at:end])
            self._end_line()
            at = end + 1
            self._start = self._read_bytes + at
        self._hold(block[at:])
        self._read_bytes += len(block)

    def close(self) -> None:
        """Ends the last line, which may have no end of its own, and adds what is wrong with the whole."""
        if not self.has_enough:
            self._end_line()
        self._seen.clear()
        if len(self.index) > self._expected.requests:
            message = f"The file has more than {self._expected.requests} requests: split it."
            self.errors.insert(0, LineError(code="too_many_requests", message=message))
        elif not len(self.index) and not self.errors:
            message = "The file has no request: give a JSON object a line."
            self.errors.append(LineError(code="empty_file", message=message))

    def _hold(self, piece: bytes) -> None:
        if len(self._held) + len(piece) > self._expected.line_bytes:
            self._is_too_long = True
            self._held.clear()
        elif not self._is_too_long:
            self._held += piece

    def _end_line(self) -> None:
        raw = bytes(self._held)
        try:
            self._take(raw)
        except Wrong as wrong:
            self.errors.append(LineError(code=wrong.code, message=wrong.message, line=self._line, param=wrong.param))
        self._line += 1
        self._held.clear()
        self._is_too_long = False

    def _take(self, raw: bytes) -> None:
        if self._is_too_long:
            message = f"This line has more than {self._expected.line_bytes} bytes: send a shorter request."
            raise Wrong("line_too_long", message)
        text = raw.removeprefix(BYTE_ORDER_MARK) if self._line == 1 else raw
        if not text.strip():
            return
        custom_id = judge_line(read_line(text), self._expected)
        digest = blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            raise Wrong("duplicate_custom_id", "custom_id was given on a line before: give another.", "custom_id")
        self._seen.add(digest)
        self.index.add(self._start + len(raw) - len(text), len(text))
