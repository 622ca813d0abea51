"""The support bundle's file: a tar.gz whose members are redacted as they go in, and bounded."""

import io
import json
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pagoda_cli.bundle.redaction import redact_object, redact_text

MAX_MEMBER_CHARACTERS = 512 * 1024
MAX_BUNDLE_CHARACTERS = 64 * 1024 * 1024


class Archive:
    """Members by name. What is full says so in the member's place."""

    def __init__(self, root: str, at: datetime) -> None:
        self._root, self._at = root, at
        self._members: dict[str, bytes] = {}
        self._left = MAX_BUNDLE_CHARACTERS

    @property
    def names(self) -> list[str]:
        return sorted(self._members)

    def add_text(self, name: str, text: str) -> None:
        """Adds text, its end where it is too long: the end of a log is what matters."""
        clean = redact_text(text)
        limit = min(MAX_MEMBER_CHARACTERS, self._left)
        kept = clean if len(clean) <= limit else f"[{len(clean) - limit} characters left out]\n{clean[-limit:]}"
        self._left = max(0, self._left - len(kept))
        self._members[name] = kept.encode("utf-8", "replace")

    def add_object(self, name: str, obj: Mapping[str, Any]) -> None:
        text = json.dumps(redact_object(obj), indent=1, ensure_ascii=False, default=str)
        self._left = max(0, self._left - len(text))
        self._members[name] = text.encode("utf-8", "replace")

    def add_objects(self, name: str, objects: Any) -> None:
        self.add_object(name, {"items": [redact_object(obj) for obj in objects]})

    def write(self, path: Path) -> int:
        """Writes the file, for its owner alone, and returns its size. Raises OSError, also where there is one."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in self.names:
                info = tarfile.TarInfo(f"{self._root}/{name}")
                info.size, info.mtime, info.mode = len(self._members[name]), int(self._at.timestamp()), 0o600
                tar.addfile(info, io.BytesIO(self._members[name]))
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(buffer.getvalue())
        return len(buffer.getvalue())
