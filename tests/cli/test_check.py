"""`poller check`: the exit code and what is printed; every example of the repository is right."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

import pytest
import yaml

from poller.cli import check
from poller.settings import HandlerConfig, load
from poller.settings.asynchronous import AsyncEntry
from poller.settings.auth import AuthEntry
from poller.settings.loading import KEYS
from poller.settings.readers import keys_of
from poller.settings.schema import AwsEntry, FunctionEntry, RuntimeApiEntry
from poller.settings.tracing import TracingEntry
from poller.wire.mappings import APPLIES_TO, SourceKind

CONFIG = Path(__file__).parents[2] / "config"
ANNOTATED = CONFIG / "poller.yaml"
EXAMPLES = [ANNOTATED, *sorted((CONFIG / "examples").glob("*.[yj]*[ln]"))]


TEMPLATE = CONFIG / "examples" / "sam" / "template.yaml"


def run(path: Path | str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    options = parser.parse_args(["check", str(path), *more])
    code = options.run(options)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_right(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(path, capsys)
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: ok, ")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_handlers_of_every_example_are_there(path: Path) -> None:
    for function in load(path, {}, now=2e9).functions.values():
        if isinstance(function.runs, HandlerConfig):
            module, _, name = function.runs.handler.rpartition(".")
            tree = ast.parse((function.runs.folder / f"{module}.py").read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_annotated_config_has_every_setting() -> None:
    text = ANNOTATED.read_text()
    of_streams_and_queues = {
        name
        for name, kinds in APPLIES_TO.items()
        if kinds & set(SourceKind)
        and name
        not in {
            "KMSKeyArn",
            "ProvisionedPollerConfig",
            "ScalingConfig",
            "Tags",
        }
    }
    entries = (AsyncEntry, AwsEntry, AuthEntry, FunctionEntry, RuntimeApiEntry, TracingEntry)
    of_blocks = {key for entry in entries for key in keys_of(entry)}
    keys = {*KEYS, *of_blocks, *of_streams_and_queues}
    assert {key for key in keys if f"{key}:" not in text} == set()


def test_a_right_file_is_one_line_that_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "poller.yaml"
    for functions, counted in (
        ({}, "0 functions, 0 mappings"),
        ({"f": {"url": "http://h"}}, "1 function, 0 mappings"),
    ):
        path.write_text(yaml.safe_dump({"functions": functions}))
        assert run(path, capsys) == (0, f"{path}: ok, {counted}\n", "")


def test_a_wrong_file_is_a_line_for_each_problem_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "poller.yaml"
    path.write_text("listen: x\nstate: y\n")
    assert run(path, capsys) == (
        2,
        "",
        f"{path}:1: listen: must be HOST:PORT, such as 127.0.0.1:9310\n"
        f"{path}:2: state: must be sqlite:PATH, such as sqlite:poller.db\n",
    )


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.yaml"
    assert run(path, capsys) == (2, "", f"{path}: cannot be read: No such file or directory\n")


def test_the_example_template_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("--template", capsys, str(TEMPLATE), "--parameter", "Stage=prod")
    assert (code, err) == (0, "")
    *_, last = out.splitlines()
    assert last == f"{TEMPLATE}: ok, 1 function, 3 mappings"


def test_a_config_and_a_template_are_checked_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, template = tmp_path / "poller.yaml", tmp_path / "template.yaml"
    config.write_text("aws: {region: eu-west-1, endpoint_url: 'http://127.0.0.1:4566'}\n")
    template.write_text("Resources: {Jobs: {Type: AWS::SQS::Queue}}\n")
    assert run(config, capsys, "--template", str(template)) == (
        0,
        f"{template}:1: Resources: have no event source mappings\n"
        f"{config} and {template}: ok, 0 functions, 0 mappings\n",
        "",
    )
    config.write_text("listen: x\n")
    template.write_text("a: 1\n")
    code, out, err = run(config, capsys, "--template", str(template))
    assert (code, out) == (2, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        f"{config}:1",
        f"{template}:1",
    ]


def test_the_region_may_be_that_of_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, template = tmp_path / "aws", tmp_path / "template.yaml"
    profile.write_text("[default]\nregion = eu-north-1\n")
    template.write_text("Resources: {}\n")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
    none = f"{template}:1: Resources: have no event source mappings\n"
    ok = f"{none}{template}: ok, 0 functions, 0 mappings\n"
    assert run("--template", capsys, str(template)) == (0, ok, "")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    said = "AWS::Region is taken to be us-east-1: set AWS_REGION, or aws.region in CONFIG"
    assert run("--template", capsys, str(template)) == (
        0,
        f"{none}{template}:1: {said}\n{ok.removeprefix(none)}",
        "",
    )


def test_a_pattern_that_is_probably_not_meant_is_a_warning_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "poller.yaml"
    path.write_text(
        "functions: {f: {url: 'http://h'}}\n"
        "mappings:\n"
        "  - EventSourceArn: arn:aws:sqs:us-east-1:123456789012:jobs\n"
        "    FunctionName: f\n"
        "    FilterCriteria:\n"
        "      Filters:\n"
        '        - Pattern: \'{"body": {"a": [1], "a": [2]}}\'\n'
    )
    code, out, err = run(path, capsys)
    assert (code, out) == (0, f"{path}: ok, 1 function, 1 mapping\n")
    assert err == (
        f"warning: {path}:7: mappings[0].FilterCriteria.Filters[0].Pattern: "
        '"a" comes twice in one object; the last one counts\n'
    )


def test_lanes_that_tumbling_windows_leave_without_effect_are_a_warning_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "poller.yaml"
    path.write_text(
        "functions: {f: {url: 'http://h'}}\n"
        "mappings:\n"
        "  - EventSourceArn: arn:aws:kinesis:us-east-1:123456789012:stream/orders\n"
        "    FunctionName: f\n"
        "    StartingPosition: LATEST\n"
        "    TumblingWindowInSeconds: 60\n"
        "    ParallelizationFactor: 2\n"
    )
    code, out, err = run(path, capsys)
    assert (code, out) == (0, f"{path}: ok, 1 function, 1 mapping\n")
    assert err == (
        f"warning: {path}:7: mappings[0].ParallelizationFactor: has no effect with "
        "TumblingWindowInSeconds, since the batches of a shard share a state and so run one by one;"
        " remove one of them\n"
    )
