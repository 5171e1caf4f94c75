"""`poller check CONFIG`: what is wrong with a config file, without running it."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from poller.errors import InvalidConfig

OK = 0
WRONG_CONFIG = 2


def add_parser(subparsers: _SubParsersAction[Any], common: ArgumentParser) -> None:
    """Add the command with the options of `common`; `run` carries it out."""
    parser = subparsers.add_parser(
        "check",
        parents=[common],
        help="check a config file without running it and without the network",
        description="Prints each problem as FILE:LINE: PATH: what is wrong; what would be right.",
    )
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a YAML or JSON file")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Check `args.config` and say what came of it; the exit code."""
    from poller.settings import load  # noqa: PLC0415 - what other commands need nothing of

    try:
        settings = load(args.config, os.environ, now=time.time())
    except InvalidConfig as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIG
    functions = _count(len(settings.functions), "function")
    mappings = _count(len(settings.mappings), "mapping")
    print(f"{args.config}: ok, {functions}, {mappings}")
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
