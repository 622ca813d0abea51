"""Takes figures measured elsewhere into results.json, and writes RESULTS.md anew: `python -m bench merge`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.report.measurement import read_lines
from bench.report.results import format_rows, merge, parse_rows, render, render_touched

RESULTS = Path(__file__).parents[1] / "results.json"


def add_results_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: %(default)s")


def merge_files(results: Path, files: Sequence[Path]) -> None:
    """Writes `results` and the RESULTS.md beside it, and prints the table of the rows that changed."""
    measurements = [each for path in files for each in read_lines(path.read_text().splitlines())]
    rows = merge(parse_rows(results.read_text()) if results.exists() else [], measurements)
    results.write_text(format_rows(rows))
    (results.parent / "RESULTS.md").write_text(render(rows))
    if measurements:
        print(render_touched(rows, measurements))
    print(f"{results}: {len(rows)} rows")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench merge", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="LINES", help="files that `run --lines` wrote")
    add_results_argument(parser)
    args = parser.parse_args(argv)
    merge_files(args.results, args.files)
    return 0
