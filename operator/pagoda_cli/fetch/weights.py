"""Which files of a repository or folder belong to a model here: safetensors, JSON, templates and tokenizers.

A list of what is taken, never of what is refused: code and pickles run when they are loaded, and whatever a name
spells, only these are brought.
"""

import re

SUFFIXES = r"\.(safetensors|json|jinja|tiktoken)"
TOKENIZERS = r"(vocab|merges)\.txt|(tokenizer|spiece|sentencepiece\.bpe)\.model(\.v[0-9]{1,2})?"
WANTED = re.compile(rf"[^/]*[^/.][^/]*{SUFFIXES}|{TOKENIZERS}|additional_chat_templates/[^/]+\.jinja")
CONFIGURATION = frozenset({"config.json", "generation_config.json"})
"""What a server reads of a model before its weights."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def is_wanted(path: str) -> bool:
    """Returns whether to fetch `path`, relative to the model's folder. Weights in subfolders are never loaded."""
    return WANTED.fullmatch(path) is not None
