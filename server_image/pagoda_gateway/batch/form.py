"""A form with a file, `multipart/form-data` (RFC 7578), taken apart as its bytes come.

Pure: bytes in, events out. Work and memory are bounded by the bytes that came, whatever they are: a part's head, the
number of parts and what may be kept back have bounds, and nothing is read twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BOUNDARY = re.compile(r"""multipart/form-data\s*;(?:[^"]*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))""", re.I)
HEAD_LIMIT_BYTES = 8 * 1024
PARTS_LIMIT = 16
DISPOSITION = re.compile(r"content-disposition:\s*form-data\s*(;.*)", re.I)
PARAMETER = re.compile(r""";\s*(name|filename)="((?:[^"\\]|\\.)*)\"""", re.I)
ENCODING = re.compile(r"^content-transfer-encoding:\s*(?!binary|8bit|7bit)", re.I | re.M)


class BadForm(ValueError):
    """The bytes are no form. The message never repeats them."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    pass


Event = PartBegins | PartData | PartEnds


def read_boundary(content_type: str) -> bytes:
    found = BOUNDARY.match(content_type.strip())
    if found is None:
        raise BadForm("Content-Type has no boundary: send multipart/form-data; boundary=...")
    return (found[1] or found[2]).encode("latin-1", "replace")


class FormReader:
    """Takes the body piece by piece. Each step consumes what is held, or asks for more."""

    def __init__(self, boundary: bytes) -> None:
        self._border = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")
        """NB: the first border has no line before it; with this one all look the same."""
        self._parts = 0
        self._state = self._find_first
        self.ended = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Raises BadForm."""
        if self.ended:
            return
        self._held += data
        while (event := self._state()) is not None:
            if event is not MOVED:
                yield event

    def close(self) -> None:
        """Raises BadForm when the form is not whole."""
        if not self.ended:
            raise BadForm("the form ends before its last boundary")

    def _find_first(self) -> Event | None:
        if len(self._held) < len(self._border):
            return None
        if not self._held.startswith(self._border):
            raise BadForm("the form does not begin with its boundary")
        del self._held[: len(self._border)]
        self._state = self._pass_border
        return MOVED

    def _pass_border(self) -> Event | None:
        """Reads what follows a border: the end of its line, or two dashes after the last one."""
        if len(self._held) < 2:
            return None
        if self._held.startswith(b"--"):
            self.ended = True
            self._held.clear()
            return None
        if not self._held.startswith(b"\r\n"):
            raise BadForm("a boundary is followed by something else than the end of its line")
        del self._held[:2]
        self._state = self._read_head
        return MOVED

    def _read_head(self) -> Event | None:
        end = self._held.find(b"\r\n\r\n", 0, HEAD_LIMIT_BYTES)
        if end < 0:
            if len(self._held) >= HEAD_LIMIT_BYTES:
                raise BadForm(f"the head of a part is larger than {HEAD_LIMIT_BYTES} bytes")
            return None
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise BadForm(f"the form has more than {PARTS_LIMIT} parts")
        event = read_part_head(bytes(self._held[:end]))
        del self._held[: end + 2]  # NB: the last line's end stays: an empty part's border begins with it
        self._state = self._read_first_data
        return event

    def _read_first_data(self) -> Event | None:
        if len(self._held) < len(self._border):
            return None
        if self._held.startswith(self._border):
            return self._end_part(0)
        del self._held[:2]
        self._state = self._read_data
        return MOVED

    def _read_data(self) -> Event | None:
        at = self._held.find(self._border)
        if at == 0:
            return self._end_part(0)
        ready = at if at > 0 else len(self._held) - len(self._border) + 1
        if ready <= 0:
            return None
        data = bytes(self._held[:ready])
        del self._held[:ready]
        return PartData(data)

    def _end_part(self, at: int) -> Event:
        del self._held[: at + len(self._border)]
        self._state = self._pass_border
        return PartEnds()


MOVED = PartData(b"")
"""A step that consumed something and has nothing to tell."""


def read_part_head(raw: bytes) -> PartBegins:
    text = raw.decode("utf-8", "replace")
    if ENCODING.search(text):
        raise BadForm("Content-Transfer-Encoding is not supported: send the file as it is")
    for line in text.split("\r\n"):
        if found := DISPOSITION.match(line):
            values = {key.lower(): unescape(value) for key, value in PARAMETER.findall(found[1])}
            if "name" in values:
                return PartBegins(values["name"], values.get("filename"))
    raise BadForm('a part has no Content-Disposition: form-data; name="..."')


def unescape(value: str) -> str:
    """Returns a quoted parameter as browsers and httpx write it: a quote is %22 or has a backslash before it."""
    return re.sub(r"\\(.)", r"\1", value).replace("%22", '"').replace("%0D", " ").replace("%0A", " ")
