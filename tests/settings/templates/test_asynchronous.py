"""What templates say of asynchronous invocations is what a config says under `async`."""

from __future__ import annotations

from pathlib import Path

from poller.settings.values import AsyncConfig
from tests.settings.templates.written import lines, loaded, notes

HERE = "us-east-1:000000000000"
MAPPING = f"""
  M:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {{EventSourceArn: "arn:aws:sqs:{HERE}:jobs", FunctionName: !Ref Worker}}
  Failed: {{Type: AWS::SQS::Queue, Properties: {{QueueName: failed}}}}
  Bus: {{Type: AWS::Events::EventBus, Properties: {{Name: results}}}}
"""
SAM = (
    """
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: python3.12
"""
    + "{more}"
    + MAPPING
)
PLAIN = SAM.replace("Serverless::Function", "Lambda::Function").replace("CodeUri", "Code")
EVENTS = """
      EventInvokeConfig:
        MaximumRetryAttempts: 0
        MaximumEventAgeInSeconds: 300
        DestinationConfig:
          OnSuccess: {Type: EventBridge, Destination: !GetAtt Bus.Arn}
          OnFailure: {Type: SQS, Destination: !GetAtt Failed.Arn}
"""
FAILED = f"arn:aws:sqs:{HERE}:failed"
BUS = f"arn:aws:events:{HERE}:event-bus/results"


def written(folder: Path, text: str) -> AsyncConfig:
    (function,) = loaded(folder, text).functions.values()
    return function.asynchronous


def test_what_sam_says_of_events_is_used(tmp_path: Path) -> None:
    more = EVENTS + "      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Failed.Arn}"
    assert written(tmp_path, SAM.replace("{more}", more)) == AsyncConfig(
        retries_max=0, age_max=300, on_success=BUS, on_failure=FAILED, dead_letter=FAILED
    )


def test_what_cloudformation_says_of_events_is_used(tmp_path: Path) -> None:
    more = f"""
      DeadLetterConfig: {{TargetArn: !GetAtt Failed.Arn}}
  OfWorker:
    Type: AWS::Lambda::EventInvokeConfig
    Properties:
      FunctionName: !Ref Worker
      Qualifier: $LATEST
      MaximumRetryAttempts: 1
      DestinationConfig: {{OnFailure: {{Destination: "{FAILED}"}}}}
  OfAnother:
    Type: AWS::Lambda::EventInvokeConfig
    Properties: {{FunctionName: another, Qualifier: $LATEST, MaximumRetryAttempts: 0}}
  OfTheAlias:
    Type: AWS::Lambda::EventInvokeConfig
    Properties: {{FunctionName: !Ref Worker, Qualifier: live, MaximumRetryAttempts: 0}}
"""
    assert written(tmp_path, PLAIN.replace("{more}", more)) == AsyncConfig(
        retries_max=1, age_max=21_600, on_success=None, on_failure=FAILED, dead_letter=FAILED
    )


def test_without_a_word_the_rules_are_lambdas(tmp_path: Path) -> None:
    assert written(tmp_path, SAM.replace("{more}", "")) == AsyncConfig()


def test_a_destination_that_only_the_deployment_knows_is_a_line(tmp_path: Path) -> None:
    more = """
      EventInvokeConfig: {DestinationConfig: {OnFailure: {Type: SQS}}}
      DeadLetterQueue: {Type: SQS, TargetArn: !ImportValue elsewhere}
"""
    text = SAM.replace("{more}", more)
    assert written(tmp_path, text) == AsyncConfig()
    said = [line for line in notes(tmp_path, text) if "nobody is told" in line]
    assert [line.partition("Properties.")[2].partition(": ")[0] for line in said] == [
        "EventInvokeConfig.DestinationConfig.OnFailure",
        "DeadLetterQueue.TargetArn",
    ]


def test_what_is_wrong_is_told_at_its_place(tmp_path: Path) -> None:
    text = SAM.replace("{more}", EVENTS.replace("Attempts: 0", "Attempts: 3"))
    (line,) = lines(tmp_path, text)
    assert line == (
        "template.yaml:11: Resources.Worker.Properties.EventInvokeConfig.MaximumRetryAttempts: "
        "must be a whole number from 0 to 2, not 3"
    )
