"""Mappings that are somewhere else become a config in which nothing is lost without a word."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from poller.settings import Settings, load
from poller.settings.exporting import Export, KnownFunction, write_config
from poller.wire.descriptions import describe
from poller.wire.listed import read_listed
from poller.wire.mappings import MappingConfig, parse_mapping
from poller.wire.requests import as_request

NOW = 1_770_000_000.0
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/users/stream/2026-01-31T12:00:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:orders"

tags = st.dictionaries(
    st.text("abc _.:/=+-@0", min_size=1, max_size=8),
    st.text("abc _.:/=+-@0\u00e9", max_size=8),
    max_size=3,
)
of_all = {
    "Enabled": st.booleans(),
    "FunctionResponseTypes": st.sampled_from([[], ["ReportBatchItemFailures"]]),
    "MetricsConfig": st.sampled_from([{}, {"Metrics": ["EventCount"]}]),
    "Tags": tags,
    "FilterCriteria": st.sampled_from(
        [{}, {"Filters": [{"Pattern": '{"body": ["it\'s ${x}", {"prefix": "\\u00e9"}]}'}]}]
    ),
}
of_streams = {
    **of_all,
    "BatchSize": st.integers(1, 10_000),
    "MaximumBatchingWindowInSeconds": st.integers(0, 300),
    "ParallelizationFactor": st.integers(1, 10),
    "MaximumRetryAttempts": st.integers(-1, 10_000),
    "MaximumRecordAgeInSeconds": st.one_of(st.just(-1), st.integers(60, 604_800)),
    "BisectBatchOnFunctionError": st.booleans(),
    "DestinationConfig": st.sampled_from(
        [{}, {"OnFailure": {}}, {"OnFailure": {"Destination": "arn:aws:s3:::failed"}}]
    ),
}
names = st.sampled_from([FUNCTION, f"{FUNCTION}:live", f"{FUNCTION}:$LATEST", f"{FUNCTION}:7"])
requests = st.one_of(
    st.fixed_dictionaries(
        {"EventSourceArn": st.just(QUEUE), "FunctionName": names},
        optional={**of_all, "BatchSize": st.integers(1, 10)},
    ),
    st.fixed_dictionaries(
        {
            "EventSourceArn": st.sampled_from([STREAM, TABLE]),
            "FunctionName": names,
            "StartingPosition": st.sampled_from(["LATEST", "TRIM_HORIZON"]),
        },
        optional=of_streams,
    ),
    st.fixed_dictionaries(
        {
            "EventSourceArn": st.just(STREAM),
            "FunctionName": names,
            "StartingPosition": st.just("AT_TIMESTAMP"),
            "StartingPositionTimestamp": st.integers(0, int(NOW)) | st.floats(0, NOW),
        },
        optional=of_streams,
    ),
)


def described(config: MappingConfig, arn: str, **more: Any) -> dict[str, Any]:
    state = "Enabled" if config.enabled else "Disabled"
    found = describe(
        config, uuid="u-1", function_arn=arn, state=state, modified_at=NOW, result="OK"
    )
    return {**found, **more}


def exported(*descriptions: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> str:
    functions = [KnownFunction(arn=each) for each in {one["FunctionArn"] for one in descriptions}]
    listed = [read_listed(each, tags or {}, now=NOW) for each in descriptions]
    return write_config(Export("us-east-1", None, functions, listed))


def reread(folder: Path, text: str) -> Settings:
    path = folder / "poller.yaml"
    path.write_text(text)
    return load(path, {}, now=NOW)


@given(requests)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mapping_comes_back_as_it_was(tmp_path: Path, request_: dict[str, Any]) -> None:
    config = parse_mapping(request_, now=NOW)
    assert isinstance(config, MappingConfig)
    text = exported(described(config, request_["FunctionName"]), tags=config.tags)
    (mapping,) = reread(tmp_path, text).mappings
    name = request_["FunctionName"].removeprefix("arn:aws:lambda:us-east-1:123456789012:function:")
    assert as_request(mapping.config) == {**as_request(config), "FunctionName": name}
    assert mapping.function_arn == request_["FunctionName"]


def mapping_of(**request: Any) -> dict[str, Any]:
    config = parse_mapping({"FunctionName": FUNCTION, **request}, now=NOW)
    assert isinstance(config, MappingConfig)
    return described(config, FUNCTION)


HEAD = """\
# Made by `poller import`.  Say under functions where each of them runs; then
# `poller check` says what else is wrong, and `poller run` runs it.
"""


def test_defaults_are_left_out(tmp_path: Path) -> None:
    queue = mapping_of(EventSourceArn=QUEUE)
    stream = mapping_of(EventSourceArn=STREAM, StartingPosition="LATEST", BatchSize=5)
    assert exported(queue, stream) == HEAD + (
        "aws:\n"
        "  region: us-east-1\n"
        '  account_id: "123456789012"\n'
        "functions:\n"
        "  orders:\n"
        "    # Write its address; or instead of it a handler: or command: with its path:, or\n"
        "    # lambda: orders, which calls it where it is.\n"
        "    url: http://127.0.0.1:8080/\n"
        "mappings:\n"
        "  # u-1\n"
        f"  - EventSourceArn: {QUEUE}\n"
        "    FunctionName: orders\n"
        "  # u-1\n"
        f"  - EventSourceArn: {STREAM}\n"
        "    FunctionName: orders\n"
        "    BatchSize: 5\n"
        "    StartingPosition: LATEST\n"
    )


def test_what_is_known_of_a_function_is_kept(tmp_path: Path) -> None:
    known = KnownFunction(
        arn=FUNCTION, handler="app.handler", runtime="python3.12", timeout=30, concurrency=4
    )
    strange = KnownFunction(arn=f"{FUNCTION}:live", why_unknown="it\nis gone")
    text = write_config(
        Export("us-east-1", "http://127.0.0.1:4566", [known, strange], [], ["a\nb"])
    )
    assert text == HEAD + (
        "# a b\n"
        "aws:\n"
        "  region: us-east-1\n"
        '  account_id: "123456789012"\n'
        "  endpoint_url: http://127.0.0.1:4566\n"
        "functions:\n"
        "  orders:\n"
        "    # Write its address; or instead of it a handler: or command: with its path:, or\n"
        "    # lambda: orders, which calls it where it is.  There: handler app.handler, runtime "
        "python3.12.\n"
        "    url: http://127.0.0.1:8080/\n"
        "    timeout: 30\n"
        "    concurrency: 4\n"
        "  orders:live:\n"
        "    # Write its address; or instead of it a handler: or command: with its path:, or\n"
        "    # lambda: orders:live, which calls it where it is.\n"
        "    # Its timeout is not known: it is gone\n"
        "    url: http://127.0.0.1:8080/\n"
        "mappings: []\n"
    )
    functions = reread(tmp_path, text).functions
    assert [(each.timeout, each.concurrency) for each in functions.values()] == [
        (30.0, 4),
        (3.0, None),
    ]


@pytest.mark.parametrize(
    ("more", "left_out"),
    [
        (
            {"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/x"},
            [
                "# not used here: KMSKeyArn is not supported: filter criteria are kept as they are "
                "in the state store",
                "# KMSKeyArn: arn:aws:kms:us-east-1:123456789012:key/x",
            ],
        ),
        (
            {"LoggingConfig": {"SystemLogLevel": "DEBUG"}},
            [
                "# not used here: Unsupported LoggingConfig parameter for given event source "
                "mapping type.",
                "# LoggingConfig:",
                "#   SystemLogLevel: DEBUG",
            ],
        ),
        (
            {"Brandnew": [{"A": 1}], "FilterCriteria": None},
            ["# not used here: unknown key", "# Brandnew:", "#   - A: 1"],
        ),
    ],
)
def test_what_does_not_work_here_is_a_comment_with_the_reason(
    tmp_path: Path, more: dict[str, Any], left_out: list[str]
) -> None:
    text = exported({**mapping_of(EventSourceArn=QUEUE), **more})
    assert text.splitlines()[-len(left_out) :] == [f"    {line}" for line in left_out]
    assert len(reread(tmp_path, text).mappings) == 1
    # Without its sign a comment is the setting.
    uncommented = text.replace("    # ", "    ").replace("    not used", "    # not used")
    uncommented = uncommented.replace("    Write its", "    # Write its")
    assert set(more) - {"FilterCriteria"} < set(yaml.safe_load(uncommented)["mappings"][0])


def test_a_mapping_that_cannot_run_here_is_a_comment(tmp_path: Path) -> None:
    kafka = {
        "UUID": "u-2",
        "FunctionArn": FUNCTION,
        "EventSourceArn": "arn:aws:kafka:us-east-1:123456789012:cluster/c/1",
        "State": "Enabled",
        "Topics": ["t"],
        "StartingPositionTimestamp": datetime(2026, 1, 31, tzinfo=UTC),
    }
    text = exported(kafka)
    assert text.partition("mappings: ")[2].splitlines()[:5] == [
        "[]",
        "  # u-2",
        "  # does not run here: EventSourceArn: Amazon MSK as an event source is not supported yet",
        "  # - EventSourceArn: arn:aws:kafka:us-east-1:123456789012:cluster/c/1",
        "  #   FunctionName: orders",
    ]
    assert reread(tmp_path, text).mappings == ()
