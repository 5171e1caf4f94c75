"""Bad input on every route of Lambda's API: refused in AWS's form, nothing changes, all goes on."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.functions import function
from tests.outside.flows import Deliveries, Item, Put, to_queue, to_stream
from tests.outside.lambda_api import (
    ACCOUNT,
    MAPPINGS,
    NOBODY,
    REGION,
    TAGS,
    Raw,
    await_state,
    function_arn,
    listed,
    mapping_arn,
    raw,
    told,
)
from tests.outside.poller_process import Running, poller
from tests.outside.watched import assert_clean
from tests.servers import aws, new_queue, new_stream

EXAMPLES = settings(max_examples=60, deadline=None)
MESSAGE_LENGTH_MAX = 2000
ERROR_TYPES = {
    400: {
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "ResourceInUseException",
        "SerializationException",
        "ValidationException",
    },
    404: {"ResourceNotFoundException", "UnknownOperationException"},
    405: {"UnknownOperationException"},
    409: {"ResourceConflictException"},
    413: {"RequestTooLargeException"},
}


@dataclass(slots=True)
class Target:
    """A poller with two mappings that deliver and one of the file; nothing may change them."""

    running: Running = field(repr=False)
    flows: Deliveries = field(repr=False)
    puts: dict[str, Put] = field(repr=False)
    sources: dict[str, str]
    uuids: dict[str, str]
    before: list[dict[str, Any]] = field(default_factory=list, repr=False)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> Raw:
        return raw(self.running.address, method, path, body, headers)

    @property
    def mappings(self) -> list[dict[str, Any]]:
        """Without what deliveries change."""
        found = listed(aws("lambda", self.running.address))
        return [
            {name: value for name, value in mapping.items() if name != "LastProcessingResult"}
            for mapping in found
        ]

    @contextlib.contextmanager
    def unmoved(self) -> Iterator[None]:
        """Afterwards everything is as it was before, and deliveries go on."""
        yield
        assert self.mappings == self.before
        item = Item("key", next(self.numbers))
        for put in self.puts.values():
            put([item])
        for flow in self.puts:
            self.flows.await_all(flow, [item])
        assert_clean(self.running.log())
        assert " ERROR " not in self.running.log()


@pytest.fixture(scope="module")
def target(ministack_url: str) -> Iterator[Target]:
    stream, queue, of_file = (
        new_stream(ministack_url), new_queue(ministack_url), new_stream(ministack_url),
    )  # fmt: skip
    flows = Deliveries()
    with function(flows) as stub:
        start = {"StartingPosition": "TRIM_HORIZON"}
        mapping = {"EventSourceArn": of_file.arn, "FunctionName": "file", **start}
        config = {
            "aws": {"endpoint_url": ministack_url, "region": REGION},
            "functions": {name: {"url": stub.url + name} for name in ("stream", "queue", "file")},
            "mappings": [mapping],
        }
        with poller(config) as running:
            api = aws("lambda", running.address)
            sources = {"stream": stream.arn, "queue": queue.arn, "file": of_file.arn}
            uuids = {"file": listed(api)[0]["UUID"]}
            for name, more in (("stream", start), ("queue", {})):
                reply = api.create_event_source_mapping(
                    EventSourceArn=sources[name], FunctionName=name, **more
                )
                uuids[name] = told(reply, 202)["UUID"]
                await_state(api, uuids[name], "Enabled")
            puts = {
                "stream": to_stream(ministack_url, stream),
                "queue": to_queue(ministack_url, queue),
            }
            target = Target(running, flows, puts, sources, uuids)
            target.before = target.mappings
            yield target
            running.kill()


def assert_refused(reply: Raw) -> None:
    """A 4xx in AWS's form: an error type, and a body of one line."""
    assert 400 <= reply.status < 500, reply
    assert reply.headers["x-amzn-errortype"] in ERROR_TYPES[reply.status], reply
    body = reply.json
    message = body.pop("Message", None) or body.pop("message")
    assert body in ({}, {"Type": "User"}), reply
    assert message.isprintable(), message
    assert 0 < len(message) <= MESSAGE_LENGTH_MAX


