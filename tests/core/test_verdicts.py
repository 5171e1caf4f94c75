"""How long a batch waits before it is tried again."""

from __future__ import annotations

import pytest

from poller.core.policy import QueuePolicy, StreamPolicy
from poller.core.verdicts import backoff


@pytest.mark.proves("S6.1.backoff")
@pytest.mark.parametrize("policy", [StreamPolicy(), QueuePolicy()])
@pytest.mark.parametrize(
    ("attempts", "least", "most"),
    [(1, 0.25, 0.5), (2, 0.5, 1.0), (3, 1.0, 2.0), (6, 8.0, 16.0), (7, 15.0, 30.0)]
    + [(attempts, 15.0, 30.0) for attempts in (8, 40, 10_000)],
)
def test_the_wait_doubles_from_half_a_second_to_half_a_minute_and_half_of_it_is_random(
    policy: StreamPolicy | QueuePolicy, attempts: int, least: float, most: float
) -> None:
    assert (backoff(attempts, policy, 0.0), backoff(attempts, policy, 1.0)) == (least, most)
