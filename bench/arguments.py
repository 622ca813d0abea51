"""The flags that every offline measurement shares."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.shapes import SHAPES
from bench.workload import DecodePoint, parse_decode_point


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("model", choices=sorted(SHAPES), help="the shape that FOLDER holds")
    parser.add_argument("folder", type=Path, help="written by python -m bench.model_dir")
    parser.add_argument("--lines", type=Path, help="append the figures to this file (default: print them)")
    return parser


def add_offline_arguments(
    parser: argparse.ArgumentParser, *, precisions: Sequence[str] = ("bf16",)
) -> argparse.ArgumentParser:
    add_model_arguments(parser)
    parser.add_argument("--precision", choices=precisions, default="bf16", help="fp8: weights and KV cache")
    parser.add_argument("--divide", type=int, nargs="*", default=[1], help="W1 with answers of 1/N (default: 1, all)")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each W1; the best counts (default %(default)s)")
    parser.add_argument(
        "--decode", type=decode_point, nargs="*", default=[], metavar="BATCH,CONTEXT", help="points of pure decode"
    )
    return parser


def decode_point(text: str) -> DecodePoint:
    try:
        return parse_decode_point(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
