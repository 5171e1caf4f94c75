"""Settings of mappings become what the engine runs: a source, a target, a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from poller.aws.sessions import AwsSession
from poller.core.model import Instant
from poller.destinations.delivery import Delivery
from poller.engine.filtering import MakeAccept
from poller.engine.specs import QueueSpec, Spec, StreamSpec
from poller.interfaces import ShardSource, StoredMapping, Target
from poller.settings import FunctionConfig, Settings, undeclared
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.kinesis import AtTimestamp, KinesisSource, Latest, Start, TrimHorizon
from poller.sources.paces import Paces
from poller.sources.sqs import SqsSource
from poller.targets.undeclared import UndeclaredFunction
from poller.wire.arns import DestinationKind, SourceKind
from poller.wire.filters import Filters
from poller.wire.mappings import MappingConfig
from poller.wire.policies import queue_policy, stream_policy
from poller.wire.starting import StartingPosition
from poller.wire.warnings import warnings_about

from .sessions import Sessions


class SpecMaker:
    """Makes specs; the paces of shards are shared by all of them."""

    def __init__(
        self, sessions: Sessions, delivery: Delivery, *, now: Callable[[], Instant]
    ) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._now = now
        self._paces = Paces()
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
        source = SqsSource(
            session.json_client("sqs", long_poll=True),
            session.json_client("sqs"),
            queue_arn=config.source.arn,
            batch_window=float(config.maximum_batching_window_in_seconds),
            function_timeout=function.timeout,
            heartbeat=config.scaling.visibility_heartbeat,
            now=self._now,
        )
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
            source=source,
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
            source=self._stream_source(config, function, session),
            policy=stream_policy(config),
            latest=config.starting_position is StartingPosition.LATEST,
            destination=None if destination is None else destination.arn,
            deliver=None if destination is None else self._delivery.deliver,
            destination_takes_events=destination is not None
            and destination.kind is DestinationKind.S3,
        )

    def _stream_source(
        self, config: MappingConfig, function: FunctionConfig, session: AwsSession
    ) -> ShardSource:
        if config.source.kind is SourceKind.DYNAMODB:
            client = session.json_client("dynamodbstreams")
            return DynamoDBStreamsSource(client, stream_arn=config.source.arn, now=self._now)
        return KinesisSource(
            session.json_client("kinesis"),
            stream_arn=config.source.arn,
            role_arn=function.role,
            start=_start(config),
            now=self._now,
            paces=self._paces,
            by_arn=session.endpoint_url("kinesis") is None,
        )


def _filters(config: MappingConfig) -> MakeAccept | None:
    if not config.filters:
        return None
    return Filters(config.source.kind, config.filters).for_records


def _warnings(config: MappingConfig) -> tuple[str, ...]:
    return tuple(map(str, warnings_about(config)))


def _start(config: MappingConfig) -> Start:
    if config.starting_position is StartingPosition.LATEST:
        return Latest()
    if config.starting_position_timestamp is not None:
        return AtTimestamp(config.starting_position_timestamp)
    return TrimHorizon()
