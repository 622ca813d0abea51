"""The page of notations is what the parsers say of themselves."""

import runpy
from pathlib import Path

GENERATOR = runpy.run_path(str(Path(__file__).parents[2] / "docs/reference/generate_tool_formats.py"))


def test_the_page_of_notations_is_what_its_generator_writes() -> None:
    written = GENERATOR["TARGET"].read_text(encoding="utf-8")
    assert written == GENERATOR["write_reference"](), "run: python docs/reference/generate_tool_formats.py"
