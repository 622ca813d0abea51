#!/usr/bin/env python3
"""throwaway_module.py MODULE VERSION FOLDER: writes a Go module that requires another one at an exact version.

It has the other one's replace and exclude blocks and its go.sum, so that it builds what the other one builds.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def read_json(*command: str) -> Any:
    return json.loads(subprocess.check_output(command))


def build_go_mod(module: str, version: str, theirs: dict[str, Any]) -> str:
    lines = ["module build/x", f"go {theirs.get('Go', '1.24')}", f"require {module} {version}"]
    for replace in theirs.get("Replace") or []:
        old, new = replace["Old"], replace["New"]
        lines.append(f"replace {old['Path']} {old.get('Version', '')} => {new['Path']} {new.get('Version', '')}")
    lines += [f"exclude {exclude['Path']} {exclude['Version']}" for exclude in theirs.get("Exclude") or []]
    return "\n\n".join(lines) + "\n"


def main(module: str, version: str, folder: str) -> None:
    download = read_json("go", "mod", "download", "-json", f"{module}@{version}")
    theirs = read_json("go", "mod", "edit", "-json", download["GoMod"])
    Path(folder, "go.mod").write_text(build_go_mod(module, version, theirs))
    sums = Path(download["Dir"], "go.sum")
    if sums.exists():
        shutil.copyfile(sums, Path(folder, "go.sum"))


if __name__ == "__main__":
    main(*sys.argv[1:])