# Bodies.

NAMES = st.sampled_from(
    (
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "EventSourceArn",
        "FilterCriteria",
        "FunctionName",
        "FunctionResponseTypes",
        "KMSKeyArn",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "MetricsConfig",
        "ParallelizationFactor",
        "ProvisionedPollerConfig",
        "ScalingConfig",
        "SelfManagedEventSource",
        "StartingPosition",
        "StartingPositionTimestamp",
        "Tags",
        "Topics",
        "TumblingWindowInSeconds",
        "UUID",
        "poller",
    )
)
INSIDE = st.sampled_from(
    (
        "Concurrency",
        "Destination",
        "Filters",
        "MaximumConcurrency",
        "Metrics",
        "MinimumPollers",
        "OnFailure",
        "OnSuccess",
        "Pattern",
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 2**31, -(2**63), 2**64, 10**400, 1e308, float("nan")])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "\0", "\ud800", "LATEST", "AT_TIMESTAMP", '{"a": [', '{"a": ["b"]}'])
    | st.sampled_from([f"arn:aws:sqs:{REGION}:{ACCOUNT}:missing", "arn:aws:s3:::b", "missing"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(INSIDE | st.text(max_size=5), inner)
    ),
    max_leaves=6,
)
SETTINGS = st.dictionaries(NAMES, VALUES, max_size=6)
WRONG = st.sampled_from(
    (
        {"BatchSize": 0},
        {"BatchSize": "many"},
        {"Enabled": "yes"},
        {"FunctionResponseTypes": ["Report"]},
        {"MaximumBatchingWindowInSeconds": 301},
        {"MetricsConfig": {"Metrics": ["Everything"]}},
        {"Topics": ["t"]},
        {"Nonsense": 1},
    )
)
CONTENT_TYPES = st.sampled_from(
    (
        "application/json",
        "application/json; charset=nonsense",
        "application/x-amz-json-1.1",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "",
        ";;;",
    )
)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@EXAMPLES
@given(SETTINGS, st.sampled_from(["stream", "queue", "file"]), CONTENT_TYPES)
def test_no_request_makes_a_mapping_where_there_is_one(
    target: Target, given_settings: dict[str, Any], name: str, content_type: str
) -> None:
    pair = {"EventSourceArn": target.sources[name], "FunctionName": name}
    body = as_json({**pair, **given_settings, **pair})
    assert_refused(target.send("POST", MAPPINGS, body, {"Content-Type": content_type}))


@EXAMPLES
@given(SETTINGS)
def test_no_request_makes_a_mapping_of_what_is_not_there(
    target: Target, given_settings: dict[str, Any]
) -> None:
    assert_refused(target.send("POST", f"{MAPPINGS}/", as_json(given_settings)))


@EXAMPLES
@given(SETTINGS, WRONG, st.sampled_from(["stream", "queue"]))
def test_an_update_with_something_wrong_in_it_changes_nothing(
    target: Target, given_settings: dict[str, Any], wrong: dict[str, Any], name: str
) -> None:
    body = as_json({**given_settings, **wrong})
    assert_refused(target.send("PUT", f"{MAPPINGS}/{target.uuids[name]}", body))


@EXAMPLES
@given(SETTINGS | VALUES, st.sampled_from(["PUT", "DELETE"]))
def test_no_request_changes_a_mapping_of_the_file(target: Target, body: Any, method: str) -> None:
    path = f"{MAPPINGS}/{target.uuids['file']}"
    reply = target.send(method, path, as_json(body))
    assert_refused(reply)
    assert (reply.status == 409) or method == "PUT"


