"""What the conformance table is made of: claims about poller beside AWS, each a plain value.

A claim has a name, by which tests say that they show it: `@pytest.mark.proves("D31", "R1.4.sns")`.

    D31                 a scenario
    R1.4.sns            recorded on AWS; the number is a section of the recordings
    S4.2.idle           documented; the number is a section of the specification
    BatchSize           a setting, for every source that it works with
    Kinesis.BatchSize   a setting, for one source
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    IMPLEMENTED = "as AWS"
    DIFFERENT = "different"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Claim:
    """`says` what AWS does; `reason`: how or why it is different or refused here.

    `shown_by`: claims whose tests show this one, too.
    """

    name: str
    says: str
    source: str
    status: Status = Status.IMPLEMENTED
    reason: str = ""
    shown_by: tuple[str, ...] = ()


def as_aws(name: str, says: str, *shown_by: str) -> Claim:
    return Claim(name, says, source_of(name), shown_by=shown_by)


def different(name: str, says: str, reason: str, *shown_by: str) -> Claim:
    return Claim(name, says, source_of(name), Status.DIFFERENT, reason, shown_by)


def refused(name: str, says: str, reason: str, *shown_by: str) -> Claim:
    return Claim(name, says, source_of(name), Status.REFUSED, reason, shown_by)


def source_of(name: str) -> str:
    """Where a claim comes from, as its name says: R1.4.sns is "recorded 1.4"."""
    if name[0] == "D":
        return "scenario"
    kind = {"R": "recorded", "S": "spec"}[name[0]]
    numbers = [part for part in name[1:].split(".") if part.isdigit()]
    return f"{kind} {'.'.join(numbers)}"
