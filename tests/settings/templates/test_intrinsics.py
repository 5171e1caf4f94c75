"""Intrinsic functions: what they give, that they are looked at only where it matters, bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.templates.written import lines, loaded, queue_event, worker

SECTIONS = """
Parameters:
  Stage: {Type: String, Default: dev, AllowedValues: [dev, prod]}
  Names: {Type: CommaDelimitedList, Default: "one, two"}
  Queue: {Type: String}
  Secret: {Type: "AWS::SSM::Parameter::Value<String>", Default: /app/secret}
Mappings:
  Places:
    us-east-1: {name: here, list: [a, b]}
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsProd: !Not [!Condition IsDev]
  Both: !And [!Condition IsDev, !Condition IsProd]
  Either: !Or [!Condition IsDev, !Condition IsProd]
  Loop: !Not [!Condition Loop]
  Vague: !Equals [!Ref Queue, x]
Resources:
  Jobs: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "jobs-${Stage}"}}
  Fifo: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Orders: {Type: AWS::Kinesis::Stream, Properties: {Name: orders}}
  Users: {Type: AWS::DynamoDB::Table, Properties: {TableName: users, StreamSpecification: {}}}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: topic}}
  Pail: {Type: AWS::S3::Bucket}
  Job: {Type: AWS::IAM::Role, Properties: {RoleName: runs}}
  Api: {Type: AWS::Serverless::Api}
  Gone: {Type: AWS::SQS::Queue, Condition: IsProd}
  Loop1: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt Loop2.QueueName}}
  Loop2: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt Loop1.QueueName}}
  Live: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref Worker, Name: live}}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.11
      AutoPublishAlias: blue
      Environment:
        Variables:
          VALUE: %s
      Events:
        Job: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn}}