@EXAMPLES
@given(st.binary(max_size=60), st.sampled_from(["POST", "PUT", "TAGS"]), CONTENT_TYPES)
def test_bytes_are_no_request(target: Target, junk: bytes, route: str, content_type: str) -> None:
    method, path = {
        "POST": ("POST", MAPPINGS),
        "PUT": ("PUT", f"{MAPPINGS}/{target.uuids['stream']}"),
        "TAGS": ("POST", f"{TAGS}/{mapping_arn(target.uuids['stream'])}"),
    }[route]
    headers = {"Content-Type": content_type}
    assert_refused(target.send(method, path, b"\x01" + junk, headers))


@EXAMPLES
@given(st.one_of(SETTINGS, st.fixed_dictionaries({"Tags": VALUES}), VALUES))
def test_no_tags_are_put_on_a_mapping_of_the_file(target: Target, body: Any) -> None:
    path = f"{TAGS}/{mapping_arn(target.uuids['file'])}"
    assert_refused(target.send("POST", path, as_json(body)))
    assert_refused(target.send("DELETE", f"{path}?tagKeys=a&tagKeys="))


def test_after_all_those_bodies_nothing_has_changed(target: Target) -> None:
    with target.unmoved():
        pass


DEEP = 100_000
BOMB = gzip.compress(bytes(100 * 1024 * 1024))
HUGE = {
    "deep lists": b"[" * DEEP,
    "deep blocks": b'{"a":' * DEEP,
    "a deep setting": b'{"FunctionResponseTypes":' + b"[" * 900 + b"]" * 900 + b"}",
    "a number of 4,000 digits": b'{"BatchSize":' + b"9" * 4000 + b"}",
    "a number of 9,000 digits": b'{"BatchSize":' + b"9" * 9000 + b"}",
    "a number beyond all floats": b'{"StartingPositionTimestamp":1e999}',
    "many keys": as_json({f"key{number}": 1 for number in range(10_000)}),
    "many tags": as_json({"Tags": {f"key{number}": 1 for number in range(10_000)}}),
    "a long name": as_json({"FunctionName": "f" * 200_000}),
    "half of a surrogate": b'{"FunctionName":"\\ud800"}',
    "not UTF-8": b'{"FunctionName":"\xff\xfe"}',
    "a key twice": b'{"BatchSize":1,"BatchSize":{}}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"FunctionName":"f"}'.encode("utf-16"),
    "too large": b" " * (257 * 1024),
    "much too large": b"x" * (8 * 1024 * 1024),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_and_broken_bodies_are_refused(target: Target, name: str) -> None:
    with target.unmoved():
        for method, path in (
            ("POST", MAPPINGS),
            ("PUT", f"{MAPPINGS}/{NOBODY}"),
            ("POST", f"{TAGS}/{mapping_arn(target.uuids['stream'])}"),
        ):
            assert_refused(target.send(method, path, HUGE[name]))


def test_compressed_bodies_are_not_looked_into(target: Target) -> None:
    with target.unmoved():
        for encoding in ("gzip", "deflate", "br", "nonsense"):
            for body in (b"{}", BOMB):
                headers = {"Content-Encoding": encoding}
                assert_refused(target.send("POST", MAPPINGS, body, headers))


# Paths, queries, methods, headers.

TEXT = st.text(max_size=20).map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""))
ANY_BYTES = st.binary(max_size=12).map(lambda junk: quote(junk, safe=""))
SEGMENTS = TEXT | ANY_BYTES | st.sampled_from(["..", ".", "%", "%zz", "%2F", "%00", NOBODY, ""])
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


@EXAMPLES
@given(METHODS, st.sampled_from([MAPPINGS, TAGS]), st.lists(SEGMENTS, min_size=1, max_size=3))
def test_paths_that_lead_nowhere_are_refused(
    target: Target, method: str, start: str, segments: list[str]
) -> None:
    path = "/".join([start, *segments])
    reply = target.send(method, path, b"{}" if method in {"POST", "PUT"} else b"")
    if reply.status != 200:  # what ends in the list itself
        assert_refused(reply)


