"""Which counters there are: our names, what they mean, and what CloudWatch calls the same.

AWS's names are those of an event source mapping (spec 11.1).  Each is the sum of the counters that
carry it, and has AWS's meaning:

PolledEventCount         records read, by whatever poll; those of a restart again
FilteredOutEventCount    records that match no filter
InvokedEventCount        records sent, again with each retry, also where the function refused them
FailedInvokeEventCount   records of invocations that failed, were refused, or reported failures:
                         then all records of the batch; counted when the invocation ends
DroppedEventCount        records given up of which no destination knows: there is none, or it did
                         not take the document; that one is kept and sent later, AWS's would be lost
OnFailureDestinationDeliveredEventCount
                         records given up of which the destination was told at once
DeletedEventCount        messages deleted, those that no filter matches included
DestinationDeliveryFailures
                         attempts to send a document that failed

Records that left their source unread are in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """`fields` are names of `Counts`, by value of `label` if there is one.

    `aws`: the metric that this counter is, or is a part of.
    """

    name: str
    text: str
    fields: tuple[tuple[str, str], ...]
    label: str | None = None
    aws: str | None = None

    @property
    def help(self) -> str:
        """What it counts; names AWS's metric, and what else belongs to that."""
        if self.aws is None:
            return self.text
        others = [each.name for each in COUNTERS if each.aws == self.aws and each is not self]
        return " ".join((self.text, "AWS:", " with ".join((self.aws, *others)))) + "."


def _plain(name: str, field: str, text: str, aws: str | None = None) -> Counter:
    return Counter(name, text, (("", field),), aws=aws)


DESTINATION_FAILURES = "poller_destination_failures_total"

COUNTERS = (
    _plain("poller_fetches_total", "fetches", "Polls that were answered, also by nothing."),
    _plain("poller_fetch_failures_total", "fetch_failures", "Polls that brought an error."),
    _plain(
        "poller_records_polled_total", "polled", "Records or messages read.", "PolledEventCount"
    ),
    _plain(
        "poller_records_filtered_total",
        "filtered",
        "Records that matched no filter.",
        "FilteredOutEventCount",
    ),
    _plain(
        "poller_records_invoked_total",
        "invoked",
        "Records sent, again with each retry.",
        "InvokedEventCount",
    ),
    _plain("poller_records_succeeded_total", "succeeded", "Records that the function finished."),
    _plain(
        "poller_records_failed_total",
        "failed",
        "Records of invocations that did not wholly succeed.",
        "FailedInvokeEventCount",
    ),
    _plain(
        "poller_records_dropped_total",
        "dropped",
        "Records given up that no destination records.",
        "DroppedEventCount",
    ),
    _plain(
        "poller_records_delivered_total",
        "delivered",
        "Records given up that a destination has.",
        "OnFailureDestinationDeliveredEventCount",
    ),
    _plain(
        "poller_records_kept_total",
        "kept",
        "Records given up whose failure document is kept, since its destination failed.",
        "DroppedEventCount",
    ),
    _plain(
        "poller_records_deleted_total",
        "deleted",
        "Messages deleted from their queue.",
        "DeletedEventCount",
    ),
    _plain("poller_delete_failures_total", "delete_failures", "Messages that were not deleted."),
    Counter(
        "poller_invocations_total",
        "Invocations that ended; refused ones never reached the function.",
        (
            ("succeeded", "invocations_succeeded"),
            ("partly_failed", "invocations_partly_failed"),
            ("failed", "invocations_failed"),
            ("refused", "invocations_refused"),
        ),
        "outcome",
    ),
    _plain(
        "poller_invocation_seconds_total",
        "invocation_seconds",
        "Seconds that invocations took which reached the function.",
    ),
    Counter(
        "poller_batches_closed_total",
        "Batches sent for the first time, by why they closed.",
        (
            ("count", "closed_by_count"),
            ("bytes", "closed_by_bytes"),
            ("window", "closed_by_window"),
            ("flush", "closed_by_flush"),
        ),
        "reason",
    ),
    _plain("poller_retries_total", "retries", "Invocations of records that had been sent before."),
    _plain("poller_checkpoints_total", "checkpoints", "Positions stored."),
    _plain(
        DESTINATION_FAILURES,
        "destination_failures",
        "Attempts to deliver to a failure destination that went wrong.",
        "DestinationDeliveryFailures",
    ),
)


def aws_fields() -> dict[str, tuple[str, ...]]:
    """The names of `Counts` that make up each of AWS's metrics."""
    names = dict.fromkeys(counter.aws for counter in COUNTERS if counter.aws is not None)
    return {
        name: tuple(
            field for counter in COUNTERS if counter.aws == name for _, field in counter.fields
        )
        for name in names
    }
