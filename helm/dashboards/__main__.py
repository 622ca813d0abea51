"""Writes the dashboards: `python -m helm.dashboards [DIRECTORY]`, by default into the chart."""

import json
import sys
from pathlib import Path

from helm.dashboards import fleet, model, operator_board

BOARDS = {"fleet": fleet.build, "model": model.build, "operator": operator_board.build}
CHART = Path(__file__).parents[1] / "pagoda" / "dashboards"


def write_dashboards(directory: Path) -> None:
    for name, build in BOARDS.items():
        (directory / f"{name}.json").write_text(json.dumps(build(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_dashboards(Path(sys.argv[1]) if len(sys.argv) > 1 else CHART)
