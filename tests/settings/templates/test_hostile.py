"""Files that are no templates, and templates that mean no good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from poller.settings import InvalidConfig, Template, load
from tests.settings.templates.written import NOW, lines, loaded

FUNCTIONS = (
    *("Ref", "Condition", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split"),
    *("Fn::If", "Fn::FindInMap", "Fn::Equals", "Fn::And", "Fn::Not", "Fn::ToJsonString", "Fn::X"),
)
KEYS = (
    *("Type", "Properties", "Events", "Queue", "Stream", "BatchSize", "FilterCriteria", "Tags"),
    *("DestinationConfig", "OnFailure", "Destination", "StartingPosition", "Enabled", "Default"),
    *("Handler", "Runtime", "CodeUri", "Environment", "Variables", "Timeout", "FunctionName"),
    *("QueueName", "Condition", "AllowedValues", "A", "B", "Arn", "StreamSpecification"),
)
TYPES = (
    *("AWS::Serverless::Function", "AWS::Lambda::EventSourceMapping", "AWS::SQS::Queue"),
    *("AWS::DynamoDB::Table", "AWS::Lambda::Alias", "SQS", "Kinesis", "DynamoDB", "Api", "MSK"),
)
WORDS = ("A", "B", "A.Arn", "B.StreamArn", "${A}", "${A.Arn}-${B}", "python3.11", "LATEST", "")

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from((*WORDS, *TYPES, *KEYS)),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FUNCTIONS), inner, min_size=1, max_size=1),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)
resources = st.fixed_dictionaries(
    {"Type": st.sampled_from(TYPES)},
    optional={
        "Condition": st.sampled_from(["A", "B"]),
        "Properties": st.one_of(
            values,
            st.dictionaries(st.sampled_from(KEYS), values, max_size=6),
            st.fixed_dictionaries(
                {
                    "Handler": values,
                    "Runtime": st.just("python3.11"),
                    "Events": st.dictionaries(
                        st.sampled_from(["A", "B"]),
                        st.fixed_dictionaries(
                            {
                                "Type": st.sampled_from(["SQS", "Kinesis", "DynamoDB"]),
                                "Properties": st.dictionaries(st.sampled_from(KEYS), values),
                            }
                        ),
                    ),
                }
            ),
        ),
    },
)
named = st.sampled_from(["A", "B", "C", "Fn::ForEach::X"])
templates = st.fixed_dictionaries(
    {"Resources": st.one_of(values, st.dictionaries(named, st.one_of(values, resources)))},
    optional={
        "Parameters": st.one_of(values, st.dictionaries(named, values)),
        "Mappings": values,
        "Conditions": st.one_of(values, st.dictionaries(named, values)),
        "Globals": st.one_of(values, st.fixed_dictionaries({"Function": values})),
        "Transform": values,
    },
)


def outcome(folder: Path, text: str) -> tuple[str, ...]:
    """Why `text` is refused; nothing where it is settings.  Whatever else is raised is a bug."""
    try:
        loaded(folder, text)
    except InvalidConfig as error:
        return error.lines
    return ()


@given(templates)
@example({"Resources": {"A": {"Type": "AWS::Serverless::Function", "Properties": 5}}})
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_template_says_it_is_settings_or_refused(tmp_path: Path, template: Any) -> None:
    refused = outcome(tmp_path, yaml.safe_dump(template))
    assert all(line.isprintable() for line in refused)


@given(st.text())
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_says_it_is_settings_or_refused(tmp_path: Path, text: str) -> None:
    outcome(tmp_path, text.encode(errors="ignore").decode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "1: this is no template; a SAM or CloudFormation template has Resources, each "
                   "with its keys")
            for text in ("", "[]", "a: 1", "Resources: [a]", "Transform: x")
        ),
        ("Resources: {A: !Magic x}", "1: !Magic is no tag of a template"),
        ("Resources: {A: !!python/object:os.system x}",
         "1: tag:yaml.org,2002:python/object:os.system is no tag of a template"),
        ("Resources: {}\nResources: {}\n",
         "2: Resources: is there twice, first on line 1; keep one"),
        ("Resources: " + "[" * 50, "1: more than 40 blocks inside one another"),
        ("Resources: {'Fn::ForEach::X': [a, [b], {}]}",
         "1: Resources.Fn::ForEach::X: Fn::ForEach is not supported; write each resource"),
        ("x" * 1_048_577, "1: more than 1048576 bytes are no config"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    assert lines(tmp_path, text) == [f"template.yaml:{said}"]


def test_a_template_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as error:
        load(None, {}, now=NOW, template=Template(tmp_path / "none.yaml"))
    assert error.value.lines == (
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
    )


def test_what_aliases_add_up_to_is_bounded(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    ]
    (line,) = lines(tmp_path, "Resources: {}\n" + "\n".join(rows))
    assert line.endswith("more than 100000 values, aliases resolved")


def test_json_is_read_as_yaml_is(tmp_path: Path) -> None:
    text = """{
\t"Resources": {
\t\t"Jobs": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "j-${AWS::Region}"}}},
\t\t"Worker": {"Type": "AWS::Serverless::Function", "Properties": {
\t\t\t"CodeUri": "code", "Handler": "app.handler", "Runtime": "python3.11",
\t\t\t"Events": {"Job": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Jobs", "Arn"]}}}}
\t\t}}
\t}
}"""  # noqa: E501
    (mapping,) = loaded(tmp_path, text).mappings
    assert mapping.config.source.name == "j-us-east-1"
