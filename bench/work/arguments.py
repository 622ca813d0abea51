"""The flags that every offline measurement shares."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.work.shapes import SHAPES
from bench.work.workload import PrefillPoint, parse_decode_point, parse_prefill_point

Point = TypeVar("Point")
SEQUENCE_TOKENS = 8192
"""Longest prompt and answer together that W1 and the decode points need."""


def add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=sorted(SHAPES), help="the shape that FOLDER holds")
    parser.add_argument("folder", type=Path, help="written by python -m bench model-dir")


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add_shape_arguments(parser)
    parser.add_argument("--lines", type=Path, help="append the figures to this file (default: print them)")
    return parser


def add_offline_arguments(
    parser: argparse.ArgumentParser, *, precisions: Sequence[str] = ("bf16",)
) -> argparse.ArgumentParser:
    add_model_arguments(parser)
    parser.add_argument("--precision", choices=precisions, default="bf16", help="fp8: weights and KV cache")
    parser.add_argument("--divide", type=int, nargs="*", default=[1], help="W1 with answers of 1/N (default: 1, all)")
    parser.add_argument("--repeats", type=int, default=3, help="samples; their median counts (default %(default)s)")
    return parser


def add_point_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the points of engines that measure more than W1."""
    for flag, parse, metavar, help_text in (
        ("--decode", argument_of(parse_decode_point), "BATCH,CONTEXT", "points of pure decode"),
        ("--prefill", argument_of(parse_prefill_point), "BATCH,LENGTH", "points of pure prefill"),
    ):
        parser.add_argument(flag, type=parse, nargs="*", default=[], metavar=metavar, help=help_text)
    return parser


def argument_of(parse: Callable[[str], Point]) -> Callable[[str], Point]:
    """Returns `parse` with its ValueError as argparse prints it."""

    def parse_argument(text: str) -> Point:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def choose_model_len(points: Sequence[PrefillPoint]) -> int:
    """Returns the tokens of the longest prompt and answer together."""
    return max([SEQUENCE_TOKENS, *(point.length for point in points)])
