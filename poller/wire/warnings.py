"""What is valid in a mapping and probably not meant: for `poller check`, and for the log."""

from __future__ import annotations

from .filter_criteria import filter_warnings
from .mappings import MappingConfig
from .problems import Problem


def warnings_about(config: MappingConfig) -> list[Problem]:
    found = filter_warnings(config.source.kind, config.filters)
    if config.tumbling_window_in_seconds and config.parallelization_factor > 1:
        found.append(
            Problem(
                ("ParallelizationFactor",),
                "has no effect with TumblingWindowInSeconds, since the batches of a shard share a"
                " state and so run one by one",
                "remove one of them",
            )
        )
    return found
