"""`python -m updaters`: draw what a config has scheduled, from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import updaters


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give the exit status: 0, or 1 where a file or a config is at fault."""
    options = _parser().parse_args(arguments)
    try:
        what = updaters.from_config(_json(options.config))
        _draw(what, options)
    except (ArithmeticError, ImportError, OSError, TypeError, ValueError) as error:
        print("; ".join([f"python -m updaters: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m updaters", description="Stateful optimizers for NumPy and CuPy arrays.")
    parser.add_argument("--version", action="version", version=updaters.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="plot")
    plot = commands.add_parser(
        "plot",
        help="draw what a config has scheduled",
        description="Draw the learning rate, the momentum and all else that an optimizer or a schedule has scheduled. "
        "The config is what updaters.to_config gives, as JSON.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    plot.add_argument("config", metavar="CONFIG.json", help="the config's file, or - for standard input")
    plot.add_argument(
        "picture",
        nargs="?",
        default=argparse.SUPPRESS,
        metavar="OUT.png",
        help="the picture's file, .png, .svg or .pdf, which needs matplotlib; without it there is a sketch in the terminal",
    )
    plot.add_argument("--epochs", type=_count, default=100, metavar="N", help="epochs of the run")
    plot.add_argument("--batches-per-epoch", type=_count, default=1, metavar="N", help="updates in each")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def _json(name: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{'standard input' if name == '-' else name} is no JSON: {error}") from error


def _draw(what: Any, options: argparse.Namespace) -> None:
    run = {"epochs": options.epochs, "batches_per_epoch": options.batches_per_epoch}
    if "picture" in options:
        updaters.plot(what, **run, path=options.picture)
    else:
        print(updaters.sketch(what, **run))


if __name__ == "__main__":
    sys.exit(main())
