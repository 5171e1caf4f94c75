"""A handler that prints what is hard to pass on."""

import logging
import os
import sys

print("at import")


def handler(event, context):
    print("héllo\nworld")
    os.write(1, b"\xff\xfe binary \x00\n")
    os.write(1, b"x" * 200_000 + b"\n")
    print("to stderr", file=sys.stderr)
    logging.getLogger().warning("logged")
    os.write(1, b"no end of line")
    os._exit(0)
