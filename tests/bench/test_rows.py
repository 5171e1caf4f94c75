"""Every row of the benchmark still runs; how fast is no matter here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.canned import CANNED
from tests.bench.rows import ROWS, Row
from tests.bench.sampling import Sample
from tests.bench.table import table
from tests.servers import running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(CANNED) as server:
        yield server.url


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
async def test_a_row_gets_something_done(row: Row, url: str) -> None:
    sample = await row.measure(url, 0.001)

    assert sample.units > 0
    assert sample.cpu > 0


def test_the_table_has_every_row_and_compares_only_rows_that_there_are() -> None:
    best = {row.what: Sample(1.0, 1.0) for row in ROWS}

    assert table(ROWS, best).row_count == len(ROWS) == len(best)
