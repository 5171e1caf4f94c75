"""Settings of mappings become what the engine runs: a source, a target, a policy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from poller.aws.sessions import AwsSession
from poller.core.model import Instant
from poller.destinations.delivery import Delivery
from poller.engine.specs import QueueSpec, Spec, StreamSpec
from poller.interfaces import ShardSource, Store, StoredMapping, Target
from poller.settings import FunctionConfig, MappingSettings, Settings
from poller.sources.dynamodb_streams import DynamoDBStreamsSource
from poller.sources.kinesis import AtTimestamp, KinesisSource, Latest, Start, TrimHorizon
from poller.sources.paces import Paces
from poller.sources.sqs import SqsSource
from poller.wire.arns import DestinationKind, SourceKind
from poller.wire.mappings import MappingConfig, Rejected, parse_mapping
from poller.wire.policies import queue_policy, stream_policy
from poller.wire.requests import as_request, compare_requests
from poller.wire.starting import StartingPosition

from .sessions import Sessions

log = logging.getLogger("poller.service")


class SpecMaker:
    """Makes specs; the paces of shards are shared by all of them."""

    def __init__(
        self,
        sessions: Sessions,
        delivery: Delivery,
        store: Store,
        *,
        now: Callable[[], Instant],
    ) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._store = store
        self._now = now
        self._paces = Paces()

    async def specs(self, settings: Settings, targets: Mapping[str, Target]) -> Sequence[Spec]:
        """The specs of all mappings, whose functions are `targets`, by name.

        Raises PollerError where no AWS session or no state can be had.
        """
        known = {stored.uuid: stored for stored in await self._store.mappings()}
        return [
            self._spec(
                await self._as_begun(mapping, known.get(mapping.uuid)),
                settings.functions[mapping.function],
                targets[mapping.function],
            )
            for mapping in settings.mappings
        ]

    async def _as_begun(
        self, mapping: MappingSettings, known: StoredMapping | None
    ) -> MappingSettings:
        """A mapping that has a position began where it began, whatever the file says now."""
        if known is None:
            return mapping
        positioned = known.pinned or bool(await self._store.positions(mapping.uuid))
        change = compare_requests(known.request, mapping.config, positioned=positioned)
        begun = parse_mapping(known.request, now=self._now())
        if not change.ineffective or isinstance(begun, Rejected):
            return mapping
        log.warning(
            "%s has changed, which has no effect: %s continues where it stopped",
            " and ".join(change.ineffective),
            mapping.config.source.arn,
        )
        config = replace(
            mapping.config,
            starting_position=begun.starting_position,
            starting_position_timestamp=begun.starting_position_timestamp,
        )
        return replace(mapping, config=config)

    def _spec(self, mapping: MappingSettings, function: FunctionConfig, target: Target) -> Spec:
        config = mapping.config
        session = self._sessions.of(config.source.region)
        if config.source.kind is SourceKind.SQS:
            return self._queue(mapping, function, target, session)
        return self._stream(mapping, function, target, session)

    def _queue(
        self,
        mapping: MappingSettings,
        function: FunctionConfig,
        target: Target,
        session: AwsSession,
    ) -> QueueSpec:
        config = mapping.config
        source = SqsSource(
            session.json_client("sqs", long_poll=True),
            session.json_client("sqs"),
            queue_arn=config.source.arn,
            batch_window=float(config.maximum_batching_window_in_seconds),
            function_timeout=function.timeout,
            now=self._now,
        )
        return QueueSpec(
            stored=self._stored(mapping),
            function=mapping.function,
            target=target,
            reporting=config.report_batch_item_failures,
            function_timeout=function.timeout,
            enabled=config.enabled,
            source=source,
            policy=queue_policy(config, function_timeout=function.timeout),
        )

    def _stream(
        self,
        mapping: MappingSettings,
        function: FunctionConfig,
        target: Target,
        session: AwsSession,
    ) -> StreamSpec:
        config = mapping.config
        destination = config.failure_destination
        return StreamSpec(
            stored=self._stored(mapping),
            function=mapping.function,
            target=target,
            reporting=config.report_batch_item_failures,
            function_timeout=function.timeout,
            enabled=config.enabled,
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

    def _stored(self, mapping: MappingSettings) -> StoredMapping:
        return StoredMapping(
            uuid=mapping.uuid,
            source_arn=mapping.config.source.arn,
            function_arn=mapping.function_arn,
            origin="file",
            request=as_request(mapping.config),
            created_at=math.floor(self._now()),
        )


def _start(config: MappingConfig) -> Start:
    if config.starting_position is StartingPosition.LATEST:
        return Latest()
    if config.starting_position_timestamp is not None:
        return AtTimestamp(config.starting_position_timestamp)
    return TrimHorizon()
