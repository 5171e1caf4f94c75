"""The queries of deploy/: of the alerts, their tests and the dashboard, and what they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
TESTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())

_SERIES = re.compile(r"\b(?P<metric>poller_[a-z_]+)(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Series:
    """A metric with the values that its labels may have in a query: `a|b` is two of them."""

    metric: str
    labels: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Query:
    """`labels`: those that it groups by, and those that its texts show."""

    place: str
    text: str
    labels: frozenset[str]

    def series(self) -> Iterator[Series]:
        for found in _SERIES.finditer(self.text):
            matchers = _MATCHER.findall(found["matchers"] or "")
            yield Series(
                found["metric"], {name: tuple(value.split("|")) for name, value in matchers}
            )


def _query(place: str, text: str, *shown: str) -> Query:
    grouped = [name.strip() for names in _GROUPING.findall(text) for name in names.split(",")]
    labels = [name for each in shown for name in _SHOWN.findall(each)]
    return Query(place, text, frozenset(grouped + labels))


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def of_alerts() -> list[Query]:
    return [_query(rule["alert"], rule["expr"], *rule["annotations"].values()) for rule in rules()]


def of_alert_tests() -> list[Query]:
    return [
        _query(test["name"], series["series"])
        for test in TESTS["tests"]
        for series in test["input_series"]
    ]


def of_dashboard() -> list[Query]:
    of_panels = [
        _query(panel["title"], target["expr"], target["legendFormat"])
        for panel in panels()
        for target in panel.get("targets", ())
    ]
    variables = DASHBOARD["templating"]["list"]
    return of_panels + [
        _query(each["name"], each["query"]["query"])
        for each in variables
        if each["type"] == "query"
    ]
