"""Mappings of templates: SAM's events and CloudFormation's resource become the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from poller.wire.arns import mapping_uuid
from tests.settings.templates.written import lines, loaded, notes, queue_event, request, worker

HERE = "us-east-1:000000000000"
JOBS = f"arn:aws:sqs:{HERE}:jobs"
ORDERS = f"arn:aws:kinesis:{HERE}:stream/orders"
FAILED = f"arn:aws:sqs:{HERE}:failed"
WORKER = f"arn:aws:lambda:{HERE}:function:Worker"

SOURCES = """
  Jobs: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}
  Failed: {Type: AWS::SQS::Queue, Properties: {QueueName: failed}}
  Orders: {Type: AWS::Kinesis::Stream, Properties: {Name: orders}}
  Users: {Type: AWS::DynamoDB::Table, Properties: {TableName: users, StreamSpecification: {}}}
  Plain: {Type: AWS::DynamoDB::Table, Properties: {TableName: plain}}
"""
EVENTS = "Resources.Worker.Properties.Events"


def template(events: str, more: str = "") -> str:
    return worker(events, SOURCES + more)


def event(kind: str, **properties: str) -> str:
    inside = ", ".join(f"{name}: {value}" for name, value in properties.items())
    return f"        Job: {{Type: {kind}, Properties: {{{inside}}}}}\n"


def of_event(folder: Path, kind: str, **properties: str) -> dict[str, Any]:
    (mapping,) = loaded(folder, template(event(kind, **properties))).mappings
    return request(mapping)


def of_resource(folder: Path, **properties: str) -> dict[str, Any]:
    inside = ", ".join(f"{name}: {value}" for name, value in properties.items())
    more = f"  M: {{Type: AWS::Lambda::EventSourceMapping, Properties: {{{inside}}}}}\n"
    (mapping,) = loaded(folder, worker("        {}\n", SOURCES + more)).mappings
    return request(mapping)


SETTINGS_OF_STREAMS: dict[str, tuple[str, Any]] = {
    "BatchSize": ("7", 7),
    "BisectBatchOnFunctionError": ("true", True),
    "DestinationConfig": (
        "{OnFailure: {Destination: !GetAtt Failed.Arn}}",
        {"OnFailure": {"Destination": FAILED}},
    ),
    "Enabled": ("false", False),
    "FunctionResponseTypes": ("[ReportBatchItemFailures]", ["ReportBatchItemFailures"]),
    "MaximumBatchingWindowInSeconds": ("8", 8),
    "MaximumRecordAgeInSeconds": ("90", 90),
    "MaximumRetryAttempts": ("4", 4),
    "MetricsConfig": ("{Metrics: [EventCount]}", {"Metrics": ["EventCount"]}),
    "ParallelizationFactor": ("3", 3),
    "FilterCriteria": (
        """{Filters: [{Pattern: !Sub '{"data": {"to": ["${Orders}"]}}'}]}""",
        {"Filters": [{"Pattern": '{"data": {"to": ["orders"]}}'}]},
    ),
}


@pytest.mark.parametrize("name", SETTINGS_OF_STREAMS)
def test_a_setting_of_a_stream_is_that_of_the_api(tmp_path: Path, name: str) -> None:
    text, value = SETTINGS_OF_STREAMS[name]
    properties = {"StartingPosition": "LATEST", name: text}
    found = of_event(tmp_path, "Kinesis", Stream="!GetAtt Orders.Arn", **properties)
    assert found[name] == value
    assert (found["EventSourceArn"], found["FunctionName"]) == (ORDERS, "Worker")
    assert found == of_resource(
        tmp_path, EventSourceArn=ORDERS, FunctionName="!Ref Worker", **properties
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"BatchSize": '"7"', "Enabled": '"true"'}, {"BatchSize": 7, "Enabled": True}),
        (
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": "1.5e9"},
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.5e9},
        ),
        ({"MaximumRetryAttempts": "!Ref AWS::NoValue"}, {"MaximumRetryAttempts": -1}),
        (
            {"DestinationConfig": "{OnFailure: {Type: SQS, Destination: !GetAtt Failed.Arn}}"},
            {"DestinationConfig": {"OnFailure": {"Destination": FAILED}}},
        ),
    ],
)
def test_settings_may_be_written_as_sam_and_cloudformation_have_them(
    tmp_path: Path, settings: dict[str, str], expected: dict[str, Any]
) -> None:
    settings = {"StartingPosition": "LATEST", **settings}
    found = of_event(tmp_path, "Kinesis", Stream="!GetAtt Orders.Arn", **settings)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("kind", "source", "arn"),
    [
        ("SQS", "!GetAtt Jobs.Arn", JOBS),
        ("SQS", "!Ref Jobs", JOBS),
        ("SQS", JOBS, JOBS),
        ("SQS", "!Sub 'arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs'", JOBS),
        ("Kinesis", "!GetAtt Orders.Arn", ORDERS),
        ("Kinesis", "!Ref Orders", ORDERS),
    ],
)
def test_a_source_is_found_in_every_form(tmp_path: Path, kind: str, source: str, arn: str) -> None:
    key, position = ("Queue", {}) if kind == "SQS" else ("Stream", {"StartingPosition": "LATEST"})
    settings = loaded(tmp_path, template(event(kind, **{key: source}, **position)))
    (mapping,) = settings.mappings
    assert (mapping.config.source.arn, mapping.uuid) == (arn, mapping_uuid(arn, WORKER))


@pytest.mark.parametrize("source", ["!GetAtt Users.StreamArn", "!Ref Users"])
def test_the_stream_of_a_table_is_awaited(tmp_path: Path, source: str) -> None:
    settings = loaded(
        tmp_path, template(event("DynamoDB", Stream=source, StartingPosition="LATEST"))
    )
    (awaited,) = settings.awaited
    assert (settings.mappings, awaited.table, awaited.region) == ((), "users", "us-east-1")
    stream = f"arn:aws:dynamodb:{HERE}:table/users/stream/2026-01-31T12:00:00.000"
    found = awaited.found(stream)
    assert found.uuid == mapping_uuid(stream, WORKER)
    assert request(found) == {**request(awaited.mapping), "EventSourceArn": stream}


def test_a_table_whose_stream_is_given_is_not_awaited(tmp_path: Path) -> None:
    stream = f"arn:aws:dynamodb:{HERE}:table/users/stream/2026-01-31T12:00:00.000"
    text = template(event("DynamoDB", Stream="!GetAtt Users.StreamArn", StartingPosition="LATEST"))
    settings = loaded(tmp_path, text, {"Users.StreamArn": stream})
    assert [each.config.source.arn for each in settings.mappings] == [stream]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (event("SQS", Queue=JOBS, BatchSize="0"),
         "Job.Properties.BatchSize: must be a whole number from 1 to 10000, not 0"),
        (event("SQS", Queue=JOBS, BatchSiz="5"),
         "Job.Properties.BatchSiz: unknown key; did you mean BatchSize?"),
        (event("SQS", Queue=JOBS, EventSourceArn=JOBS),
         "Job.Properties.EventSourceArn: unknown key; known here: BatchSize, Enabled, "
         "FilterCriteria, FunctionResponseTypes, KmsKeyArn, MaximumBatchingWindowInSeconds, "
         "MetricsConfig, ProvisionedPollerConfig, Queue, ScalingConfig"),
        (event("SQS", Queue=JOBS, KmsKeyArn="arn:aws:kms:us-east-1:000000000000:key/x"),
         "Job.Properties.KmsKeyArn: KMSKeyArn is not supported: filter criteria are kept as they "
         "are in the state store; remove it"),
        (event("SQS", Queue="!GetAtt Orders.Size"),
         "Job.Properties.Queue: what Orders.Size is, only its deployment knows; give it: "
         "--parameter Orders.Size=VALUE"),
        (event("SQS", BatchSize="5"),
         "Job.Properties.Queue: Unrecognized event source; write the ARN of a Kinesis stream, a "
         "DynamoDB stream or an SQS queue"),
        (event("Kinesis", Stream=ORDERS),
         "Job.Properties.StartingPosition: 1 validation error detected: Value null at "
         "'startingPosition' failed to satisfy constraint: Member must not be null; write "
         "TRIM_HORIZON or LATEST"),
        (event("Kinesis", Stream=ORDERS, StartingPosition="LATEST",
               DestinationConfig="{OnFailure: {Type: SQS}}"),
         "Job.Properties.DestinationConfig.OnFailure: has no Destination; write the ARN of a queue "
         "or topic"),
        (event("Kinesis", Stream=ORDERS, StartingPosition="LATEST",
               DestinationConfig="{OnFailure: {Type: FTP, Destination: !GetAtt Failed.Arn}}"),
         "Job.Properties.DestinationConfig.OnFailure.Type: must be one of Kafka, S3, SNS, SQS"),
        (event("DynamoDB", Stream="!GetAtt Plain.StreamArn", StartingPosition="LATEST"),
         "Job.Properties.Stream: the table Plain has no stream; add StreamSpecification to it"),
        (event("MSK", Stream="arn:x"),
         "Job.Type: Amazon MSK as an event source is not supported yet; remove it"),
        (event("SelfManagedKafka"),
         "Job.Type: self-managed Kafka as an event source is not supported yet; remove it"),
        ("        Job: {Properties: {Queue: x}}\n", "Job: has no Type; such as Type: SQS"),
        ("        Job: [a]\n", "Job: has no Type; such as Type: SQS"),
        (event("SQS", **{"'Fn::If'": "[A, {Queue: x}, {Queue: y}]"}),
         "Job.Properties.Fn::If: unknown key; known here: BatchSize, Enabled, FilterCriteria, "
         "FunctionResponseTypes, KmsKeyArn, MaximumBatchingWindowInSeconds, MetricsConfig, "
         "ProvisionedPollerConfig, Queue, ScalingConfig"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_event_is_told_with_its_place(
    tmp_path: Path, events: str, said: str
) -> None:
    (line, *more) = lines(tmp_path, template(events))
    assert line == f"template.yaml:9: {EVENTS}.{said}"
    assert all("Unrecognized event source" in each for each in more)


def test_events_that_are_no_block_are_told(tmp_path: Path) -> None:
    assert lines(tmp_path, template("        - Job\n")) == [
        f"template.yaml:8: {EVENTS}: must be a block of keys; name each event"
    ]


def test_each_problem_has_the_line_on_which_it_stands(tmp_path: Path) -> None:
    text = template(
        "        Job:\n"
        "          Type: SQS\n"
        "          Properties:\n"
        f"            Queue: {JOBS}\n"
        "            BatchSize: 100\n"
        "            Enabled: maybe\n"
    )
    assert [line.split(": ", 2)[:2] for line in lines(tmp_path, text)] == [
        ["template.yaml:13", f"{EVENTS}.Job.Properties.BatchSize"],
        ["template.yaml:14", f"{EVENTS}.Job.Properties.Enabled"],
    ]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ("EventSourceArn: !GetAtt Jobs.Arn", ".FunctionName: is missing; name the function that "
                                             "gets the records"),
        (f"EventSourceArn: {JOBS}, FunctionName: nobody",
         ".FunctionName: Function does not exist; declared under functions: Worker"),
        (f"EventSourceArn: {JOBS}, FunctionName: "
         "'arn:aws:lambda:us-east-1:111111111111:function:Worker'",
         ".FunctionName: Function does not exist; functions here have account 000000000000: write "
         "Worker, or set aws.account_id"),
        (f"EventSourceArn: {JOBS}, FunctionName: !Ref Worker, Tags: {{a: b}}",
         ".Tags: must be a list of Key and Value"),
        (f"EventSourceArn: {JOBS}, FunctionName: !Ref Worker, Queue: x",
         ".Queue: unknown key; did you mean Queues?"),
        (f"EventSourceArn: {JOBS}, FunctionName: !Ref Worker, Queues: [x]",
         ".Queues: Unsupported Queues parameter for given event source mapping type; it is for "
         "other sources only: remove it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_resource_is_told_with_its_place(
    tmp_path: Path, properties: str, said: str
) -> None:
    more = f"  M: {{Type: AWS::Lambda::EventSourceMapping, Properties: {{{properties}}}}}\n"
    text = worker("        {}\n", SOURCES + more)
    (line,) = lines(tmp_path, text)
    assert line == f"template.yaml:{text.count(chr(10))}: Resources.M.Properties{said}"


def test_tags_are_a_list_of_key_and_value(tmp_path: Path) -> None:
    found = of_resource(
        tmp_path,
        EventSourceArn=JOBS,
        FunctionName="!GetAtt Worker.Arn",
        Tags="[{Key: team, Value: !Ref Jobs}, {Key: size, Value: 5}]",
    )
    url = "https://sqs.us-east-1.amazonaws.com/000000000000/jobs"
    assert (found["Tags"], found["FunctionName"]) == ({"team": url, "size": "5"}, WORKER)


def test_a_mapping_whose_condition_is_false_is_none(tmp_path: Path) -> None:
    text = template(queue_event("!GetAtt Jobs.Arn"))
    conditions = "Conditions: {No: !Equals [a, b]}\n"
    gone = text.replace("Serverless::Function\n", "Serverless::Function\n    Condition: No\n")
    assert loaded(tmp_path, conditions + gone).mappings == ()
    vague = "Parameters: {P: {Type: String}}\nConditions: {No: !Equals [!Ref P, b]}\n"
    assert lines(tmp_path, vague + gone) == [
        "template.yaml:6: Resources.Worker.Condition: the parameter P has no value; give it: "
        "--parameter P=VALUE"
    ]


def test_two_mappings_of_one_source_and_function_are_told(tmp_path: Path) -> None:
    events = queue_event("!GetAtt Jobs.Arn") + queue_event(JOBS).replace("Job", "Again")
    assert lines(tmp_path, template(events)) == [
        f"template.yaml:10: {EVENTS}.Again.Properties: has the source and the function of the "
        "mapping on line 9"
    ]


def test_what_is_no_event_source_mapping_is_said_once_for_each_kind(tmp_path: Path) -> None:
    events = (
        queue_event("!GetAtt Jobs.Arn")
        + "        Get: {Type: Api, Properties: {Path: /, Method: get}}\n"
        + "        Put: {Type: Api, Properties: {Path: /, Method: put}}\n"
        + "        Daily: {Type: Schedule, Properties: {Schedule: rate(1 day)}}\n"
    )
    more = "  Nested: {Type: AWS::CloudFormation::Stack}\n"
    text = f"Transform: [AWS::Serverless-2016-10-31, Mine]\n{template(events, more)}"
    assert notes(tmp_path, text) == [
        "1: Transform: Mine is not applied",
        f"11: {EVENTS}.Get: events of type Api are no event source mappings: not run",
        f"13: {EVENTS}.Daily: events of type Schedule are no event source mappings: not run",
        "20: Resources.Nested: is a stack of its own, which is not read",
    ]


def test_a_filter_that_is_probably_not_meant_is_warned_of(tmp_path: Path) -> None:
    filters = """{Filters: [{Pattern: '{"Body": ["x"]}'}]}"""
    text = template(queue_event("!GetAtt Jobs.Arn", f", FilterCriteria: {filters}"))
    (warning,) = loaded(tmp_path, text).warnings
    assert warning.startswith(
        f"{tmp_path}/template.yaml:9: {EVENTS}.Job.Properties.FilterCriteria.Filters[0]"
    )


def test_a_name_that_is_taken_for_granted_is_said(tmp_path: Path) -> None:
    text = worker(queue_event("!GetAtt Todo.Arn"), "  Todo: {Type: AWS::SQS::Queue}\n")
    assert notes(tmp_path, text) == [
        "10: Resources.Todo: has no QueueName, so it is taken to be named Todo; "
        "--parameter Todo=NAME says otherwise"
    ]
    (mapping,) = loaded(tmp_path, text, {"Todo": "app-Todo-1A"}).mappings
    assert mapping.config.source.name == "app-Todo-1A"


def test_where_the_template_is_deployed_is_said_where_it_is_not_known(tmp_path: Path) -> None:
    text = template(queue_event("!GetAtt Jobs.Arn"))
    said = [note.split(": ", 1)[1] for note in loaded(tmp_path, text, environ={}).notes]
    assert said == [
        "AWS::Region is taken to be us-east-1: set AWS_REGION, or aws.region in CONFIG",
        "AWS::AccountId is taken to be 000000000000: --parameter AWS::AccountId=ID, or "
        "aws.account_id in CONFIG, says otherwise",
    ]
    given = {"AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"}
    settings = loaded(tmp_path, text, given, environ={})
    assert settings.notes == ()
    assert settings.mappings[0].config.source.arn == "arn:aws:sqs:eu-west-1:123456789012:jobs"
    assert settings.aws.account_id == "123456789012"
