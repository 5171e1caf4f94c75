"""The policies in deploy/iam allow what poller calls, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws_calls import called

IAM = Path(__file__).parents[2] / "deploy" / "iam"
POLICIES = {path.stem: json.loads(path.read_text()) for path in sorted(IAM.glob("*.json"))}


def actions(policy: Mapping[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_what_poller_calls_is_allowed_and_nothing_else_is() -> None:
    allowed = set().union(*map(actions, POLICIES.values()))

    assert allowed == called().keys()


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_its_resources_and_has_no_action_twice(name: str) -> None:
    statements = POLICIES[name]["Statement"]
    listed = [action for statement in statements for action in statement["Action"]]

    assert sorted(listed) == sorted(actions(POLICIES[name]))
    assert not any("*" in action for action in listed)
    # These two have no resource in AWS.
    anywhere = {"cloudwatch:PutMetricData", "lambda:ListEventSourceMappings"}
    assert all(
        statement["Resource"] != "*" or set(statement["Action"]) <= anywhere
        for statement in statements
    )


def test_the_table_of_policies_names_each_of_them() -> None:
    text = (IAM.parent / "README.md").read_text()

    assert [name for name in POLICIES if f"iam/{name}.json" not in text] == []
