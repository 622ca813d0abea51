import re
import subprocess
from pathlib import Path

import pytest

from e2e.pages.page import LANGUAGES, build_command, build_script, read_blocks

ROOT = Path(__file__).parents[4]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGE = """# A title

Some words.

## Do it

```bash
echo one   # two
false <<'X'
X
```

1. In a list:

    <!-- not run: never ends -->
    ```bash
    sleep inf
      deeper
    ```

```
echo shown
```
"""


def test_blocks_are_read_in_order_with_heading_and_line_and_without_the_indent_of_a_list() -> None:
    first, second, third = read_blocks(PAGE)
    assert (first.line, first.heading, first.language) == (7, "Do it", "bash")
    assert first.text == "echo one   # two\nfalse <<'X'\nX"
    assert second.text == "sleep inf\n  deeper"
    assert third.language == ""


def test_a_reason_is_of_the_next_block_only() -> None:
    assert [block.reason for block in read_blocks(PAGE)] == ["", "never ends", ""]
    apart = "<!-- not run: never ends -->\n\nWords between.\n\n```bash\ntrue\n```\n"
    assert [block.is_run for block in read_blocks(apart)] == [True]


def test_a_reason_under_the_title_is_of_all_blocks_with_names_of_the_readers_own() -> None:
    blocks = "\n".join(f"```{language}\nget NAME\n```\n" for language in ("sh", "bash", "sh"))
    page = f"# T\n\n<!-- not run: yours -->\n\nWords.\n\n{blocks}"
    assert [block.reason for block in read_blocks(page)] == ["yours", "", "yours"]


def run(page: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = build_script("page.md", read_blocks(page))
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=cwd, check=False)


def test_blocks_share_one_shell_and_what_they_leave_running_ends_with_it(tmp_path: Path) -> None:
    done = run(
        "```bash\nname=fox\nsleep 600 >/dev/null 2>&1 &\n```\n\n```bash\necho a $name; echo $! >pid\n```\n", tmp_path
    )
    assert done.returncode == 0
    assert done.stdout.endswith("a fox\n")
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_the_first_command_that_fails_ends_the_page_and_is_told(tmp_path: Path) -> None:
    done = run("# T\n```bash\nls no-such-file | cat\n```\n\n```bash\necho later\n```\n", tmp_path)
    assert done.returncode != 0
    assert "== page.md:2 T\nls no-such-file | cat\n--" in done.stdout
    assert "later" not in done.stdout


@pytest.mark.parametrize(
    ("yaml", "wanted"),
    [
        ("apiVersion: v1\nkind: Secret", ("kubectl apply --dry-run=server", "apiVersion: v1\nkind: Secret")),
        (
            "spec: {replicas: 2}",
            ("kubectl apply --dry-run=server", '"model": {"uri": "bundled://pagoda-tiny"}, "replicas": 2'),
        ),
        ("watchNamespaces: [a]", ("helm template pagoda helm/pagoda --values -", "watchNamespaces: [a]")),
    ],
)
def test_yaml_is_held_against_what_would_take_it(yaml: str, wanted: tuple[str, str]) -> None:
    (block,) = read_blocks(f"```yaml\n{yaml}\n```\n")
    command, _, fed = build_command(block).partition(" <<")
    assert wanted[0] in command
    assert wanted[1] in fed


@pytest.mark.parametrize("page", DOCS)
def test_each_block_of_the_documentation_is_run_or_says_why_not(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = read_blocks(text)
    assert text.count("```") >= 2 * len(blocks)
    assert [f"{page}:{block.line}" for block in blocks if block.language not in LANGUAGES] == []
    silent = [f"{page}:{block.line}" for block in blocks if block.language == "sh" and not block.reason]
    assert silent == [], "make it `bash`, which runs as it stands, or put `<!-- not run: REASON -->` before it"
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ {4}(?:kubectl|helm|pagoda|make|python|curl) .*", outside, re.MULTILINE) == [], "use a fence"


def test_a_longer_fence_ends_only_at_its_like() -> None:
    (block,) = read_blocks("````text\n```json\n{}\n```\n````\n")
    assert (block.language, block.text) == ("text", "```json\n{}\n```")
