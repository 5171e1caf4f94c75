"""Claims on what AWS documents, or leaves open; sections are those of the specification."""

from __future__ import annotations

from tests.conformance.claims import as_aws, different, refused

OVER_THE_API = (
    as_aws("S1.1.inapplicable", "a setting of another kind of source is refused"),
    refused(
        "S1.1.other-sources",
        "MSK, self-managed Kafka, Amazon MQ and DocumentDB as sources",
        "not built yet; the refusal says so",
    ),
    as_aws("S1.2.visibility", "a queue's visibility timeout is at least the function's timeout"),
    as_aws("S1.2.fifo-window", "a FIFO queue takes no window"),
    different(
        "S1.2.qualifiers",
        "whether a source may have mappings to several aliases of a function is not documented",
        "it may; the function alone and its $LATEST are one",
    ),
    as_aws("S1.3.pages", "lists come in pages of 100 at most"),
    as_aws("S1.3.slash", "paths with and without a slash at their end"),
    different(
        "S1.3.file",
        "every mapping can be changed and deleted",
        "one of the config file is a ResourceConflictException that names the file",
    ),
    as_aws("S2.in-use", "an update of what is being changed is ResourceInUseException"),
    as_aws("S2.pause", "disabling keeps the position, and enabling goes on from there"),
    as_aws("S2.update", "an update keeps the position"),
    as_aws("S2.delete", "deleting drops the position"),
)

STREAMS = (
    as_aws("S3.1.expired", "an expired iterator is taken anew, and nothing is lost or repeated"),
    as_aws("S3.1.throttled", "a throttled read waits, and nothing is lost or repeated"),
    as_aws("S3.2.parents", "children of a split or merge wait for their parents"),
    as_aws("S3.2.children", "children are read from their beginning"),
    different(
        "S3.2.latest",
        "LATEST may lose records between Create and the first poll",
        "iterators are taken before the reply and kept over restarts: nothing is lost",
        "D29",
    ),
    different(
        "S3.2.reread",
        "a batch that is retried is read from the stream again",
        "it is kept in memory, so what expires in the stream meanwhile is not lost",
    ),
    as_aws("S3.3.fan-out", "a consumer's ARN as source: SubscribeToShard"),
    as_aws("S3.3.resubscribe", "a subscription is renewed where it stopped"),
    different(
        "S3.3.arn",
        "which eventSourceARN the events of a consumer have is not documented",
        "the consumer's",
    ),
    as_aws("S3.4.standard", "aggregated records of the KPL arrive as they are"),
    as_aws("S3.4.fan-out", "with fan-out they are taken apart"),
    as_aws("S3.4.another-shard", "and inner records of another shard are dropped"),
    as_aws("S4.1.full", "a full batch does not wait for its window"),
    as_aws("S4.1.window", "a window gathers what comes with several reads"),
    as_aws("S4.1.bytes", "an event has 6 MB at most"),
    different(
        "S4.1.too-large",
        "what becomes of a record whose event cannot fit is not documented",
        "it goes alone to the destination, with the condition RecordTooLarge",
    ),
    as_aws("S4.2.state", "each invocation of a tumbling window gets the state of the last"),
    as_aws("S4.2.no-state", "a response without state has failed"),
    as_aws("S4.2.final", "the window ends with a final invocation"),
    as_aws("S4.2.idle", "a window ends also when no more records come"),
    as_aws("S4.2.too-large", "a state of more than 1 MB ends the window early"),
    as_aws("S4.2.shard-end", "the end of a shard ends its window"),
    as_aws("S4.2.restart", "a restart within a window neither loses nor counts twice"),
    different(
        "S4.2.parallel",
        "windows together with ParallelizationFactor or bisect are not documented",
        "accepted: batches of a shard run one at a time, with a warning; halves pass the state on",
    ),
    as_aws("S5.order", "ParallelizationFactor keeps the order of each key, or item"),
    as_aws("S5.lanes", "a failing key stops only its own lane"),
    different(
        "S5.bound",
        "how far other lanes run ahead of a stuck one is not documented",
        "by 10,000 records of the shard, or ten batches of every lane",
    ),
)

FAILURES = (
    as_aws("S6.1.not-reached", "throttles and unreachable functions spend no retries"),
    as_aws("S6.1.timeout", "a timeout is a function error"),
    as_aws("S6.1.request-id", "every retry is the same event under a request id of its own"),
    different(
        "S6.1.backoff",
        "how long AWS waits between retries is not documented",
        "from 0.25 to 0.5 s after the first, doubled each time, up to 30 s",
    ),
    as_aws("S6.2.age", "the age is that of each record, not of the batch", "D43"),
    as_aws("S6.3.bisect", "bisecting goes on down to single records", "D44"),
    different(
        "S6.3.attempts",
        "whether halves begin with a fresh count of attempts is not documented",
        "they do; the first half goes first, and a split spends no retry",
        "D44",
    ),
    different(
        "S6.3.merged",
        "a document may cover several failed batches",
        "each batch given up has a document of its own",
    ),
    as_aws("S6.4.error", "an error of the whole invocation is bisected, reporting or not"),
    as_aws("S6.4.partial", "a partial response is not halved: only the rest is retried"),
    refused(
        "S7.2.fifo",
        "FIFO queues and topics as destinations fail when they are delivered to",
        "refused at create, as other ARNs that cannot be one",
    ),
    as_aws("S7.2.checked", "a destination that is not there is refused at create and update"),
    different(
        "S7.3.kept",
        "a document that cannot be delivered is lost",
        "tried for five minutes, then kept and sent once the destination works",
    ),
    as_aws("S7.3.dropped", "without a destination, records given up are counted as dropped"),
)

