"""`poller import`: prints a config from the mappings of an emulator, or of another poller."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functions import function
from tests.outside.poller_process import poller
from tests.outside.watched import command
from tests.servers import aws, new_queue, new_stream, new_table

DONE, FAILED = 0, 1
OTHERS = 101  # more than a page


def new_function(url: str, **settings: Any) -> str:
    """A new function of an emulator; its name."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = aws("iam", url).create_role(RoleName=name, AssumeRolePolicyDocument=policy)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass")
    aws("lambda", url).create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": code.getvalue()},
        **settings,
    )
    return name


def imported(folder: Path, url: str, *arguments: str) -> tuple[str, Mapping[str, Any]]:
    """What is printed, and what it says; `poller check` finds nothing wrong with it."""
    ended = command("import", "--endpoint-url", url, *arguments, folder=folder)
    assert (ended.returncode, ended.stderr) == (DONE, "")
    path = folder / "imported.yaml"
    path.write_text(ended.stdout)
    checked = command("check", str(path))
    assert (checked.returncode, checked.stderr) == (DONE, "")
    return ended.stdout, yaml.safe_load(ended.stdout)


@pytest.mark.parametrize("server", ["ministack", "moto"])
def test_the_mappings_of_an_emulator_become_a_config(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{server}_url")
    name = new_function(url, Timeout=12)
    stream, table, queue = new_stream(url), new_table(url), new_queue(url, VisibilityTimeout="60")
    of_stream = {
        "StartingPosition": "LATEST",
        "BatchSize": 50,
        "DestinationConfig": {"OnFailure": {"Destination": queue.arn}},
        "MaximumRetryAttempts": 3,
        "BisectBatchOnFunctionError": True,
    }
    create = aws("lambda", url).create_event_source_mapping
    create(FunctionName=name, EventSourceArn=stream.arn, **of_stream)
    create(FunctionName=name, EventSourceArn=queue.arn, Enabled=False, BatchSize=5)
    create(
        FunctionName=name,
        EventSourceArn=table.stream_arn,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    _, said = imported(tmp_path, url, "--function", name, "--region", "us-east-1")
    account = stream.arn.split(":")[4]
    assert said["aws"] == {"region": "us-east-1", "account_id": account, "endpoint_url": url}
    assert said["functions"] == {name: {"url": "http://127.0.0.1:8080/", "timeout": 12}}
    by_source = {each.pop("EventSourceArn"): each for each in said["mappings"]}
    assert by_source.pop(stream.arn) == {"FunctionName": name, **of_stream}
    assert by_source.pop(queue.arn) == {"FunctionName": name, "Enabled": False, "BatchSize": 5}
    rest = {"FunctionName": name, "StartingPosition": "TRIM_HORIZON"}
    table_settings = by_source.pop(table.stream_arn)
    # Not every emulator remembers response types of streams.
    table_settings.pop("FunctionResponseTypes", None)
    assert (table_settings, by_source) == (rest, {})


def test_all_pages_of_another_pollers_mappings_are_imported(
    ministack_url: str, tmp_path: Path
) -> None:
    with function() as stub:
        config = {
            "aws": {"endpoint_url": ministack_url, "region": "us-east-1"},
            "functions": {"orders": {"url": stub.url, "timeout": 1}},
            "mappings": [],
        }
        with poller(config, folder=tmp_path) as running:
            create = aws("lambda", running.address).create_event_source_mapping
            queues = [new_queue(ministack_url).arn for _ in range(OTHERS)]
            made = [
                create(
                    FunctionName="orders",
                    EventSourceArn=arn,
                    Enabled=False,
                    Tags={"team": "5", "note": "a b"},
                )
                for arn in queues
            ]
            text, said = imported(tmp_path, running.address, "--function", "orders")
            assert running.stop() == DONE
    assert {each["UUID"] for each in made} <= set(text.split())
    wanted = {"FunctionName": "orders", "Enabled": False, "Tags": {"team": "5", "note": "a b"}}
    found = {each.pop("EventSourceArn"): each for each in said["mappings"]}
    assert found == dict.fromkeys(queues, wanted)
    assert "# Its timeout is not known: " in text
    # The sources are not where the mappings are.
    assert "endpoint_url" not in said["aws"]
    assert "# endpoint_url: where the streams and queues are" in text


def test_several_functions_are_imported_into_one_config(ministack_url: str, tmp_path: Path) -> None:
    names = [new_function(ministack_url) for _ in range(2)]
    queue = new_queue(ministack_url)
    for name in names:
        aws("lambda", ministack_url).create_event_source_mapping(
            FunctionName=name, EventSourceArn=queue.arn
        )
    wanted = [argument for name in (*names, "nobody") for argument in ("--function", name)]
    text, said = imported(tmp_path, ministack_url, *wanted)
    assert set(said["functions"]) == set(names)
    assert {each["FunctionName"] for each in said["mappings"]} == set(names)
    assert f"# nobody has no event source mappings in us-east-1 at {ministack_url}\n" in text


def test_a_function_may_be_named_by_its_arn_which_says_the_region(
    ministack_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, queue = new_function(ministack_url), new_queue(ministack_url)
    aws("lambda", ministack_url).create_event_source_mapping(
        FunctionName=name, EventSourceArn=queue.arn
    )
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    _, said = imported(tmp_path, ministack_url, "--function", arn)
    assert said["aws"]["region"] == "us-east-1"
    assert said["mappings"] == [{"EventSourceArn": queue.arn, "FunctionName": name}]


def test_no_mappings_are_one_line_and_exit_code_1(ministack_url: str) -> None:
    ended = command("import", "--function", "nobody", "--endpoint-url", ministack_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        FAILED,
        "",
        f"poller: nobody has no event source mappings in us-east-1 at {ministack_url}\n",
    )


def test_an_account_that_cannot_be_reached_is_one_line_and_exit_code_1() -> None:
    url = "http://127.0.0.1:1"
    ended = command("import", "--function", "orders", "--endpoint-url", url)
    assert (ended.returncode, ended.stdout) == (FAILED, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"poller: listing the mappings of orders in us-east-1 at {url}: ")


def test_missing_credentials_are_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("tests.outside.watched.ENVIRONMENT", {})
    ended = command("import", "--function", "orders")
    assert (ended.returncode, ended.stdout) == (FAILED, "")
    (line,) = ended.stderr.splitlines()
    assert "no AWS credentials found: set AWS_ACCESS_KEY_ID" in line
