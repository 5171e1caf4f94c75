"""The API under other clients than boto3: aiobotocore, and the AWS CLI as AWS documents it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from tests.functions import function
from tests.outside.lambda_api import (
    NOBODY,
    NOT_FOUND,
    REGION,
    await_gone,
    await_state,
    function_arn,
    mapping_arn,
    queue_mapping,
    stream_mapping,
    told,
)
from tests.outside.poller_process import Running, poller
from tests.servers import aws, new_queue, new_stream
from tests.waiting import TIMEOUT

COMMAND_TIMEOUT = 60.0
REFUSED = 255  # the exit code of version 1, which PyPI has; version 2 exits with 254


@pytest.fixture(scope="module")
def running(ministack_url: str) -> Iterator[Running]:
    with function() as stub:
        config = {
            "aws": {"endpoint_url": ministack_url, "region": REGION},
            "functions": {
                "my-function": {"url": stub.url},
                "my-function:BLUE": {"url": stub.url},
                "orders": {"url": stub.url},
            },
        }
        with poller(config) as running:
            yield running
            assert "Traceback" not in running.log()
            running.kill()


async def test_aiobotocore_makes_shows_changes_lists_and_deletes(
    running: Running, ministack_url: str
) -> None:
    stream = new_stream(ministack_url)
    async with get_session().create_client(
        "lambda", endpoint_url=running.address, region_name=REGION
    ) as client:
        reply = await client.create_event_source_mapping(
            EventSourceArn=stream.arn,
            FunctionName="orders",
            StartingPosition="TRIM_HORIZON",
            Tags={"team": "orders"},
        )
        made = told(reply, 202)
        assert made == stream_mapping(made, stream.arn, "orders", State="Creating")
        uuid = made["UUID"]

        async def enabled() -> dict[str, Any]:
            async with asyncio.timeout(TIMEOUT):
                while (found := await client.get_event_source_mapping(UUID=uuid))["State"] != (
                    "Enabled"
                ):
                    pass
            return told(found, 200)

        assert await enabled() == {**made, "State": "Enabled"}
        changed = told(await client.update_event_source_mapping(UUID=uuid, BatchSize=5), 202)
        assert (changed["State"], changed["BatchSize"]) == ("Updating", 5)
        found: list[Any] = []
        async for page in client.get_paginator("list_event_source_mappings").paginate(
            EventSourceArn=stream.arn
        ):
            found += page["EventSourceMappings"]
        assert [each["UUID"] for each in found] == [uuid]
        tags = await client.list_tags(Resource=mapping_arn(uuid))
        assert told(tags, 200) == {"Tags": {"team": "orders"}}
        assert await enabled() == {**changed, "State": "Enabled"}
        deleted = told(await client.delete_event_source_mapping(UUID=uuid), 202)
        assert deleted == {**changed, "State": "Deleting"}
        with pytest.raises(ClientError) as refused:
            await client.delete_event_source_mapping(UUID=NOBODY)
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


# The AWS CLI.


@dataclass(frozen=True, slots=True)
class Cli:
    """`aws lambda` at a poller; `home` has none of the user's own settings."""

    address: str
    home: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).with_name("aws")
        return subprocess.run(
            [str(command), "lambda", *arguments, "--endpoint-url", self.address],
            env={**os.environ, "HOME": str(self.home), "AWS_PAGER": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """What a command prints, which succeeds."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def silence(self, *arguments: str) -> None:
        """A command that succeeds and prints nothing."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (REFUSED, ""), done.stderr
        return done.stderr.strip()


@pytest.fixture
def cli(running: Running, tmp_path: Path) -> Cli:
    return Cli(running.address, tmp_path)


def with_times(mapping: dict[str, Any]) -> dict[str, Any]:
    """As boto3 has it: version 1 prints the number that was sent."""
    return {**mapping, "LastModified": datetime.fromtimestamp(mapping["LastModified"], UTC)}


def test_commands_of_awss_documentation_print_what_aws_prints(cli: Cli, ministack_url: str) -> None:
    api = aws("lambda", cli.address)
    queue = new_queue(ministack_url, name="mySQSqueue")

    def end_poll() -> None:
        """An open receive is waited for, so let it bring something."""
        aws("sqs", ministack_url).send_message(QueueUrl=queue.url, MessageBody="any")

    made = with_times(
        cli.json(
            "create-event-source-mapping",
            "--function-name", "my-function",
            "--batch-size", "5",
            "--event-source-arn", queue.arn,
        )
    )  # fmt: skip
    expected = queue_mapping(made, queue.arn, "my-function", BatchSize=5)
    assert made == {**expected, "State": "Creating"}
    uuid, arn = made["UUID"], made["EventSourceMappingArn"]
    await_state(api, uuid, "Enabled")
    shown = with_times(cli.json("get-event-source-mapping", "--uuid", uuid))
    assert shown == {**expected, "State": "Enabled"}
    page = cli.json("list-event-source-mappings", "--function-name", "my-function")
    assert [with_times(each) for each in page["EventSourceMappings"]] == [shown]
    assert page.keys() == {"EventSourceMappings"}

    cli.silence("tag-resource", "--resource", arn, "--tags", "DEPARTMENT=Department A,B=b")
    assert cli.json("list-tags", "--resource", arn) == {
        "Tags": {"B": "b", "DEPARTMENT": "Department A"}
    }
    cli.silence("untag-resource", "--resource", arn, "--tag-keys", "DEPARTMENT")
    assert cli.json("list-tags", "--resource", arn) == {"Tags": {"B": "b"}}

    changed = with_times(
        cli.json("update-event-source-mapping", "--uuid", uuid, "--batch-size", "8")
    )
    updated = {**expected, "BatchSize": 8, "LastModified": changed["LastModified"]}
    assert changed == {**updated, "State": "Updating"}
    end_poll()
    await_state(api, uuid, "Enabled")
    deleted = with_times(cli.json("delete-event-source-mapping", "--uuid", uuid))
    assert deleted == {**updated, "State": "Deleting"}
    end_poll()
    await_gone(api, uuid)
    gone = cli.refused("get-event-source-mapping", "--uuid", uuid)
    assert gone == (
        "An error occurred (ResourceNotFoundException) when calling the GetEventSourceMapping "
        f"operation: {NOT_FOUND}"
    )


def test_a_stream_with_a_failure_destination_as_awss_documentation_makes_it(
    cli: Cli, ministack_url: str
) -> None:
    stream, failures = new_stream(ministack_url), new_queue(ministack_url)
    destination = {"OnFailure": {"Destination": failures.arn}}
    made = with_times(
        cli.json(
            "create-event-source-mapping",
            "--function-name", "my-function:BLUE",
            "--event-source-arn", stream.arn,
            "--starting-position", "AT_TIMESTAMP",
            "--starting-position-timestamp", "1541139109",
            "--batch-size", "500",
            "--parallelization-factor", "2",
            "--maximum-batching-window-in-seconds", "5",
            "--maximum-retry-attempts", "2",
            "--maximum-record-age-in-seconds", "3600",
            "--bisect-batch-on-function-error",
            "--function-response-types", "ReportBatchItemFailures",
            "--destination-config", json.dumps(destination),
            "--no-enabled",
        )
    )  # fmt: skip
    expected = stream_mapping(
        made,
        stream.arn,
        "my-function:BLUE",
        BatchSize=500,
        BisectBatchOnFunctionError=True,
        DestinationConfig=destination,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumBatchingWindowInSeconds=5,
        MaximumRecordAgeInSeconds=3600,
        MaximumRetryAttempts=2,
        ParallelizationFactor=2,
        StartingPosition="AT_TIMESTAMP",
    )
    assert made.pop("StartingPositionTimestamp") == 1541139109
    assert made == {**expected, "State": "Creating"}
    await_state(aws("lambda", cli.address), made["UUID"], "Disabled")
    table = cli.run(
        "list-event-source-mappings",
        "--event-source-arn", stream.arn,
        "--query", "EventSourceMappings[].[FunctionArn,State]",
        "--output", "text",
    )  # fmt: skip
    assert table.stdout.split() == [function_arn("my-function:BLUE"), "Disabled"]


def test_what_the_api_refuses_the_cli_says_and_exits_with_its_code(
    cli: Cli, ministack_url: str
) -> None:
    stream = new_stream(ministack_url)
    start = ("--event-source-arn", stream.arn, "--function-name", "my-function")
    assert cli.refused("create-event-source-mapping", *start) == (
        "An error occurred (InvalidParameterValueException) when calling the "
        "CreateEventSourceMapping operation: 1 validation error detected: Value null at "
        "'startingPosition' failed to satisfy constraint: Member must not be null."
    )
    unknown = mapping_arn(NOBODY)
    assert cli.refused("list-tags", "--resource", unknown) == (
        "An error occurred (ResourceNotFoundException) when calling the ListTags operation: "
        f"Event source mapping not found: {unknown}"
    )
