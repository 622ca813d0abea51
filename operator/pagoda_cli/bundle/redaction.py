"""Takes secrets out of what goes into a support bundle. Pure. When in doubt, it takes too much.

Secrets and ConfigMaps are never read for a bundle: this is for what else may hold a secret by mistake: a value in an
environment, an annotation of a tool, a line of a log, an address with a password.
"""

import re
from collections.abc import Mapping
from typing import Any

REMOVED = "[removed]"
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key|^key$|auth$|cookie|"
    r"signature|session|dsn|connection[-_.]?string",
    re.IGNORECASE,
)
_FIGURE_NAME = re.compile(
    r"tokens|tokens?[-_]?(per|second|count|budget)|(max|num|total|queued|prompt|answer|input|output)[-_]?token",
    re.IGNORECASE,
)
"""Names with the word token that may be of figures: max_batched_tokens, tokensPerSecond."""
_FIGURE = re.compile(r"[\d.]+(ms|s|%)?")
_KEPT_ANNOTATIONS = ("pagoda.dev/", "kubernetes.io/", "k8s.io/")
"""Groups whose annotations are kept, with those below them."""
_NAMED_VALUE = (
    r"(?i)(?<![\w.-])([\w.-]{0,64}?(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|credential|"
    r"authorization|cookie|signature|\bsig|\bkey)[\w.-]{0,64}[\"']?\s{0,4}(?:[:=]|%3d)\s{0,4})"
    r"((?:bearer|basic)\s{1,4})?([\"']?)([^\s\"',;&}\])]{4,4096})"
)
# NB: a log may be hostile: every repetition is bounded, or begins where a word begins.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(-----END [A-Z ]{0,40}KEY-----|\Z)", re.DOTALL), REMOVED),
    (re.compile(r"(?i)\b(bearer|basic)\s{1,4}[\w.~+/=-]{6,4096}"), rf"\1 {REMOVED}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@'\"]{1,512}@"), rf"\1{REMOVED}@"),
    (re.compile(r"(?<![\w/:])(https?://[^\s?'\"]{1,2048})\?[^\s'\"]{1,8192}"), rf"\1?{REMOVED}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{5,4096}\.[\w-]{5,4096}(\.[\w-]{0,4096})?"), REMOVED),
    (re.compile(r"\b(hf|ghp|gho|ghs|ghu|glpat|github_pat|xox[a-z]|npm|pypi|dop_v1)[-_][\w-]{8,512}"), REMOVED),
    (re.compile(r"\b(sk|pk|rk|nvapi)[-_][\w-]{8,512}"), REMOVED),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,64}"), REMOVED),
    (re.compile(r"(--[\w-]{0,40}(?:password|token|key|secret)\s{1,4})[^\s]{4,4096}"), rf"\1{REMOVED}"),
    (re.compile(r"\bAIza[\w-]{30,64}"), REMOVED),
)
_NAMED = re.compile(_NAMED_VALUE)


def redact_text(text: str) -> str:
    """Returns text without what looks like a secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _NAMED.sub(_redact_named, text)


def _redact_named(found: re.Match[str]) -> str:
    value = found[4]
    if _is_figure(found[1], value) or value.startswith(REMOVED[:4]):
        return found[0]
    return f"{found[1]}{found[2] or ''}{found[3]}{REMOVED}"


def _is_figure(name: str, value: str) -> bool:
    return bool(_FIGURE.fullmatch(value)) and bool(_FIGURE_NAME.search(name))


def redact_object(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a Kubernetes object without what its writers remember of it, and without secrets."""
    found = _walk(obj)
    metadata = found.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    return dict(found)


def _walk(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        if name == "annotations":
            return {key: _redact_annotation(str(key), item) for key, item in value.items()}
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):
            rest = {key: _walk(item, str(key)) for key, item in value.items() if key != "value"}
            return {**rest, "value": _walk_named(value["name"], value["value"])}
        return {key: _walk_named(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return _walk_list(value)
    return redact_text(value) if isinstance(value, str) else value


def _walk_named(name: str, item: Any) -> Any:
    is_name = name.endswith(("Name", "Ref"))
    if isinstance(item, str) and _SECRET_NAME.search(name) and not is_name and not _is_figure(name, item):
        return REMOVED
    return _walk(item, name)


def _walk_list(items: Any) -> list[Any]:
    """Redacts a list; a command line may have the secret in the word behind its flag."""
    found: list[Any] = []
    flag = ""
    for item in items:
        found.append(_walk_named(flag, item))
        flag = item if isinstance(item, str) and item.startswith("-") and "=" not in item else ""
    return found


def _redact_annotation(name: str, value: Any) -> str:
    if name == "kubectl.kubernetes.io/last-applied-configuration":
        return REMOVED
    group = name.partition("/")[0] + "/"
    is_known = any(group == kept or group.endswith(f".{kept}") for kept in _KEPT_ANNOTATIONS)
    return redact_text(str(value)) if is_known and not _SECRET_NAME.search(name) else REMOVED
