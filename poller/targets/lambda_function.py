"""A function in AWS, or behind anything else with Lambda's Invoke API (contract: `lambda`)."""

from __future__ import annotations

from poller.aws.failures import AwsError
from poller.aws.invoke import InvokeClient
from poller.core.model import Seconds
from poller.interfaces import Invocation, Reply
from poller.wire.arns import FunctionReference

from .lambda_replies import read_answer, read_refusal

# A cold start, of up to ten seconds, and the way there and back do not count as running.
MARGIN: Seconds = 15.0

_HEADERS = (
    ("Content-Type", "application/json"),
    ("X-Amz-Invocation-Type", "RequestResponse"),
)


class LambdaFunction:
    """A Target that calls Invoke, once for each invocation.

    `timeout`: what the function may take at most; an answer is awaited for `margin` beyond it.
    """

    def __init__(
        self,
        client: InvokeClient,
        function: FunctionReference,
        *,
        timeout: Seconds,
        margin: Seconds = MARGIN,
    ) -> None:
        self._client = client
        self._to = client.route(function)
        self._timeout = timeout
        self._patience = timeout + margin

    async def invoke(self, invocation: Invocation) -> Reply:
        headers = [*_HEADERS, ("X-Amz-Log-Type", "Tail" if invocation.log_tail else "None")]
        if invocation.client_context:
            headers.append(("X-Amz-Client-Context", invocation.client_context))
        try:
            reply = await self._client.invoke(
                self._to,
                invocation.event,
                headers,
                invocation.trace_id,
                timeout=self._patience,
            )
        except AwsError as error:
            return read_refusal(error, self._timeout)
        return read_answer(reply)
