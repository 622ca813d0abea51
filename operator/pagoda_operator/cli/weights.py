"""Which files of a repository or folder belong to a model here: safetensors, JSON, templates and tokenizers.

Never code, and never a pickle: loading one runs what is in it.
"""

from fnmatch import fnmatch

WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer*")
REFUSED = ("*.py", "*.bin", "*.pt", "*.pth", "*.pkl", "*.onnx", "original/*", "onnx/*")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def is_wanted(path: str) -> bool:
    return _matches(path, WANTED) and not _matches(path, REFUSED)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
