"""Real functions behind a real Invoke API."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from poller.aws.sessions import AwsSession, AwsSettings
from poller.interfaces import Errored, Invocation, NotReached, Ran, Reply
from poller.targets.lambda_function import LambdaFunction
from poller.wire.arns import parse_function
from tests.lambda_functions import new_function
from tests.servers import aws

CODE = """
import time

def handler(event, context):
    print("hello from the function")
    if event.get("do") == "raise":
        raise KeyError("no such order")
    if event.get("do") == "sleep":
        time.sleep(30)
    return {"got": event, "arn": context.invoked_function_arn}
"""


@pytest.fixture(scope="module")
def name(ministack_url: str) -> str:
    """A function with a version and an alias."""
    name = new_function(ministack_url, CODE, timeout=1)
    client = aws("lambda", ministack_url)
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    return name


async def invoked(url: str, function: str, event: Any, **more: Any) -> Reply:
    settings = AwsSettings(region="us-east-1", endpoint_url=url)
    sent = Invocation(json.dumps(event).encode(), str(uuid.uuid4()), "arn", "Root=1-5-6", **more)
    async with AwsSession(settings) as session:
        target = LambdaFunction(session.invoke_client(), parse_function(function), timeout=10)
        return await target.invoke(sent)


@pytest.mark.parametrize("form", ["{}", "{}:live", "{}:1", "{}:$LATEST"])
async def test_a_function_runs_however_it_is_named(
    ministack_url: str, name: str, form: str
) -> None:
    arn = aws("lambda", ministack_url).get_function(FunctionName=name)
    whole = arn["Configuration"]["FunctionArn"].removesuffix(f":{name}")

    for function in (form.format(name), form.format(f"{whole}:{name}")):
        reply = await invoked(ministack_url, function, {"a": "ä"})

        assert isinstance(reply, Ran), reply
        assert json.loads(reply.body)["got"] == {"a": "ä"}


async def test_a_function_that_raises_or_runs_too_long_has_failed(
    ministack_url: str, name: str
) -> None:
    raised = await invoked(ministack_url, name, {"do": "raise"}, log_tail=True)
    late = await invoked(ministack_url, name, {"do": "sleep"})

    assert isinstance(raised, Errored)
    assert (raised.message, raised.function_error) == ("'no such order'", "Unhandled")
    assert json.loads(raised.payload)["errorMessage"] == raised.message
    assert b"hello from the function" in raised.log
    assert isinstance(late, Errored)
    assert "Task timed out after 1.00 seconds" in late.message


async def test_a_function_that_is_not_there_was_not_reached(ministack_url: str, name: str) -> None:
    reply = await invoked(ministack_url, f"{name}-gone", {})

    assert isinstance(reply, NotReached)
    assert "ResourceNotFoundException" in reply.why
