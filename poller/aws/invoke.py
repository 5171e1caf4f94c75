"""The lean client for Lambda's Invoke: connections of its own, because invocations take long."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import quote

from poller.core.model import Instant, Seconds
from poller.transport.http1 import HttpReply
from poller.wire.arns import FunctionReference

from .credentials import CredentialSource
from .signed import Call, Headers, SignedClient, request
from .signing import Credentials, Route, Signer

SERVICE = "lambda"


class InvokeClient(SignedClient):
    """Calls Invoke; `AwsSession.invoke_client` makes and closes it.

    Each invocation has a connection to itself while it runs, so callers bound how many there are.
    """

    def __init__(
        self,
        to: Route,
        region: str,
        credentials: CredentialSource,
        *,
        tls: Callable[[], ssl.SSLContext],
        wall_clock: Callable[[], Instant],
    ) -> None:
        super().__init__(to, credentials, tls=tls, wall_clock=wall_clock, connections_max=None)
        self._signer = Signer(SERVICE, region)

    def route(self, function: FunctionReference) -> Route:
        """Where `function` is invoked."""
        name, qualifier = function.text, function.qualifier
        if qualifier is not None:
            name = name.removesuffix(f":{qualifier}")
        path = f"/2015-03-31/functions/{quote(name, safe='')}/invocations"
        return self._to.below(path, () if qualifier is None else [("Qualifier", qualifier)])

    async def invoke(
        self, to: Route, event: bytes, headers: Headers, trace_id: str, *, timeout: Seconds
    ) -> HttpReply:
        """The reply with status 200, of a function that ran or failed.  Raises AwsError.

        `headers` are signed; the trace id is not, since what is on the way may change it.
        """

        def sign(credentials: Credentials, at: Instant) -> Headers:
            signed = self._signer.sign(credentials, at, to, event, headers)
            return [*signed, ("X-Amzn-Trace-Id", trace_id)]

        call = Call(f"{SERVICE} Invoke at {to.origin}", to, event, sign, timeout)
        return await self._succeed(call, request)
