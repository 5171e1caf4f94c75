"""Lives of queue machines as tests want them: so many messages, so unreliable an outside."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from poller.core.model import (
    Failed,
    MessageBatch,
    Outcome,
    PartlyFailed,
    Refused,
    Succeeded,
)
from poller.core.policy import QueuePolicy
from poller.lab.queue_simulator import QueueSimulation
from poller.lab.world import MadeQueue

SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

Shape = dict[str, Any]
CALM: Shape = {"count": 0, "flaky": 0.0, "receive_failures": 0.0, "visibility": 30.0, "seed": 3}

shapes = st.fixed_dictionaries(
    {
        "count": st.integers(0, 60),
        "flaky": st.sampled_from([0.0, 0.3]),
        "receive_failures": st.sampled_from([0.0, 0.3]),
        "visibility": st.sampled_from([6.0, 30.0]),
        "seed": st.integers(0, 2**20),
    }
)


def behaviour(flaky: float) -> Callable[[MessageBatch, random.Random], Outcome]:
    def outcome(batch: MessageBatch, rng: random.Random) -> Outcome:
        if rng.random() >= flaky:
            return Succeeded()
        some = frozenset(i for i in range(len(batch.messages)) if rng.random() < 0.5)
        partly = PartlyFailed(some or frozenset([0]))
        return rng.choice([Failed("x"), partly, Refused("busy"), Refused("busy", 2.0)])

    return outcome


def simulation(policy: QueuePolicy, shape: Shape, groups: int = 0, **more: Any) -> QueueSimulation:
    rng = random.Random(shape["seed"])
    # With a window that the queue's own timeout does not cover, a longer one is asked for (8.2).
    longer = policy.batch_window + policy.run_time_max + 30.0
    visibility = max(shape["visibility"], longer if policy.batch_window else 0.0)
    named = [f"g{rng.randrange(groups)}" if groups else None for _ in range(shape["count"])]
    return QueueSimulation(
        policy,
        MadeQueue(named, visibility),
        behaviour(shape["flaky"]),
        rng,
        receive_failures=shape["receive_failures"],
        **more,
    )
