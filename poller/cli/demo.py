"""`poller demo`: shows the whole thing on one machine."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import seconds


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="see everything work on this machine, with nothing to configure",
        description="An embedded AWS-compatible server, a Kinesis stream, a DynamoDB table, a "
        "standard and a FIFO queue, a function that sometimes fails, and a producer. Stops on "
        "Ctrl-C and exits 0 if nothing is missing.",
    )
    parser.add_argument(
        "--for", dest="for_seconds", metavar="SECONDS", type=seconds, help="how long to produce"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: a free port of 127.0.0.1")
    # The function fails on purpose; the table counts what the log would tell at length.
    parser.set_defaults(run=run, log_level="error")


def run(options: argparse.Namespace) -> int:
    import anyio  # noqa: PLC0415 - what other commands need nothing of

    from poller.demo.show import show  # noqa: PLC0415 - its dependencies are the demo's own

    return 0 if anyio.run(show, options.for_seconds, options.listen) else 1