"""

LINE = SECTIONS.partition("VALUE:")[0].count("\n") + 1
HERE = "us-east-1:000000000000"


def value(folder: Path, text: str, **parameters: str) -> str | None:
    """The variable of the function that has `text` as its value; None: it has none."""
    settings = loaded(folder, SECTIONS % text, parameters)
    environment = settings.functions["Worker:blue"].runs.environment  # type: ignore[union-attr]
    found = environment.get("VALUE")
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text", "text"),
        ("010", "010"),
        ("true", "true"),
        ("!Ref Stage", "dev"),
        ("{Ref: Stage}", "dev"),
        ("!Ref AWS::NoValue", None),
        ("!Ref AWS::Region", "us-east-1"),
        ("!Ref AWS::Partition", "aws"),
        ("!Ref AWS::AccountId", "000000000000"),
        ("!Ref AWS::URLSuffix", "amazonaws.com"),
        ("!GetAtt Jobs.Arn", f"arn:aws:sqs:{HERE}:jobs-dev"),
        ("!GetAtt [Jobs, Arn]", f"arn:aws:sqs:{HERE}:jobs-dev"),
        ("{'Fn::GetAtt': [Jobs, Arn]}", f"arn:aws:sqs:{HERE}:jobs-dev"),
        ("{'Fn::GetAtt': Jobs.QueueName}", "jobs-dev"),
        ("!Ref Jobs", "https://sqs.us-east-1.amazonaws.com/000000000000/jobs-dev"),
        ("!Ref Orders", "orders"),
        ("!Ref Users", "users"),
        ("!GetAtt Users.Arn", f"arn:aws:dynamodb:{HERE}:table/users"),
        ("!Ref Topic", f"arn:aws:sns:{HERE}:topic"),
        ("!GetAtt Topic.TopicName", "topic"),
        ("!Ref Pail", "pail"),
        ("!GetAtt Pail.Arn", "arn:aws:s3:::pail"),
        ("!GetAtt Job.Arn", "arn:aws:iam::000000000000:role/runs"),
        ("!GetAtt Fifo.QueueName", "Fifo.fifo"),
        ("!Ref Worker", "Worker"),
        ("!GetAtt Worker.Arn", f"arn:aws:lambda:{HERE}:function:Worker"),
        ("!Ref Live", f"arn:aws:lambda:{HERE}:function:Worker:live"),
        ("!Ref Worker.Alias", f"arn:aws:lambda:{HERE}:function:Worker:blue"),
        ("!Sub '${Worker.Alias}'", f"arn:aws:lambda:{HERE}:function:Worker:blue"),
        ("!Sub '${Stage}-${Jobs.QueueName}-${!Stage}'", "dev-jobs-dev-${Stage}"),
        ("!Sub ['${a}/${Stage}', {a: !Select [1, !Ref Names]}]", "two/dev"),
        ("!Join ['-', [a, !Ref Stage, !Ref AWS::NoValue]]", "a-dev"),
        ("!Join [',', !Ref Names]", "one,two"),
        ("!Join ['', !Split ['-', a-b-c]]", "abc"),
        ("!Select [1, !Split ['/', a/b]]", "b"),
        ("!Select ['0', [x, y]]", "x"),
        ("!FindInMap [Places, !Ref AWS::Region, name]", "here"),
        ("!Join ['', !FindInMap [Places, us-east-1, list]]", "ab"),
        ("!FindInMap [Places, mars, name, {DefaultValue: none}]", "none"),
        ("!If [IsDev, a, b]", "a"),
        ("!If [IsProd, a, b]", "b"),
        ("!If [Both, a, b]", "b"),
        ("!If [Either, a, !Ref Nowhere]", "a"),
        ("!If [IsProd, a, !Ref AWS::NoValue]", None),
        ("!ToJsonString {a: [!Ref Stage, 1]}", '{"a": ["dev", 1]}'),
    ],
)  # fmt: skip
def test_what_a_function_gives(tmp_path: Path, text: str, expected: str | None) -> None:
    assert value(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!Ref Queue", "the parameter Queue has no value; give it: --parameter Queue=VALUE"),
        ("!Ref Secret", "the parameter Secret is kept in SSM; give it: --parameter Secret=VALUE"),
        ("!Ref AWS::StackName", "the parameter AWS::StackName has no value; give it: "
                                "--parameter AWS::StackName=VALUE"),
        ("!Ref Nowhere", "the template has no parameter or resource Nowhere"),
        ("!Ref Gone", "Gone is not there: its condition IsProd is false"),
        ("!Ref Api", "what Api is, only its deployment knows; give it: --parameter Api=VALUE"),
        ("!GetAtt Jobs.Size", "what Jobs.Size is, only its deployment knows; give it: "
                              "--parameter Jobs.Size=VALUE"),
        ("!GetAtt Users.StreamArn", "only the running table knows its stream's ARN; give it: "
                                    "--parameter Users.StreamArn=ARN"),
        ("!Sub 's=${Users.StreamArn}'", "only the running table knows its stream's ARN; give it: "
                                        "--parameter TABLE.StreamArn=ARN"),
        ("!GetAtt Jobs", "Fn::GetAtt must be RESOURCE.ATTRIBUTE"),
        ("!ImportValue x", "Fn::ImportValue cannot be known here; write what it gives"),
        ("!Base64 x", "Fn::Base64 cannot be known here; write what it gives"),
        ("{'Fn::Magic': x}", "Fn::Magic cannot be known here; write what it gives"),
        ("!Equals [a, a]", "Fn::Equals cannot be known here; write what it gives"),
        ("!If [Nothing, a, b]", "the template has no condition Nothing"),
        ("!If [Loop, a, b]", "the condition Loop leads to itself"),
        ("!If [Vague, a, b]", "the parameter Queue has no value; give it: --parameter Queue=VALUE"),
        ("!If [IsDev, a]", "Fn::If must be [CONDITION, VALUE, VALUE]"),
        ("!Join [',']", "Fn::Join must be [TEXT, LIST]"),
        ("!Join [',', text]", "must be a list"),
        ("!Split ['', text]", "Fn::Split must have a separator"),
        ("!Select [2, [a, b]]", "Fn::Select: the list has 2 items, and none at 2"),
        ("!Select [-1, [a, b]]", 'Fn::Select: "-1" is no index'),
        ("!Sub [a]", "Fn::Sub must be [TEXT, {NAME: VALUE}]"),
        ("!FindInMap [Places, mars, name]", 'Fn::FindInMap: Mappings have no "mars" there'),
        ("!GetAtt Loop1.QueueName", "the name of Loop1 leads to itself"),
        ("!Sub ['${a}', {a: !Ref Names}]", "must be text"),
        ("[a]", "must be text"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_told_where_it_matters(
    tmp_path: Path, text: str, said: str
) -> None:
    path = "Resources.Worker.Properties.Environment.Variables.VALUE"
    assert lines(tmp_path, SECTIONS % text) == [f"template.yaml:{LINE}: {path}: {said}"]


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("!Ref Stage", {"Stage": "prod"}, "prod"),
        ("!If [IsProd, a, b]", {"Stage": "prod"}, "a"),
        ("!Ref Secret", {"Secret": "found"}, "found"),
        ("!Ref AWS::StackName", {"AWS::StackName": "app"}, "app"),
        ("!Ref AWS::AccountId", {"AWS::AccountId": "123456789012"}, "123456789012"),
        ("!GetAtt Orders.Arn", {"AWS::Region": "cn-north-1"},
         "arn:aws-cn:kinesis:cn-north-1:000000000000:stream/orders"),
        ("!Ref Jobs", {"AWS::Region": "cn-north-1"},
         "https://sqs.cn-north-1.amazonaws.com.cn/000000000000/jobs-dev"),
        ("!GetAtt Fifo.Arn", {"Fifo": "app-Fifo-1A.fifo"}, f"arn:aws:sqs:{HERE}:app-Fifo-1A.fifo"),
        ("!Ref Api", {"Api": "a1b2"}, "a1b2"),
        ("!GetAtt Api.Url", {"Api.Url": "https://x"}, "https://x"),
        ("!Sub '${Api.Url}/y'", {"Api.Url": "https://x"}, "https://x/y"),
        ("!GetAtt Users.StreamArn", {"Users.StreamArn": "arn:s"}, "arn:s"),
    ],
)  # fmt: skip
def test_the_command_line_gives_what_is_not_known(
    tmp_path: Path, text: str, parameters: dict[str, str], expected: str
) -> None:
    assert value(tmp_path, text, **parameters) == expected


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("Nope", "x", "--parameter Nope: there is no parameter or resource of this name; "
                      "remove it"),
        ("stage", "x", "--parameter stage: there is no parameter or resource of this name; "
                       "did you mean Stage?"),
    ],
)  # fmt: skip
def test_a_parameter_that_the_template_does_not_have_is_told(
    tmp_path: Path, key: str, given: str, said: str
) -> None:
    assert lines(tmp_path, SECTIONS % "x", {key: given}) == [f"template.yaml:2: {said}"]


def test_a_value_that_is_not_allowed_is_told(tmp_path: Path) -> None:
    found = lines(tmp_path, SECTIONS % "x", {"Stage": "test"})
    assert {line.partition(": ")[2].partition(": ")[2] for line in found} == {
        'the parameter Stage is "test"; allowed: dev, prod'
    }


@pytest.mark.parametrize("given", [{"AWS::Region": "us east"}, {"AWS::AccountId": "12"}])
def test_a_place_that_is_none_is_told(tmp_path: Path, given: dict[str, str]) -> None:
    (first, *_) = lines(tmp_path, SECTIONS % "x", given)
    assert "--parameter" in first


def test_what_is_not_read_need_not_be_known(tmp_path: Path) -> None:
    text = worker(
        queue_event("arn:aws:sqs:us-east-1:000000000000:jobs"),
        """
  Site:
    Type: AWS::CloudFront::Distribution
    Properties: {Cert: !ImportValue cert, Code: !Base64 x, Zone: !GetAZs "", Of: !Cidr [a, 1]}
