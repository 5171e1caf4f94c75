"""The health check of the container: exit 0 if /healthz at POLLER_LISTEN answers 200.

Run by the image's HEALTHCHECK; it needs nothing but the standard library, and takes 50 ms.
"""

import http.client
import os
import sys

TIMEOUT = 5.0
DEFAULT = "127.0.0.1:9310"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main() -> str | None:
    """What is wrong, or None."""
    listen = os.environ.get("POLLER_LISTEN") or DEFAULT
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), int(port), TIMEOUT)
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        said = reply.read(1000).decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"poller does not answer on POLLER_LISTEN={listen}: {error}"
    return None if reply.status == 200 else said


if __name__ == "__main__":
    sys.exit(main())
