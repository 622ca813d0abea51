"""Kernels that were compiled before the server started: a folder beside this module, which an image is built with.

Triton finds a compiled kernel by a hash of all that makes it (source, constants, types, alignments, target, compiler),
so a shipped one is what would be compiled here, or it is not found. The folder is only read. What is not in it is
compiled at first use, said in the log, and kept in Triton's own folder (TRITON_CACHE_DIR).
"""

import json
import logging
from pathlib import Path
from typing import Any

from triton import knobs
from triton.runtime.cache import FileCacheManager

log = logging.getLogger(__name__)
SHIPPED = Path(__file__).parent / "compiled"


class ShippedCache(FileCacheManager):  # type: ignore[misc]
    """Triton's cache of one kernel, or of one launch stub: its own folder first, then the shipped one."""

    folder = SHIPPED

    def get_file(self, filename: str) -> str | None:
        own: str | None = super().get_file(filename)
        shipped = self.folder / self.key / filename
        return str(shipped) if own is None and shipped.exists() else own

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Finds a group by the names of its files: their paths are those of the machine that compiled them."""
        listing = self.get_file(f"__grp__{filename}")
        if listing is None:
            return None
        names = json.loads(Path(listing).read_text())["child_paths"]
        return {name: path for name in names if (path := self.get_file(name)) is not None}


def use_shipped_kernels() -> None:
    """Lets this process use them from now on."""
    knobs.cache.manager_class = ShippedCache
    knobs.compilation.listener = _log_compilation


def _log_compilation(*, src: Any, metadata: Any, metadata_group: Any, times: Any, cache_hit: bool) -> None:
    if not cache_hit:
        log.info("kernel compiled at first use kernel=%s seconds=%.2f", src.name, times.total / 1e6)
