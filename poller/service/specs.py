"""Settings of mappings become what the engine runs: a source, a target, a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poller.aws.sessions import AwsSession
from poller.core.model import Instant
from poller.destinations.delivery import Delivery
from poller.engine.filtering import MakeAccept
from poller.engine.specs import QueueSpec, Spec, StreamSpec
from poller.interfaces import StoredMapping, Target
from poller.settings import FunctionConfig, Settings, undeclared
from poller.sources.choice import Sources
from poller.targets.undeclared import UndeclaredFunction
from poller.wire.arns import DestinationKind, SourceKind
from poller.wire.filters import Filters
from poller.wire.mappings import MappingConfig
from poller.wire.policies import queue_policy, stream_policy
from poller.wire.starting import StartingPosition
from poller.wire.warnings import warnings_about

from .sessions import Sessions


class SpecMaker:
    """Makes the specs of this process."""

    def __init__(
        self, sessions: Sessions, delivery: Delivery, *, now: Callable[[], Instant]
    ) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._sources = Sources(now=now)
        self._undeclared: dict[str, Target] = {}

    def spec(
        self,
        stored: StoredMapping,
        config: MappingConfig,
        *,
        settings: Settings,
        targets: Mapping[str, Target],
    ) -> Spec:
        """The spec of a mapping, whose function is one of `settings` and runs as one of `targets`,
        by name; where it is none of them, it is never reached.

        Raises PollerError where no AWS session can be had.
        """
        key = config.function.key
        function, target = settings.functions.get(key), targets.get(key)
        if function is None or target is None:
            function = undeclared(key, settings.aws.account_id)
            target = self._undeclared.setdefault(key, UndeclaredFunction(key))
        session = self._sessions.of(config.source.region)
        if config.source.kind is SourceKind.SQS:
            return self._queue(stored, config, function, target, session)
        return self._stream(stored, config, function, target, session)

    def _queue(
        self,
        stored: StoredMapping,
        config: MappingConfig,
        function: FunctionConfig,
        target: Target,
        session: AwsSession,
    ) -> QueueSpec:
        return QueueSpec(
            stored=stored,
            function=config.function.key,
            target=target,
            reporting=config.report_batch_item_failures,
            function_timeout=function.timeout,
            enabled=config.enabled,
            publishes=config.event_count_metrics,
            make_accept=_filters(config),
            warnings=_warnings(config),
            source=self._sources.queue(config, session, function_timeout=function.timeout),
            policy=queue_policy(
                config,
                function_timeout=function.timeout,
                function_concurrency=function.concurrency,
            ),
        )

    def _stream(
        self,
        stored: StoredMapping,
        config: MappingConfig,
        function: FunctionConfig,
        target: Target,
        session: AwsSession,
    ) -> StreamSpec:
        destination = config.failure_destination
        return StreamSpec(
            stored=stored,
            function=config.function.key,
            target=target,
            reporting=config.report_batch_item_failures,
            function_timeout=function.timeout,
            enabled=config.enabled,
            publishes=config.event_count_metrics,
            make_accept=_filters(config),
            warnings=_warnings(config),
            source=self._sources.stream(config, session, role_arn=function.role),
            policy=stream_policy(config),
            latest=config.starting_position is StartingPosition.LATEST,
            destination=None if destination is None else destination.arn,
            deliver=None if destination is None else self._delivery.deliver,
            destination_takes_events=destination is not None
            and destination.kind is DestinationKind.S3,
        )


def _filters(config: MappingConfig) -> MakeAccept | None:
    if not config.filters:
        return None
    return Filters(config.source.kind, config.filters).for_records


def _warnings(config: MappingConfig) -> tuple[str, ...]:
    return tuple(map(str, warnings_about(config)))