Outputs: {Url: {Value: !GetAtt Site.Domain}}
""",
    )
    assert len(loaded(tmp_path, text).mappings) == 1


def test_a_text_cannot_grow_without_bounds(tmp_path: Path) -> None:
    queues = "  Q0: {Type: AWS::SQS::Queue, Properties: {QueueName: aaaaaaaa}}\n" + "".join(
        f"  Q{n}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: "
        f"!Sub '${{Q{n - 1}.QueueName}}${{Q{n - 1}.QueueName}}'}}}}\n"
        for n in range(1, 40)
    )
    (line,) = lines(tmp_path, worker(queue_event("!GetAtt Q30.Arn"), queues))
    assert "is a text of more than 65536 characters" in line


def test_work_cannot_grow_without_bounds(tmp_path: Path) -> None:
    letters = f"Mappings: {{M: {{a: {{list: [{', '.join('a' * 5_000)}]}}}}}}\n"
    many = "".join(
        queue_event("!Join ['', !FindInMap [M, a, list]]").replace("Job", f"J{n}")
        for n in range(100)
    )
    found = lines(tmp_path, letters + worker(many))
    assert any("the template's functions are too much work" in line for line in found)


def test_functions_cannot_be_nested_without_bounds(tmp_path: Path) -> None:
    queues = "  Q0: {Type: AWS::SQS::Queue}\n" + "".join(
        f"  Q{n}: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Ref Q{n - 1}}}}}\n"
        for n in range(1, 500)
    )
    (line,) = lines(tmp_path, worker(queue_event("!GetAtt Q499.Arn"), queues))
    assert "functions lead to one another, or are too many inside one another" in line
