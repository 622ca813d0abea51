"""Writes the schema of a profile into the chart's values.schema.json: `python helm/generate_schema.py`.

A profile has fields of the resource, so its schema is made of the same models. A test fails when the file is not what
this writes.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pagoda_operator.api.profile import Profile

TARGET = Path(__file__).parent / "pagoda" / "values.schema.json"


def build_definitions() -> dict[str, Any]:
    """Returns the schemas that `#/definitions/Profile` and those below it name."""
    schema = Profile.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    inner = schema.pop("$defs")
    return {"Profile": schema, **inner}


def write_schema(text: str) -> str:
    return json.dumps(json.loads(text) | {"definitions": build_definitions()}, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(write_schema(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
