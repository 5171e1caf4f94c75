"""Claims on what AWS was recorded to do; sections are those of the recordings."""

from __future__ import annotations

from tests.conformance.claims import as_aws, different, refused

OVER_THE_API = (
    as_aws(
        "R1.1.status", "create, update and delete answer 202, get and list 200", "D05", "D07", "D21"
    ),
    as_aws("R1.1.arn", "EventSourceMappingArn ends with the UUID", "D01"),
    as_aws("R1.1.last-page", "the last page of a list has no NextMarker", "D21"),
    as_aws("R1.1.stream-fields", "a stream's reply has 18 fields", "D01", "D02"),
    as_aws("R1.1.queue-fields", "a queue's reply has 10 fields", "D03"),
    as_aws("R1.1.scaling-shown", "ScalingConfig is in the reply only if it was given"),
    refused(
        "R1.1.kafka",
        "self-managed Kafka: a mapping with the fields of Kafka",
        "no such source yet",
        "S1.1.other-sources",
    ),
    as_aws("R1.1.reason", "StateTransitionReason of streams and queues", "D02", "D03"),
    as_aws("R1.1.created-disabled", "created disabled: a queue is Disabled at once", "D05"),
    as_aws("R1.1.enabling", "Enabled=true: Enabling, then Enabled", "D05"),
    as_aws("R1.1.disabling", "Enabled=false: Disabling", "D06"),
    as_aws("R1.1.updating", "any other update: Updating, then Enabled", "D58"),
    as_aws("R1.1.deleting", "delete: the whole mapping, Deleting", "D07"),
    as_aws("R1.1.result", "LastProcessingResult: No records processed, then OK", "D59"),
    as_aws("R1.1.empty-payload", "an empty response is a success"),
    as_aws("R1.1.function-gone", "without its function a mapping stays Enabled, and can go"),
    as_aws("R1.1.table-gone", "without its table a mapping stays listed, Enabled"),
    as_aws("R1.1.empty-filters", "an empty list of filters is accepted and not shown", "D19"),
    as_aws("R1.1.filters-shown", "FilterCriteria is shown as given; an update replaces it"),
    as_aws("R1.1.list-unknown", "a list of what is not there is empty", "D21"),
    as_aws("R1.1.created-tags", "ListTags shows what Create was given"),
    as_aws("R1.1.tags", "tags are added, listed and removed; an unknown key is no error"),
    as_aws("R1.1.function-names", "FunctionArn keeps the qualifier that was given", "D20"),
    different(
        "R1.1.disabled",
        "for a while after Disabled was reported, AWS goes on polling",
        "Disabled means that nothing polls or runs any more",
        "D06",
    ),
    as_aws("R1.2.bodies", "error bodies: Type, Message or message", "D08"),
    as_aws("R1.2.unknown-uuid", "an unknown UUID: 404", "D08"),
    as_aws("R1.2.no-source", "no EventSourceArn: Unrecognized event source.", "D09"),
    as_aws("R1.2.function-first", "the function is looked for before the queue", "D10"),
    as_aws("R1.2.queue-destination", "a DestinationConfig on a queue, before the function"),
    as_aws("R1.2.no-start", "a stream without StartingPosition", "D13"),
    as_aws("R1.2.bad-start", "a StartingPosition that there is not", "D14"),
    as_aws("R1.2.dynamodb-timestamp", "AT_TIMESTAMP on DynamoDB"),
    as_aws("R1.2.no-stream", "Stream not found", "D11"),
    as_aws("R1.2.no-queue", "the error of SQS about a queue that is not there", "D12"),
    as_aws("R1.2.window", "an SQS batch of more than 10 needs a window", "D17"),
    as_aws("R1.2.patterns", "six patterns that are none", "D18"),
    as_aws("R1.2.second-stream", "a second mapping of a stream: 409", "D15"),
    as_aws("R1.2.second-queue", "a second mapping of a queue: 409", "D16"),
    as_aws("R1.2.other-function", "the same source with another function", "D15"),
    refused(
        "R1.2.kafka",
        "self-managed Kafka without SourceAccessConfigurations: they are missing",
        "no such source yet",
        "S1.1.other-sources",
    ),
    as_aws("R1.2.unknown-tags", "tags of an unknown mapping: 404 with its ARN"),
    as_aws("R1.2.bad-tags", "tags of what is no ARN: ValidationException"),
)

