"""Measures, and keeps, renders and draws the figures: `python -m bench COMMAND [...]`."""

import argparse
import sys

from bench.commands import COMMANDS, GROUPS


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    command = COMMANDS[build_parser().parse_args(words[:1]).command]
    try:
        return command.run(words[1:])
    except (ValueError, OSError, RuntimeError) as error:
        if not command.explains_errors:
            raise
        print(f"python -m bench {command.name}: {error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's name; each command parses what follows it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        usage="python -m bench COMMAND [...]",
        description=__doc__,
        epilog=f"{list_commands()}\n\n`python -m bench COMMAND --help` tells a command's flags.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


def list_commands() -> str:
    """Returns a line per command, below the question of its group."""
    width = max(map(len, COMMANDS))
    lines = [
        f"{question}\n" + "\n".join(f"  {command.name:<{width}}  {command.summary}" for command in group)
        for question, group in GROUPS.items()
    ]
    return "\n\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
