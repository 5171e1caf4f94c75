"""Functions of templates: a Python function runs from its folder, and CONFIG goes before it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from poller.settings import CommandConfig, EndpointConfig, FunctionConfig, HandlerConfig
from tests.settings.templates.written import lines, loaded, notes

JOBS = "arn:aws:sqs:us-east-1:000000000000:jobs"
RESOURCES = "Resources.Worker.Properties"

SAM = """
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.12
      Events: {{Job: {{Type: SQS, Properties: {{Queue: {jobs}}}}}}}
{properties}
"""
PLAIN = """
Resources:
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Handler: app.handler
      Runtime: python3.12
{properties}
  M:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {{EventSourceArn: {jobs}, FunctionName: !Ref Worker}}
"""


def sam(*properties: str) -> str:
    return SAM.format(jobs=JOBS, properties="\n".join(f"      {each}" for each in properties))


def plain(*properties: str) -> str:
    return PLAIN.format(jobs=JOBS, properties="\n".join(f"      {each}" for each in properties))


def only_function(folder: Path, text: str, config: str | None = None) -> FunctionConfig:
    settings = loaded(folder, text, config=config)
    (mapping,) = settings.mappings
    assert mapping.function_arn.endswith(f":function:{mapping.function}")
    return settings.functions[mapping.function]


def test_a_python_function_runs_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = "Globals: {Function: {MemorySize: 512, Environment: {Variables: {A: 1, B: 2}}}}" + sam(
        "Timeout: 30",
        "ReservedConcurrentExecutions: '4'",
        "Environment: {Variables: {B: x, C: !Ref AWS::NoValue, D: ''}}",
        "Role: arn:aws:iam::000000000000:role/own",
        "FunctionName: orders",
    )
    assert only_function(tmp_path, text) == FunctionConfig(
        name="orders",
        timeout=30.0,
        concurrency=4,
        role="arn:aws:iam::000000000000:role/own",
        runs=HandlerConfig(
            handler="app.handler",
            folder=tmp_path / "code",
            python=sys.executable,
            memory=512,
            environment={"A": "1", "B": "x", "D": ""},
        ),
        line=0,
    )


def test_a_custom_runtime_runs_from_its_folder_and_is_told_its_handler(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "bootstrap").touch(mode=0o755)
    text = sam("Environment: {Variables: {A: x}}").replace("python3.12", "provided.al2023")
    assert only_function(tmp_path, text).runs == CommandConfig(
        arguments=("./bootstrap",),
        folder=tmp_path / "code",
        memory=None,
        environment={"A": "x", "_HANDLER": "app.handler"},
    )


@pytest.mark.parametrize(
    ("text", "place"), [(sam(), "6: {R}.CodeUri"), (plain("Code: code"), "8: {R}.Code")]
)
def test_a_custom_runtime_that_is_not_built_is_told(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "code").mkdir()
    assert lines(tmp_path, text.replace("python3.12", "provided.al2023")) == [
        f"template.yaml:{place.format(R=RESOURCES)}: has no program bootstrap; build it, and run "
        "the template of the build: .aws-sam/build/template.yaml"
    ]


def test_defaults_are_those_of_aws(tmp_path: Path) -> None:
    function = only_function(tmp_path, sam("Role: !GetAtt Nowhere.Arn"))
    assert (function.name, function.timeout, function.concurrency) == ("Worker", 3.0, 10)
    assert function.role == "arn:aws:iam::000000000000:role/poller"
    assert isinstance(function.runs, HandlerConfig)
    assert function.runs.memory is None


def test_code_is_beside_the_template_where_nothing_is_said(tmp_path: Path) -> None:
    function = only_function(tmp_path, sam().replace("      CodeUri: code/\n", ""))
    assert isinstance(function.runs, HandlerConfig)
    assert function.runs.folder == tmp_path


def test_a_function_of_cloudformation_runs_from_its_folder(tmp_path: Path) -> None:
    function = only_function(tmp_path, plain("Code: code"))
    assert isinstance(function.runs, HandlerConfig)
    assert function.runs.folder == tmp_path / "code"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (sam().replace("python3.12", "nodejs22.x"),
         "8: {R}.Runtime: Worker: functions of nodejs22.x cannot run here yet"),
        (sam("PackageType: Image"), "10: {R}.PackageType: Worker: images cannot run here yet"),
        (sam("InlineCode: 'x = 1'"),
         "10: {R}.InlineCode: Worker: functions whose code is in the template cannot run here yet"),
        (sam().replace("code/", "s3://bucket/code.zip"),
         "6: {R}.CodeUri: Worker: functions whose code is not in a folder here cannot run here "
         "yet"),
        (sam().replace("code/", "{Bucket: b, Key: k}"),
         "6: {R}.CodeUri: Worker: functions whose code is not in a folder here cannot run here "
         "yet"),
        (plain("Code: {ZipFile: 'x = 1'}"),
         "8: {R}.Code: Worker: functions whose code is in the template cannot run here yet"),
        (plain("Code: {S3Bucket: b, S3Key: k}"),
         "8: {R}.Code: Worker: functions whose code is not in a folder here cannot run here yet"),
        (plain(),
         "5: {R}.Code: Worker: functions whose code is not in a folder here cannot run here yet"),
    ],
)  # fmt: skip
def test_what_cannot_run_yet_is_one_line_with_the_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    remedy = "; declare Worker in CONFIG, with what runs it"
    assert lines(tmp_path, text) == [f"template.yaml:{said.format(R=RESOURCES)}{remedy}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (sam("Timeout: 901"), "10: {R}.Timeout: must be a number from 1 to 900, not 901"),
        (sam("Timeout: [1]"), "10: {R}.Timeout: must be a number from 1 to 900, not a list"),
        (sam("MemorySize: 1"), "10: {R}.MemorySize: must be a whole number from 128 to 10240, "
                               "not 1"),
        (sam("ReservedConcurrentExecutions: 0"),
         "10: {R}.ReservedConcurrentExecutions: must be a whole number from 1 to 10000, not 0"),
        (sam().replace("code/", "nowhere/"),
         "6: {R}.CodeUri: is no folder; name the folder of the code"),
        (plain("Code: nowhere"), "8: {R}.Code: is no folder; name the folder of the code"),
        (sam().replace("app.handler", "handler"),
         "7: {R}.Handler: must be MODULE.NAME, such as app.orders.handler"),
        (sam("Environment: {Variables: {_HANDLER: x}}"),
         "10: {R}.Environment.Variables._HANDLER: is set by poller, as Lambda does; remove it"),
        (sam().replace("      Runtime: python3.12\n", ""),
         "5: {R}.Runtime: is missing; such as python3.12"),
        (sam().replace("      Handler: app.handler\n", ""),
         "5: {R}.Handler: is missing; such as app.handler"),
        ("Globals: {Function: {Timeout: 901}}" + sam(),
         "1: Globals.Function.Timeout: must be a number from 1 to 900, not 901"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_function_is_told_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    assert lines(tmp_path, text) == [f"template.yaml:{said.format(R=RESOURCES)}"]


def test_a_function_without_mappings_is_not_looked_at(tmp_path: Path) -> None:
    text = sam() + "  Site: {Type: AWS::Serverless::Function, Properties: {Runtime: nodejs22.x}}\n"
    assert loaded(tmp_path, text).functions.keys() == {"Worker"}


def test_layers_are_said_not_to_be_loaded(tmp_path: Path) -> None:
    assert notes(tmp_path, sam("Layers: [arn:x]")) == [
        f"10: {RESOURCES}.Layers: are not loaded: install what they have where poller runs"
    ]


# Aliases.


def test_an_event_goes_to_the_alias_that_sam_publishes(tmp_path: Path) -> None:
    settings = loaded(tmp_path, sam("AutoPublishAlias: live"))
    (mapping,) = settings.mappings
    arn = "arn:aws:lambda:us-east-1:000000000000:function:Worker:live"
    assert (mapping.function, mapping.function_arn) == ("Worker:live", arn)
    assert isinstance(settings.functions["Worker:live"].runs, HandlerConfig)


def test_an_alias_of_a_function_is_that_function(tmp_path: Path) -> None:
    alias = "  Live:\n    Type: AWS::Lambda::Alias\n    Properties: {FunctionName: !Ref Worker, "
    text = plain("Code: code").replace("!Ref Worker}", "!Ref Live}") + f"{alias}Name: live}}\n"
    (mapping,) = loaded(tmp_path, text).mappings
    assert mapping.function == "Worker:live"


# CONFIG.


@pytest.mark.parametrize("declared", ["Worker", "orders", "Worker:live", "orders:live"])
def test_what_config_declares_goes_before_the_template(tmp_path: Path, declared: str) -> None:
    text = sam("FunctionName: orders", "AutoPublishAlias: live").replace("python3.12", "nodejs22.x")
    config = f"functions: {{'{declared}': {{url: http://127.0.0.1:8080/, timeout: 7}}}}\n"
    function = only_function(tmp_path, text, config)
    assert (function.name, function.timeout) == ("orders:live", 7.0)
    assert isinstance(function.runs, EndpointConfig)


def test_a_mapping_of_config_may_have_a_function_of_the_template(tmp_path: Path) -> None:
    more = JOBS.replace("jobs", "more")
    config = f"mappings: [{{EventSourceArn: '{more}', FunctionName: Worker, BatchSize: 1}}]\n"
    settings = loaded(tmp_path, sam(), config=config)
    assert [each.config.source.arn for each in settings.mappings] == [more, JOBS]
    assert settings.functions.keys() == {"Worker"}


def test_a_mapping_of_config_goes_before_the_same_one_of_the_template(tmp_path: Path) -> None:
    config = f"mappings: [{{EventSourceArn: '{JOBS}', FunctionName: Worker, BatchSize: 1}}]\n"
    settings = loaded(tmp_path, sam(), config=config)
    assert [each.config.batch_size for each in settings.mappings] == [1]
    (note,) = settings.notes
    assert note.endswith(".Events.Job.Properties: the mapping of CONFIG goes before this one")


def test_what_is_wrong_with_both_is_told_at_once(tmp_path: Path) -> None:
    assert lines(tmp_path, sam("Timeout: 901"), config="listen: x\n") == [
        "poller.yaml:1: listen: must be HOST:PORT, such as 127.0.0.1:9310",
        f"template.yaml:10: {RESOURCES}.Timeout: must be a number from 1 to 900, not 901",
    ]


def test_without_config_state_is_beside_the_template(tmp_path: Path) -> None:
    settings = loaded(tmp_path, sam())
    assert settings.state == f"sqlite:{tmp_path}/poller.db"
    assert settings.listen == ("127.0.0.1", 9310)