EVENTS = (
    as_aws("R1.3.kinesis", "the event of Kinesis, to the byte", "D22"),
    as_aws("R1.3.dynamodb", "the event of DynamoDB, to the byte", "D23", "D24"),
    as_aws("R1.3.sqs", "the event of SQS", "D25"),
    as_aws("R1.3.fifo", "FIFO adds group, number and deduplication id"),
    as_aws("R1.3.attributes", "message attributes and their hash", "D26"),
    as_aws("R1.3.md5", "md5OfMessageAttributes of none: absent, or null with a window"),
    as_aws("R1.3.again", "a message that comes again has the same body, and count 2"),
    as_aws("R1.3.two", "two functions on one stream get the same eventIDs", "D27"),
)

DOCUMENTS = (
    as_aws("R1.4.sqs", "the failure document in SQS, to the byte", "D31"),
    as_aws("R1.4.dynamodb", "DDBStreamBatchInfo, arrivals in whole seconds", "D32"),
    as_aws("R1.4.thrown", 'functionError is "Unhandled" where the function threw', "D31"),
    as_aws("R1.4.reported", "functionError is null where failures were reported", "D37", "D39"),
    as_aws("R1.4.aged", "RecordAgeExceeded: no responseContext", "D43"),
    as_aws("R1.4.count", "approximateInvokeCount is MaximumRetryAttempts + 1", "D31", "D39"),
    as_aws("R1.4.never-run", "of a record that was too old when first read it is 1", "D43"),
    as_aws("R1.4.while-retrying", "retries without limit and an age of 60 s: about 8 tries"),
    as_aws("R1.4.alone", "old records are reported alone, the rest is delivered", "D43"),
    as_aws("R1.4.sns", "SNS: the same JSON as Message", "D33"),
    as_aws("R1.4.s3", "S3: the key, and one object for a failing batch", "D34"),
    as_aws("R1.4.payload", "S3: payload is the event as a string"),
    as_aws("R1.4.queues", "a queue takes no DestinationConfig", "R1.2.queue-destination"),
)

RETRIES = (
    as_aws("R1.5.retries", "n retries are n + 1 invocations, then the shard moves on", "D31"),
    as_aws("R1.5.successes", "six responses that mean success", "D36"),
    as_aws("R1.5.failures", "responses that fail the whole batch", "D37", "D38", "D39"),
    as_aws("R1.5.progress", "retries start afresh after progress: 5 deliveries, count 4"),
    as_aws("R1.5.batches", "BatchSize is a bound, and a shard runs one batch at a time", "D30"),
    as_aws("R1.5.horizon", "TRIM_HORIZON sees what was there before", "D28"),
    as_aws("R1.5.disabled", "a disabled mapping invokes nothing", "D06"),
)

QUEUES = (
    as_aws("R1.6.success", "success deletes", "D50"),
    as_aws("R1.6.failure", "a failed message returns after its timeout, count 2", "D51"),
    as_aws("R1.6.redrive", "the redrive policy moves it with its MessageId", "D52"),
    as_aws("R1.6.fifo-report", "FIFO: [1,2,3,4], then [2,3,4], then 4 in the dead-letter queue"),
    as_aws("R1.6.error", "an exception fails the whole batch, reporting or not"),
    as_aws("R1.6.malformed", "a malformed report fails the batch, {} succeeds", "D54", "D55"),
    as_aws("R1.6.one-group", "FIFO: one group is one invocation at a time", "D57"),
    as_aws("R1.6.windows", "15 messages with a window: each exactly once", "D56"),
    as_aws("R1.6.concurrency", "30 messages, BatchSize 20, MaximumConcurrency 2: 2 invocations"),
    as_aws("R1.6.filtered", "filtered messages are deleted", "D48"),
)

FILTERS = (
    as_aws("R1.7.sqs", "the operators on an SQS body, with their boundaries", "D47"),
    as_aws("R1.7.plain", "a JSON pattern and a body that is none: dropped and deleted", "D48"),
    as_aws("R1.7.kinesis", "data means the JSON in it", "D45"),
    as_aws("R1.7.type", "DynamoDB: values by their type", "D46"),
    as_aws("R1.7.exists", "exists works on leaves only"),
    as_aws("R1.7.numbers", "DynamoDB: numbers are strings"),
    as_aws("R1.7.time", "ApproximateCreationDateTime is a number"),
    as_aws("R1.7.event-source", "eventSource and eventName can be filtered by"),
    as_aws("R1.7.engine", "the cases of AWS's rule engine", "D60"),
)

RECORDED = (*OVER_THE_API, *EVENTS, *DOCUMENTS, *RETRIES, *QUEUES, *FILTERS)
