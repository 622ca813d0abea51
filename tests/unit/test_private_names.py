"""No package reaches for what another one keeps to itself: an upgrade of a dependency may move that without a word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for top in ("operator", "server_image") for path in ROOT.glob(f"{top}/*/__init__.py"))
WITHOUT_A_PUBLIC_NAME = {
    "aiohttp.web_protocol._ErrInfo",
    "os._exit",
    "torch._scaled_mm",
    "torch.distributed._symmetric_memory",
    "torch.distributed.distributed_c10d._abort_process_group",
}
"""What their own documentation, or nothing public, offers for the purpose."""
PRIVATE = re.compile(r"(\w+\.)+_(?!_)\w+")


def find_private_names(source: str) -> Iterator[str]:
    """Yields each dotted private name of an imported module, also where it is only spelled, as a logger's name is."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {
                a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                for a in node.names
            }
            yield from _private(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            yield from _private(f"{node.module}.{a.name}" for a in node.names)
    roots = {name.partition(".")[0] for name in modules.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            yield from _private(filter(None, [_full_name(node, modules)]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.partition(".")[0] in roots:
            yield from _private([node.value])


def _private(names: Iterator[str] | list[str]) -> Iterator[str]:
    return (found[0] for name in names if (found := PRIVATE.match(name)))


def _full_name(node: ast.expr, modules: dict[str, str]) -> str | None:
    if isinstance(node, ast.Attribute):
        base = _full_name(node.value, modules)
        return f"{base}.{node.attr}" if base else None
    return modules.get(node.id) if isinstance(node, ast.Name) else None


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_reaches_for_private_names_of_another_package(package: Path) -> None:
    found = {
        name
        for path in package.rglob("*.py")
        for name in find_private_names(path.read_text())
        if not name.startswith(f"{package.name}.")
    }
    assert found <= WITHOUT_A_PUBLIC_NAME


@pytest.mark.parametrize(
    "source",
    [
        "import kopf\nkopf._cogs.clients.errors.APIError",
        "import kopf as k\nk._cogs",
        "from kopf import _cogs",
        "from kopf._cogs.clients import errors",
        "import kopf._cogs",
        "import kopf\nlogging.getLogger('kopf._core.reactor.running')",
    ],
)
def test_a_private_name_is_found_however_it_is_reached(source: str) -> None:
    assert any(name.startswith("kopf._co") for name in find_private_names(source))


@pytest.mark.parametrize("source", ["import kopf\nkopf.__version__", "class A:\n  def f(self): return self._x"])
def test_a_public_name_and_ones_own_are_no_find(source: str) -> None:
    assert not list(find_private_names(source))
