"""A pod that answers `/load` as nobody should, another way each time: run in a container, on port 8000."""

import gzip
import itertools
import socketserver

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
BOMB = gzip.compress(b" " * (1 << 27))


def whole(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(headers or (JSON,)) + b"Content-Length: %d\r\n\r\n" % len(body) + body


LOAD = b'{"tokens_per_second": %s, "demand_tokens_per_second": %s}'
ANSWERS = [
    *(whole(body) for body in (b"null", b"[1]", b"5", b"", b"{}", b"\xff\xfe", b"[" * 100_000)),
    *(whole(LOAD % (number, number)) for number in (b"1e999", b"9" * 401, b"-1", b'"x"', b"NaN", b"[]")),
    whole(LOAD % (b"1", b"1"), b"Content-Type: application/json; charset=rot13\r\n"),
    whole(BOMB, JSON, b"Content-Encoding: gzip\r\n"),
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:8081/healthz\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 " + b"x" * 100_000,
    b"",
]
FOREVER = HEAD + JSON + b"\r\n"
turns = itertools.cycle(range(len(ANSWERS) + 1))


class Hostile(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(4096)
        turn = next(turns)
        if turn < len(ANSWERS):
            self.request.sendall(ANSWERS[turn])
            return
        self.request.sendall(FOREVER)
        while True:
            self.request.sendall(b" " * 65536)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("", 8000), Hostile).serve_forever()
