"""Pictures of the tool's screens: they show what stays on a terminal, and a page with them asks no other host."""

import html
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from e2e.dashboards.screens import SCREENS, Screen, draw_screen, show

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "docs" / "images" / "tool"
LOADED = re.compile(r"""url\((?!#)|@import|@font-face|href=""")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("loading 1 s\r\x1b[2Kloading 2 s\r\n", "loading 2 s"),
        ("1 request\r\x1b[K2 requests\r\x1b[Kdone\r\n", "done"),
        ("runs on a nod\b\b\b   \r\nnode.\r\n", "runs on a    \nnode."),
        ("\x1b[32mReady\x1b[0m\r\n", "Ready"),
    ],
)
def test_what_was_written_over_is_not_shown(written: str, shown: str) -> None:
    assert show(written).plain == shown


def test_a_screen_keeps_its_colours_and_has_its_command_as_title(tmp_path: Path) -> None:
    draw_screen(Screen("one", ("run", "--ask", "What is it?"), "Ready"), "\x1b[32mReady\x1b[0m\r\n", tmp_path / "svg")
    drawn = (tmp_path / "svg").read_text(encoding="utf-8")
    assert '$ pagoda run --ask "What is it?"' in html.unescape(drawn).replace("\xa0", " ")
    (style,) = re.findall(r'class="one-(r\d+)"[^>]*>Ready<', drawn)
    red, green, blue = re.findall(rf"\.one-{style} {{ fill: #(..)(..)(..)", drawn)[0]
    assert int(green, 16) > max(int(red, 16), int(blue, 16))


def test_each_screen_has_its_picture() -> None:
    assert {path.stem for path in TOOL.iterdir()} == {screen.name for screen in SCREENS}


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_picture_is_one_file_that_loads_nothing(screen: Screen) -> None:
    text = (TOOL / f"{screen.name}.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert not LOADED.findall(text)


@pytest.mark.parametrize("name", [f"tool/{screen.name}.svg" for screen in SCREENS])
def test_each_picture_is_shown_by_a_page_and_said_in_words(name: str) -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    alts = [alt for page in pages for alt in re.findall(rf"!\[([^\]]*)\]\([^)]*{name}\)", page.read_text())]
    assert alts and all(len(alt.split()) >= 5 for alt in alts)
