"""Which source a mapping reads.

This is all that a new kind of source changes outside a file of its own in this room: a case here,
and what `wire` says of it: the form of its ARN (arns), which settings apply to it (mappings) and
its numbers (policies).  A kind is loaded where a mapping has it: others are memory for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from poller.aws.sessions import AwsSession
from poller.core.model import Instant, Seconds
from poller.interfaces import QueueSource, ShardSource
from poller.wire.arns import SourceKind
from poller.wire.mappings import MappingConfig
from poller.wire.starting import StartingPosition

from .kinesis import AtTimestamp, KinesisSource, Latest, Start, TrimHorizon
from .paces import SUBSCRIBE_SPACING, Paces


class Sources:
    """Makes the sources of this process, which share the paces of shards."""

    def __init__(self, *, now: Callable[[], Instant]) -> None:
        self._now = now
        self._paces = Paces()
        self._subscription_paces = Paces(SUBSCRIBE_SPACING)

    def stream(self, config: MappingConfig, session: AwsSession, *, role_arn: str) -> ShardSource:
        """The stream of a mapping; `role_arn` is its function's, which events name."""
        source = config.source
        match source.kind:
            case SourceKind.DYNAMODB:
                from .dynamodb_streams import DynamoDBStreamsSource  # noqa: PLC0415 - as above

                client = session.json_client("dynamodbstreams")
                return DynamoDBStreamsSource(client, stream_arn=source.arn, now=self._now)
            case SourceKind.KINESIS if source.is_consumer:
                from .kinesis_fanout import KinesisFanoutSource  # noqa: PLC0415 - as above

                return KinesisFanoutSource(
                    session.json_client("kinesis"),
                    consumer_arn=source.arn,
                    role_arn=role_arn,
                    start=start_of(config),
                    now=self._now,
                    paces=self._subscription_paces,
                    by_arn=session.endpoint_url("kinesis") is None,
                )
            case SourceKind.KINESIS:
                return KinesisSource(
                    session.json_client("kinesis"),
                    stream_arn=source.arn,
                    role_arn=role_arn,
                    start=start_of(config),
                    now=self._now,
                    paces=self._paces,
                    by_arn=session.endpoint_url("kinesis") is None,
                )
            case _:
                raise AssertionError(f"{source.kind} is no stream")

    def queue(
        self, config: MappingConfig, session: AwsSession, *, function_timeout: Seconds
    ) -> QueueSource:
        """The queue of a mapping, whose function may take up to `function_timeout`."""
        from .sqs import SqsSource  # noqa: PLC0415 - as above

        assert config.source.kind is SourceKind.SQS, config.source.kind
        return SqsSource(
            session.json_client("sqs", long_poll=True),
            session.json_client("sqs"),
            queue_arn=config.source.arn,
            batch_window=float(config.maximum_batching_window_in_seconds),
            function_timeout=function_timeout,
            heartbeat=config.scaling.visibility_heartbeat,
            now=self._now,
        )


def start_of(config: MappingConfig) -> Start:
    """Where a mapping begins to read shards that it does not know."""
    if config.starting_position is StartingPosition.LATEST:
        return Latest()
    if config.starting_position_timestamp is not None:
        return AtTimestamp(config.starting_position_timestamp)
    return TrimHorizon()
