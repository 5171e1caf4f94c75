"""A plugin of pytest that notes which tests are marked with `proves`, and for what.

`python -m pytest --collect-only -p tests.conformance.collecting --proofs-to FILE`
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

OPTION = "--proofs-to"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, metavar="FILE", type=Path)


def pytest_collection_finish(session: pytest.Session) -> None:
    file = session.config.getoption(OPTION)
    marked = [_note(item) for item in session.items if item.get_closest_marker("proves")]
    file.write_text(json.dumps(marked))


def _note(item: pytest.Item) -> dict[str, object]:
    names = {name for mark in item.iter_markers("proves") for name in mark.args}
    return {
        "module": item.nodeid.partition("::")[0],
        "test": item.nodeid.partition("::")[2].partition("[")[0],
        "names": sorted(names),
        "slow": item.get_closest_marker("slow") is not None,
        "skipped": _never_runs(item),
    }


def _never_runs(item: pytest.Item) -> bool:
    """Whether it is skipped wherever it runs."""
    conditions = [mark.args[:1] for mark in item.iter_markers("skipif")]
    return item.get_closest_marker("skip") is not None or (True,) in conditions
