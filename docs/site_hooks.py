"""Shows pages from outside docs/ on the site, turns links between files of the repository into links of the site, and
writes llms.txt: a list of all pages for programs that read (llmstxt.org), each beside it as the Markdown it is made of.

Every page is written for a reader of the repository: its links are paths between files. A link to a file that the site
shows becomes a link of the site; one to another file becomes a link to it in the public repository; one to nothing is a
warning, which fails a strict build.
"""

import logging
import posixpath
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SOURCE_URL: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
OUTSIDE = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "bench/README.md": "project/benchmarks.md",
    "bench/RESULTS.md": "project/figures.md",
    "helm/pagoda/README.md": "reference/chart.md",
}
"""Pages outside docs/: the path in the repository, and the path on the site."""

_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_log = logging.getLogger("mkdocs.hooks.site")


def on_config(config: MkDocsConfig) -> None:
    """Names the public repository in the footer. NB: as `repo_url` each reader's browser would ask it for its stars."""
    config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": SOURCE_URL, "name": "Source"}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    for path, shown_at in OUTSIDE.items():
        files.append(File.generated(config, shown_at, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    shown = {_find_path(file): file.src_uri for file in files}
    here = _find_path(page.file)

    def replace(match: re.Match[str]) -> str:
        return f"]({_resolve(match['target'], here=here, shown_here=page.file.src_uri, shown=shown)})"

    parts = _CODE.split(markdown)
    return "".join(part if at % 2 else _LINK.sub(replace, part) for at, part in enumerate(parts))


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    config.extra["llms_sections"] = _list_sections(nav)


def on_post_build(config: MkDocsConfig) -> None:
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    for title, pages in config.extra["llms_sections"].items():
        lines += ["", f"## {title}", ""]
        for page in pages:
            target = Path(config.site_dir, page.file.src_uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(page.markdown)
            lines.append(f"- [{page.title}]({page.file.src_uri})")
    Path(config.site_dir, "llms.txt").write_text("\n".join([*lines, ""]))


def _list_sections(nav: Navigation) -> dict[str, list[Page]]:
    """Returns the pages under the titles of the navigation; those without one come first."""
    sections: dict[str, list[Page]] = {"Start": []}
    for item in nav.items:
        if isinstance(item, Page):
            sections["Start"].append(item)
        elif isinstance(item, Section):
            sections[item.title] = list(_walk_pages(item))
    return sections


def _walk_pages(section: Section) -> Iterator[Page]:
    for child in section.children:
        if isinstance(child, Page):
            yield child
        elif isinstance(child, Section):
            yield from _walk_pages(child)


def _find_path(file: File) -> str:
    """Returns where a file of the site lies in the repository."""
    return next((path for path, shown_at in OUTSIDE.items() if shown_at == file.src_uri), f"docs/{file.src_uri}")


def _resolve(target: str, *, here: str, shown_here: str, shown: dict[str, str]) -> str:
    if target.startswith("#") or re.match(r"[a-z]+:", target):
        return target
    path, mark, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(PurePosixPath(here).parent, path))
    if path in shown:
        return posixpath.relpath(shown[path], PurePosixPath(shown_here).parent) + mark + anchor
    if not (ROOT / path).exists():
        _log.warning("%s links to %s, and there is no %s", here, target, path)
    return f"{SOURCE_URL}/blob/main/{path}{mark}{anchor}"
