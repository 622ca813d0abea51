"""What a server says of its settings, in the words of the file: `max_model_len` is `engine.maxModelLen` there."""

import re

from pagoda_operator.api.spec import Engine

FIELDS = {name: f"engine.{field.alias or name}" for name, field in Engine.model_fields.items()}
LONG = re.compile(r"\b(" + "|".join(name for name in FIELDS if "_" in name) + r")\b")
SHORT = re.compile(r"\A(" + "|".join(name for name in FIELDS if "_" not in name) + r")\b(?= is\b)")
"""NB: these are also words of the language, and fields of a model's own config.json."""
SPEAKER = re.compile(r"\A((engine|front \d+) ended with exit code \d+: |pagoda_\w+ [\w-]+: )+")


def put_in_yaml_words(text: str) -> str:
    """Returns a program's reason without its own name, and with the file's names of fields."""
    text = SPEAKER.sub("", text)
    text = LONG.sub(lambda found: FIELDS[found.group()], text)
    return SHORT.sub(lambda found: FIELDS[found.group()], text)