QUEUES = (
    as_aws("S8.1.growth", "concurrency starts at 5, grows while there is more, up to 1,250"),
    different(
        "S8.1.poll",
        "a long poll takes up to 20 s, also where the window is shorter",
        "5 s, so that a mapping that is stopped does not wait as long",
    ),
    as_aws("S8.1.maximum", "MaximumConcurrency is never passed, nor received beyond"),
    as_aws("S8.1.provisioned", "provisioned pollers: at least so many, at most so many"),
    as_aws("S8.2.hidden", "with a window messages stay hidden for window + timeout + 30 s"),
    as_aws("S8.3.throttled", "a throttled batch is tried again within its visibility timeout"),
    as_aws("S8.3.given-up", "and given up before its messages are visible again"),
    as_aws("S8.3.errors", "function errors lower the concurrency, unless they are reported"),
    as_aws("S8.3.undeleted", "a message that could not be deleted comes again"),
    as_aws("S8.3.receives", "what cannot be invoked soon is not received"),
    as_aws("S8.4.groups", "FIFO: groups run side by side, each in order"),
    as_aws("S8.4.failed", "FIFO: a failed message holds back its group and no other"),
    as_aws("S8.4.partial", "FIFO: exactly the unreported messages are deleted"),
)

FILTERS = (
    as_aws("S9.2.operators", "every documented operator"),
    refused(
        "S9.2.others",
        "wildcard, cidr, and anything-but with more than values",
        "mappings do not have them: Invalid filter pattern definition.",
    ),
    different(
        "S9.3.numbers",
        "300 and 300.0 differ by the documentation, and are equal in AWS's rule engine",
        "numbers are compared as numbers",
    ),
    as_aws("S9.3.arrays", "fields of one array match within one element"),
    as_aws("S9.3.duplicates", "of a key that is there twice the last one counts"),
    as_aws("S9.4.formats", "plain and JSON data beside plain and JSON patterns"),
    as_aws("S9.5.settled", "filtered stream records are passed over, and no batch is empty"),
)

REST = (
    as_aws("S10.ttl", "records of TTL deletions have userIdentity"),
    as_aws("S11.1.counts", "EventCount metrics under their AWS meaning"),
    as_aws("S11.1.age", "IteratorAge of what is sent to the function"),
    different(
        "S11.1.cloudwatch",
        "metrics are in CloudWatch",
        "they are in Prometheus, and in CloudWatch as well where that is asked for",
    ),
)

FUNCTIONS = (
    as_aws("S11.2.header", "the X-Ray header of messages reaches the function"),
    as_aws("S12.1.invoke", "Invoke: response, error header, log tail, executed version"),
    as_aws("S12.1.refused", "Invoke: refusals of names, bodies, sizes and headers"),
    as_aws("S12.1.dry-run", "Invoke: DryRun runs nothing"),
    different(
        "S12.1.throttled",
        "an invocation over the concurrency is a 429 with its reason",
        "it waits up to a second first",
    ),
    as_aws("S12.1.errors", "errors of Invoke that are no function errors spend no retry"),
    different(
        "S12.1.too-large",
        "what becomes of a batch that the function refuses as too large is not documented",
        "it is split, down to a record that is too large by itself",
    ),
    as_aws("S12.2.clients", "AWS's runtime clients attach, with the whole context object"),
    as_aws("S12.2.exit", "a runtime that exits in the middle is a function error"),
    as_aws("S12.2.timeout", "a runtime beyond the timeout is killed, and that is a function error"),
    as_aws("S12.2.many", "a function's runtimes run side by side"),
    different(
        "S12.2.streaming",
        "a streamed response may have 200 MB",
        "it counts as a whole, and may have 6 MB",
    ),
    as_aws("S12.2.extensions", "extensions are told of invocations and of the end"),
    refused(
        "S12.2.telemetry",
        "the Telemetry API and the Logs API",
        "as the Runtime Interface Emulator does: not supported",
    ),
    as_aws("S12.2.output", "what a function prints is framed by START, END and REPORT"),
    as_aws(
        "S12.3.emulator",
        "errors and timeouts of an emulator are the function's",
    ),
    as_aws("S12.3.one", "an emulator runs one invocation at a time"),
    as_aws("S12.4.durable", "an event is queued before the 202"),
    as_aws("S12.4.retries", "function errors are tried again after one and two minutes"),
    as_aws(
        "S12.4.throttles",
        "throttles and system errors wait 1 s to 5 minutes, spending no attempt",
    ),
    as_aws("S12.4.age", "an event that is too old is not tried again"),
    as_aws("S12.4.records", "records of successes and failures, to every kind of destination"),
    as_aws("S12.4.dead-letter", "a dead-letter queue gets the event with its attributes"),
    different(
        "S12.4.lost",
        "an event whose destination fails is lost",
        "its record is kept, and sent when the destination works again",
    ),
)

DOCUMENTED = (*OVER_THE_API, *STREAMS, *FAILURES, *QUEUES, *FILTERS, *REST, *FUNCTIONS)
