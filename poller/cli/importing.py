"""`poller import --function NAME`: prints a config made from mappings that are somewhere else."""

from __future__ import annotations

import argparse
import time
from typing import Any


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "import",
        parents=[common],
        help="print a config made from the mappings of an account or emulator",
        description="Prints a config made from the event source mappings of functions in an "
        "account or an emulator. What does not work here is a comment that says why.",
    )
    parser.add_argument(
        "--function",
        metavar="NAME",
        action="append",
        required=True,
        help="a name, NAME:ALIAS or ARN; may be repeated",
    )
    parser.add_argument("--region", metavar="REGION", help="default: as for any AWS tool")
    parser.add_argument(
        "--endpoint-url", metavar="URL", type=_url, help="of an emulator, or of a poller"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Raises PollerError, also where there are no mappings."""
    import anyio  # noqa: PLC0415 - what other commands need nothing of

    from poller.service.inventory import take_inventory  # noqa: PLC0415
    from poller.settings.exporting import write_config  # noqa: PLC0415

    async def take() -> str:
        export = await take_inventory(
            options.function,
            region=options.region,
            endpoint_url=options.endpoint_url,
            now=time.time(),
        )
        return write_config(export)

    print(anyio.run(take), end="")
    return 0


def _url(text: str) -> str:
    from poller.settings.addresses import parse_url  # noqa: PLC0415 - as above

    try:
        return parse_url(text, user_allowed=False)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
