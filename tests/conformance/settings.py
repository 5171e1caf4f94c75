"""Claims on settings: a row for each parameter of CreateEventSourceMapping, and for our own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.conformance.claims import Claim, Status


class Source(StrEnum):
    KINESIS = "Kinesis"
    DYNAMODB = "DynamoDB"
    SQS = "SQS"


STREAMS = (Source.KINESIS, Source.DYNAMODB)
QUEUES = (Source.SQS,)
EVERY = (*STREAMS, *QUEUES)

INAPPLICABLE = "S1.1.inapplicable"
NO_SUCH_SOURCE = "no such source yet"


@dataclass(frozen=True, slots=True)
class Setting:
    """`works`: with which sources; elsewhere it is refused, and `refused` says why if that is not
    simply because it does not apply.  `shown_by`: claims whose tests show that."""

    name: str
    works: tuple[Source, ...]
    refused: str = ""
    shown_by: tuple[str, ...] = (INAPPLICABLE,)

    def claims(self) -> list[Claim]:
        """One for each source."""
        return [self._claim(source) for source in EVERY]

    def _claim(self, source: Source) -> Claim:
        name = f"{source}.{self.name}"
        if source in self.works:
            return Claim(name, self.name, "spec 1.1")
        reason = self.refused or "does not apply"
        return Claim(name, self.name, "spec 1.1", Status.REFUSED, reason, self.shown_by)


OF_AWS = (
    Setting("EventSourceArn", EVERY),
    Setting("FunctionName", EVERY),
    Setting("Enabled", EVERY),
    Setting("BatchSize", EVERY),
    Setting("MaximumBatchingWindowInSeconds", EVERY),
    Setting("FunctionResponseTypes", EVERY),
    Setting("FilterCriteria", EVERY),
    Setting("MetricsConfig", EVERY),
    Setting("Tags", EVERY),
    Setting("StartingPosition", STREAMS),
    Setting("StartingPositionTimestamp", (Source.KINESIS,)),
    Setting("ParallelizationFactor", STREAMS),
    Setting("MaximumRetryAttempts", STREAMS),
    Setting("MaximumRecordAgeInSeconds", STREAMS),
    Setting("BisectBatchOnFunctionError", STREAMS),
    Setting("DestinationConfig", STREAMS),
    Setting("TumblingWindowInSeconds", STREAMS),
    Setting("ScalingConfig", QUEUES),
    Setting("ProvisionedPollerConfig", QUEUES),
    Setting("KMSKeyArn", (), "filters are stored as they are", shown_by=()),
    Setting("LoggingConfig", (), NO_SUCH_SOURCE),
    Setting("Topics", (), NO_SUCH_SOURCE),
    Setting("Queues", (), NO_SUCH_SOURCE),
    Setting("SourceAccessConfigurations", (), NO_SUCH_SOURCE),
    Setting("SelfManagedEventSource", (), NO_SUCH_SOURCE, shown_by=()),
    Setting("AmazonManagedKafkaEventSourceConfig", (), NO_SUCH_SOURCE),
    Setting("SelfManagedKafkaEventSourceConfig", (), NO_SUCH_SOURCE),
    Setting("DocumentDBEventSourceConfig", (), NO_SUCH_SOURCE),
)

# What AWS cannot say: the block `poller:` of a mapping.
OF_OUR_OWN = (
    Setting("poller.Concurrency", QUEUES),
    Setting("poller.MessagesPerSecond", QUEUES),
    Setting("poller.VisibilityHeartbeat", QUEUES),
)

SETTINGS = (*OF_AWS, *OF_OUR_OWN)
