"""Lambda's Invoke at `poller run`, as boto3, the AWS CLI and plain HTTP see it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.outside.lambda_api import REGION, Raw, function_arn, raw, refused, told, user_error
from tests.outside.poller_process import Running, poller
from tests.servers import aws, new_queue
from tests.waiting import eventually

HANDLERS = str(Path(__file__).parent / "handlers")
ONE = "ReservedFunctionConcurrentInvocationLimitExceeded"
ALL = "ConcurrentInvocationLimitExceeded"


def handler(name: str, **settings: Any) -> dict[str, Any]:
    return {"handler": f"invoked.{name}", "path": HANDLERS, "timeout": 30, **settings}


CONFIG = {
    "aws": {"region": REGION},
    "concurrency": 4,
    "functions": {
        "echo": handler("echo"),
        "echo:live": handler("echo"),
        "same": handler("same"),
        "fail": handler("fail"),
        "one": handler("hold", concurrency=1),
        "many": handler("hold"),
        "gone": {"url": "http://127.0.0.1:1/"},
    },
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with poller(CONFIG) as running:
        yield running
        assert running.stop() == 0


@dataclass
class Held:
    """Invocations of `hold` that run until they are let go."""

    address: str
    folder: Path
    threads: ThreadPoolExecutor = field(repr=False)

    def start(self, function: str, name: str) -> Future[Any]:
        event = {"folder": str(self.folder), "name": name}
        call = self.threads.submit(invoke, self.address, function, event)
        eventually((self.folder / f"{name}.runs").exists)
        return call

    def let_go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def has_ended(self, name: str) -> bool:
        return (self.folder / f"{name}.ended").exists()


@contextlib.contextmanager
def holding(address: str, folder: Path) -> Iterator[Held]:
    with ThreadPoolExecutor(8) as threads:
        yield Held(address, folder, threads)


def invoke(address: str, function: str, event: Any = None, **settings: Any) -> Any:
    """What the function returns."""
    reply = aws("lambda", address).invoke(
        FunctionName=function, Payload=json.dumps(event), **settings
    )
    return json.load(reply["Payload"])


def post(address: str, function: str, body: bytes, **headers: str) -> Raw:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(address, "POST", f"/2015-03-31/functions/{function}/invocations", body, named)


@pytest.mark.proves("S12.1.invoke")
def test_boto3_invokes_a_function_and_gets_all_that_lambda_tells(running: Running) -> None:
    context = {"custom": {"tenant": "blue"}, "client": {"installation_id": "i"}}
    reply = aws("lambda", running.address).invoke(
        FunctionName=function_arn("echo"),
        Qualifier="live",
        Payload=b'{"n": [1, 2]}',
        LogType="Tail",
        ClientContext=base64.b64encode(json.dumps(context).encode()).decode(),
    )
    request_id = reply["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(reply["LogResult"]).decode().splitlines()

    assert (reply["StatusCode"], reply["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in reply
    assert json.load(reply["Payload"]) == {
        "event": {"n": [1, 2]},
        "request_id": request_id,
        "arn": function_arn("echo:live"),
        "version": "$LATEST",
        "custom": {"tenant": "blue"},
    }
    assert log[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert f"END RequestId: {request_id}" in log
    assert log.index("echoing") < log.index(f"END RequestId: {request_id}")
    assert any(line.startswith(f"REPORT RequestId: {request_id}\tDuration: ") for line in log)


@pytest.mark.proves("S12.1.invoke")
def test_a_function_error_has_its_header_and_the_trace_of_the_runtime(running: Running) -> None:
    reply = aws("lambda", running.address).invoke(FunctionName="fail", LogType="Tail")
    error = json.load(reply["Payload"])

    assert (reply["StatusCode"], reply["FunctionError"]) == (200, "Unhandled")
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "not this one")
    assert 'raise ValueError("not this one")' in "".join(error["stackTrace"])
    assert error["requestId"] == reply["ResponseMetadata"]["RequestId"]


def test_what_boto3_may_ask_for_besides_is_answered_as_by_lambda(running: Running) -> None:
    api = aws("lambda", running.address)

    def refusal(**parameters: Any) -> dict[str, Any]:
        return refused(api.invoke, **parameters)

    dry = told(api.invoke(FunctionName="echo", InvocationType="DryRun"), 204)
    largest = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    reply = api.invoke(FunctionName="same", Payload=largest)
    message = "cannot connect to http://127.0.0.1:1: Connection refused"

    assert (dry["ExecutedVersion"], dry["Payload"].read()) == ("$LATEST", b"")
    assert reply["Payload"].read() == largest
    assert refusal(FunctionName="nobody") == user_error(
        404, "ResourceNotFoundException", f"Function not found: {function_arn('nobody')}"
    )
    assert refusal(FunctionName="echo", Qualifier="blue")["Message"].startswith(
        f"Function not found: {function_arn('echo:blue')}. Function does not exist"
    )
    assert refusal(FunctionName="same", Payload=largest + b" ") == user_error(
        413,
        "RequestTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )
    assert refusal(FunctionName="gone") == {
        "Error": {"Code": "ServiceException", "Message": message},
        "Type": "Service",
        "Message": message,
        "status": 500,
    }


def test_a_trace_goes_through_and_every_form_of_the_path_is_right(running: Running) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    reply = post(running.address, "same", b'{"a":1}', X_Amzn_Trace_Id=trace)
    slash = raw(running.address, "POST", "/2015-03-31/functions/same/invocations/", b"[]")
    other = raw(
        running.address,
        "POST",
        "/2021-11-15/functions/same/response-streaming-invocations",
        b"{}",
    )

    assert (reply.status, reply.json, reply.headers["x-amzn-trace-id"]) == (200, {"a": 1}, trace)
    assert (slash.status, slash.json) == (200, [])
    assert (other.status, other.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_a_page_of_another_host_may_not_invoke(running: Running) -> None:
    reply = post(running.address, "same", b"{}", Origin="https://example.com")
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def test_a_signed_event_reaches_the_function() -> None:
    events = [b'{"a": 1}', b'"' + b"x" * 2_000_000 + b'"']
    secret = "outside/invoke+secret"
    with poller({**CONFIG, "auth": {"access_keys": {"AKIDINVOKE": secret}}}) as running:
        api = boto3.session.Session().client(
            "lambda",
            endpoint_url=running.address,
            region_name=REGION,
            aws_access_key_id="AKIDINVOKE",
            aws_secret_access_key=secret,
        )
        with contextlib.closing(api):
            replies = [api.invoke(FunctionName="same", Payload=event) for event in events]
            assert [reply["Payload"].read() for reply in replies] == events
        running.kill()


def test_calls_at_one_time_each_get_their_own_result(running: Running) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(invoke, running.address, "same", number) for number in range(40)]
        assert [call.result() for call in calls] == list(range(40))


@pytest.mark.proves("S12.1.throttled")
def test_over_its_own_limit_or_that_of_all_functions_a_call_is_a_429(
    running: Running, tmp_path: Path
) -> None:
    api = aws("lambda", running.address)
    throttles = {
        name: running.metrics("poller_function_throttles_total", function=name)
        for name in ("one", "echo")
    }
    with holding(running.address, tmp_path) as held:
        first = held.start("one", "first")
        own = refused(api.invoke, FunctionName="one", Payload=b"{}")
        others = [held.start("many", name) for name in ("a", "b", "c")]
        together = refused(api.invoke, FunctionName="echo")
        executions = running.metrics("poller_concurrent_executions")
        for name in ("first", "a", "b", "c"):
            held.let_go(name)
        results = [call.result() for call in (first, *others)]

    limits = user_error(429, "TooManyRequestsException", "Rate Exceeded.")
    assert own == {**limits, "Reason": ONE, "retryAfterSeconds": "1"}
    assert together == {**limits, "Reason": ALL, "retryAfterSeconds": "1"}
    assert results == ["first", "a", "b", "c"]
    assert executions == 4
    assert running.metrics("poller_concurrent_executions") == 0
    for name, before in throttles.items():
        now = running.metrics("poller_function_throttles_total", function=name)
        assert now == before + 1


def test_an_invocation_is_counted_as_lambda_counts_it(running: Running) -> None:
    names = ("invocations_total", "errors_total", "duration_seconds_count")

    def counts(function: str) -> list[float]:
        metrics = (f"poller_function_{name}" for name in names)
        return [running.metrics(name, function=function) for name in metrics]

    before = {name: counts(name) for name in ("same", "fail", "gone")}
    for _ in range(2):
        invoke(running.address, "same")
        invoke(running.address, "fail")
    refused(aws("lambda", running.address).invoke, FunctionName="gone")
    after = {name: counts(name) for name in before}

    assert {
        name: [now - then for now, then in zip(after[name], before[name], strict=True)]
        for name in before
    } == {"same": [2, 0, 2], "fail": [2, 2, 2], "gone": [0, 0, 0]}


def test_mappings_and_calls_share_the_limit_of_a_function_and_its_counts(
    ministack_url: str, tmp_path: Path
) -> None:
    queue = new_queue(ministack_url)
    config = {
        "aws": {"endpoint_url": ministack_url, "region": REGION},
        "functions": {"one": handler("hold", concurrency=1)},
        "mappings": [{"EventSourceArn": queue.arn, "FunctionName": "one"}],
    }
    with poller(config) as running, holding(running.address, tmp_path) as held:
        call = held.start("one", "call")
        aws("sqs", ministack_url).send_message(QueueUrl=queue.url, MessageBody="any")
        eventually(lambda: running.metrics("poller_function_throttles_total", function="one"))
        before = running.metrics("poller_function_invocations_total", function="one")
        held.let_go("call")
        assert call.result() == "call"
        eventually(lambda: running.metrics("poller_records_deleted_total") == 1)
        after = running.metrics("poller_function_invocations_total", function="one")
        assert (before, after) == (0, 2)
        running.kill()


def test_what_was_asked_for_goes_on_when_the_client_is_gone(
    running: Running, tmp_path: Path
) -> None:
    connection = http.client.HTTPConnection(urlsplit(running.address).netloc, timeout=10)
    event = json.dumps({"folder": str(tmp_path), "name": "left"})
    connection.request("POST", "/2015-03-31/functions/many/invocations", event)
    eventually((tmp_path / "left.runs").exists)
    connection.close()
    invoke(running.address, "same")
    (tmp_path / "left.go").touch()
    eventually((tmp_path / "left.ended").exists)


def test_the_aws_cli_invokes_as_its_documentation_says(running: Running, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("aws")), "lambda", "invoke", *arguments]
        return subprocess.run(
            [*command, "--endpoint-url", running.address, "out.json"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run("--function-name", "echo", "--payload", '{"a": 1}', "--log-type", "Tail")
    told = json.loads(done.stdout)
    log = base64.b64decode(told.pop("LogResult")).decode()
    unknown = run("--function-name", "nobody")

    assert (done.returncode, told) == (0, {"StatusCode": 200, "ExecutedVersion": "$LATEST"})
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"a": 1}
    assert log.startswith("START RequestId: ")
    assert (unknown.returncode, unknown.stderr.strip()) == (
        255,
        "An error occurred (ResourceNotFoundException) when calling the Invoke operation: "
        f"Function not found: {function_arn('nobody')}",
    )


def test_sigterm_lets_what_runs_end_and_takes_nothing_new(tmp_path: Path) -> None:
    with poller(CONFIG) as running, holding(running.address, tmp_path) as held:
        call = held.start("many", "last")
        running.process.terminate()

        def is_stopping() -> bool:
            reply = post(running.address, "same", b"{}")
            return reply.status == 500 and reply.json["Type"] == "Service"

        eventually(is_stopping)
        held.let_go("last")
        assert call.result() == "last"
        assert running.wait() == 0


def test_a_function_that_changes_or_leaves_ends_what_it_runs_and_keeps_its_limit(
    tmp_path: Path,
) -> None:
    with poller(CONFIG) as running, holding(running.address, tmp_path) as held:
        api = aws("lambda", running.address)
        call = held.start("one", "old")
        functions = dict(CONFIG["functions"])
        del functions["same"]
        functions["one"] = handler("hold", concurrency=1, memory=256)
        functions["added"] = handler("same")
        running.rewrite({**CONFIG, "functions": functions})
        running.hup()
        eventually(lambda: "the config was reread" in running.log())
        unknown = refused(api.invoke, FunctionName="same")
        added = invoke(running.address, "added", 1)
        full = refused(api.invoke, FunctionName="one", Payload=b"{}")
        held.let_go("old")

        assert (unknown["Type"], unknown["status"], added) == ("User", 404, 1)
        assert full["Reason"] == ONE
        assert call.result() == "old"
        new = held.start("one", "new")
        held.let_go("new")
        assert new.result() == "new"


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "X-Amz-Invocation-Type",
            "X-Amz-Log-Type",
            "X-Amz-Client-Context",
            "X-Amzn-Trace-Id",
            "X-Amz-Tenant-Id",
        ]
    ),
    PRINTABLE.map(str.strip) | st.sampled_from(["DryRun", "Tail", "e30=", "Root=1-0-0"]),
)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["same", "same:live", function_arn("same")]) | st.text(min_size=1, max_size=20),
    st.none() | st.text(max_size=20),
    HEADERS,
    st.sampled_from([b"", b"1"]) | st.binary(max_size=20),
)
def test_whatever_is_asked_is_answered_or_refused_as_by_lambda(
    running: Running, name: str, qualifier: str | None, headers: dict[str, str], body: bytes
) -> None:
    query = "" if qualifier is None else f"?Qualifier={quote(qualifier, safe='')}"
    path = f"/2015-03-31/functions/{quote(name, safe='')}/invocations{query}"
    reply = raw(running.address, "POST", path, body, headers)

    assert reply.status in {200, 204, 400, 404}
    if reply.status >= 400:
        assert reply.headers["x-amzn-errortype"] in {
            "InvalidParameterValueException",
            "InvalidRequestContentException",
            "ResourceNotFoundException",
            "UnknownOperationException",  # a path without a name, such as ..
            "ValidationException",
        }
        assert "message" in {key.lower() for key in reply.json}
    assert " ERROR " not in running.log()
