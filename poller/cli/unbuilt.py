"""Options that are named but not built yet: each is refused in one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

RUN_OPTIONS: dict[str, str | None] = {"--reload": None}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    for name, value in RUN_OPTIONS.items():
        takes: dict[str, Any] = {"nargs": 0} if value is None else {"metavar": value}
        parser.add_argument(name, action=_Refused, help="not built yet", **takes)


class _Refused(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is not built yet")