@EXAMPLES
@given(
    st.dictionaries(
        st.sampled_from(["Marker", "MaxItems", "FunctionName", "EventSourceArn"]) | TEXT,
        SEGMENTS | st.integers().map(str),
        min_size=1,
    )
)
def test_any_query_is_a_page_or_refused(target: Target, query: dict[str, str]) -> None:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    reply = target.send("GET", f"{MAPPINGS}?{text}")
    if reply.status == 200:
        assert reply.json.keys() <= {"EventSourceMappings", "NextMarker"}
    else:
        assert_refused(reply)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("MaxItems=0", "Value '0' at 'maxItems' failed to satisfy constraint: Member must have "),
        ("MaxItems=10001", "Value '10001' at 'maxItems' failed to satisfy constraint: Member "),
        ("MaxItems=x", "Value 'x' at 'maxItems' failed to satisfy constraint: Member must be "),
        ("Marker=x", "Invalid Marker"),
        ("Marker=W251bGwsbnVsbF0=", "Invalid Marker"),
        ("FunctionName=a%20b", "names no function"),
    ],
)
def test_what_a_list_cannot_be_asked_for_is_said(target: Target, query: str, error: str) -> None:
    reply = target.send("GET", f"{MAPPINGS}?{query}")
    assert reply.status == 400
    assert error in str(reply.json)


@pytest.mark.parametrize(
    ("method", "path", "error_type"),
    [
        ("GET", "/2015-03-31/nothing", "UnknownOperationException"),
        ("GET", "/2015-03-31", "UnknownOperationException"),
        ("GET", f"/{MAPPINGS}", "UnknownOperationException"),
        ("GET", f"{MAPPINGS}/{NOBODY}/more", "UnknownOperationException"),
        ("GET", TAGS, "UnknownOperationException"),
        ("PATCH", MAPPINGS, "UnknownOperationException"),
        ("DELETE", MAPPINGS, "UnknownOperationException"),
        ("POST", f"{MAPPINGS}/{NOBODY}", "UnknownOperationException"),
        ("PUT", f"{TAGS}/{function_arn('stream')}", "UnknownOperationException"),
        ("GET", f"{TAGS}/{function_arn('stream')}", "ResourceNotFoundException"),
    ],
)
def test_operations_that_are_not_here_are_unknown(
    target: Target, method: str, path: str, error_type: str
) -> None:
    reply = target.send(method, path)
    assert_refused(reply)
    assert reply.headers["x-amzn-errortype"] == error_type


@EXAMPLES
@given(
    st.sampled_from(["Accept", "Authorization", "Content-Type", "X-Amz-Date", "X-Anything"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
)
def test_headers_make_no_difference(target: Target, name: str, value: str) -> None:
    reply = target.send("GET", f"{MAPPINGS}/{NOBODY}", b"", {name: value})
    assert_refused(reply)
    assert reply.status == 404


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /2015-03-31/event-source-mappings?Marker=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"POST /2015-03-31/event-source-mappings HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: -1\r\n\r\n",
    b"POST /2015-03-31/event-source-mappings HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
)


def test_what_is_not_http_is_refused_in_json_and_disturbs_nothing(target: Target) -> None:
    place = urlsplit(target.running.address)
    assert place.hostname is not None
    assert place.port is not None
    with target.unmoved():
        for garbage in GARBAGE:
            with socket.create_connection((place.hostname, place.port), timeout=20) as client:
                client.sendall(garbage)
                reply = b"".join(iter(lambda client=client: client.recv(65536), b""))
            head, _, body = reply.partition(b"\r\n\r\n")
            assert head.split()[1] == b"400", reply
            assert b"aiohttp" not in reply
            assert json.loads(body)["message"].isprintable()
        cut = b"POST /2015-03-31/event-source-mappings HTTP/1.1\r\nHost: localhost\r\n"
        for rest in (b"Content-Length: 10\r\n\r\n{", b"", b"Transfer-Encoding: chunked\r\n\r\n1"):
            with socket.create_connection((place.hostname, place.port), timeout=20) as client:
                client.sendall(cut + rest)
