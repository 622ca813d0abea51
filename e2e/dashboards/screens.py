"""Takes pictures of the tool's screens: real commands at a terminal of their own, drawn as SVG.

The SVG names a monospaced font and loads none: a page that shows it asks no other host.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.controlplane.plane import ROOT, ControlPlane

COLUMNS, LINES = 104, 60
CHARACTER_WIDTH_RATIO = 0.61
"""The width of a character to its height in a monospaced font, as rich counts on it."""
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """A command, and a word that its screen is there to show."""

    name: str
    command: tuple[str, ...]
    shows: str


SCREENS = (
    Screen("status", ("status", "-A"), "mixtral"),
    Screen("status-model", ("status", "llama", "-n", "chat"), "CONDITION"),
    Screen("why", ("why", "mixtral", "-n", "search"), "Unschedulable"),
    Screen("run", ("run", "examples/quickstart.yaml", "--ask", "What is a pod?", "--once"), "Stopped"),
    Screen("bench", ("bench", "bundled://pagoda-tiny", "--duration", "10s"), "Time to the first token"),
    Screen("capacity", ("capacity", "--users", "10000", "--model", "llama-3.1-8b", "--precision", "fp8"), "replicas"),
)


def take(plane: ControlPlane, screen: Screen) -> str:
    """Runs the command at a terminal and returns what it wrote there."""
    environ = {
        **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'server_image'}",
        "KUBECONFIG": str(plane.folder / "pki" / "admin.kubeconfig"),
        "TERM": "xterm-256color",
        "PYTHONWARNINGS": "ignore",
    }
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "pagoda_cli.main", *screen.command]
    process = plane.start(command, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    process.wait()
    return written.decode()


def _read(terminal: int) -> bytes:
    """NB: a terminal whose last writer has gone is an error, not an end."""
    with suppress(OSError):
        return os.read(terminal, 65536)
    return b""


def show(written: str) -> Text:
    """Returns what stays on the screen: a line that was written over again shows its last text."""
    return Text.from_ansi("\n".join(map(_last_text, written.split("\n"))).strip("\n"))


def _last_text(line: str) -> str:
    text = re.split(r"\r|\x1b\[2?K", line.rstrip("\r"))[-1]
    while "\b" in text:
        text = re.sub(r"[^\b]\x08", "", text, count=1)
    return text


def draw_screen(screen: Screen, written: str, svg: Path) -> None:
    """Writes the picture, with the command as its title."""
    console = Console(file=StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(show(written), overflow="fold")
    title = " ".join(["$ pagoda", *map(_quote, screen.command)])
    drawn = console.export_svg(
        title=title,
        theme=MONOKAI,
        code_format=FRAME,
        font_aspect_ratio=CHARACTER_WIDTH_RATIO,
        unique_id=screen.name,
    )
    svg.write_text(drawn, encoding="utf-8")


def _quote(word: str) -> str:
    return f'"{word}"' if " " in word else word
