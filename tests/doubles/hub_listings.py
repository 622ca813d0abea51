"""Listings of a hub that cannot be true."""

import json

WEIGHTS = "model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def list_files(*siblings: object, sha: object = COMMIT) -> bytes:
    return json.dumps({"id": "org/name", "sha": sha, "siblings": siblings}).encode()


CONFIG: dict[str, object] = {"rfilename": "config.json", "size": 2}
MODEL: dict[str, object] = {"rfilename": WEIGHTS, "size": 2}
LISTINGS = {
    "above": list_files(CONFIG, MODEL, {"rfilename": "../../x.json", "size": 1}),
    "absolute": list_files(CONFIG, MODEL, {"rfilename": "/tmp/x.json", "size": 1}),
    "control": list_files(CONFIG, MODEL, {"rfilename": "x\0\x1b[31m.json", "size": 1}),
    "long": list_files(CONFIG, MODEL, {"rfilename": "x" * 5000 + ".json", "size": 1}),
    "twice": list_files(CONFIG, MODEL, MODEL),
    "negative": list_files(CONFIG, {"rfilename": WEIGHTS, "size": -1}),
    "huge": list_files(CONFIG, {"rfilename": WEIGHTS, "size": 10**400}),
    "text": list_files(CONFIG, {"rfilename": WEIGHTS, "size": "2"}),
    "infinite": b'{"sha": "%s", "siblings": [{"rfilename": "a.json", "size": 1e999}]}' % COMMIT.encode(),
    "no size": list_files(CONFIG, {"rfilename": WEIGHTS}),
    "commit": list_files(CONFIG, MODEL, sha="../../x"),
    "many": list_files(*({"rfilename": f"{number}.json", "size": 0} for number in range(20_000))),
    "long listing": b" " * (9 << 20),
    "deep": b"[" * 100_000,
    "null": b"null",
    "not UTF-8": b'{"sha": "\xff"}',
}
