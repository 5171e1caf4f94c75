"""The lean client for hot calls: a signed JSON request in, the reply's bytes or an AwsError out."""

from __future__ import annotations

from poller.core.model import Instant, Seconds
from poller.errors import PollerError


class AwsError(PollerError):
    """A call that brought no result.

    `code`: AWS's error code without its namespace ("ProvisionedThroughputExceededException"), or
    what befell the connection.  `status`: the HTTP status; None when no reply came.
    `retry_after`: what the reply asked to wait, if it did.
    """

    code: str
    message: str
    status: int | None
    retry_after: Seconds | None

    @property
    def throttled(self) -> bool:
        """Whether AWS asks for fewer calls."""
        raise NotImplementedError

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later: the network, a 5xx, a throttle."""
        raise NotImplementedError


class JsonClient:
    """Calls one AWS service of the JSON protocols; `AwsSession.json_client` makes them."""

    @property
    def last_date(self) -> Instant | None:
        """The server's own time (its Date header) when it last replied; whole seconds."""
        raise NotImplementedError

    async def call(
        self, operation: str, body: bytes, *, timeout: float = 30.0, url: str | None = None
    ) -> bytes:
        """Call `operation` with the JSON `body` and return the reply's JSON.

        `url` replaces the service's endpoint for this call (a queue's own URL).  Raises AwsError;
        retries nothing but a signature that failed because of the clock.
        """
        raise NotImplementedError
