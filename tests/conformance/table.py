"""The conformance section of the README: claims and the tests that show them, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.conformance.claims import Claim, Status
from tests.conformance.documented import DOCUMENTED
from tests.conformance.proofs import ROOT, Proof, Shown
from tests.conformance.recorded import RECORDED
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.settings import EVERY, OF_AWS, OF_OUR_OWN, Setting, Source

README = ROOT / "README.md"
BEGIN = "<!-- conformance: written by `make conformance` -->"
END = "<!-- end of conformance -->"
PROOFS_MAX = 2  # named in a row
SETTING_PROOFS_MAX = 3  # one for each source

Row = Sequence[str]


def section(shown: Shown) -> str:
    """The text between the two comments."""
    on_purpose = [
        each for each in (*RECORDED, *DOCUMENTED) if each.status is not Status.IMPLEMENTED
    ]
    documented = [each for each in DOCUMENTED if each.status is Status.IMPLEMENTED]
    return "\n".join(
        [
            "What does not apply to a source is refused, as AWS does. The last column names tests.",
            "",
            *settings_table(OF_AWS, shown),
            "",
            "Beyond AWS, in the block `poller:` of a mapping:",
            "",
            *settings_table(OF_OUR_OWN, shown),
            "",
            "Different from AWS on purpose, or where AWS does not say:",
            "",
            *table(
                ("AWS", "here", "", "shown by"),
                ((each.says, each.reason, each.source, named(shown.of(each.name)))
                 for each in on_purpose),
            ),
            "",
            *folded(f"Recorded on AWS: {tally(RECORDED)}", claims_table(RECORDED, shown)),
            "",
            *folded(f"Scenarios from outside: {tally(SCENARIOS)}", claims_table(SCENARIOS, shown)),
            "",
            *folded(f"Documented by AWS: {tally(documented)}", claims_table(documented, shown)),
        ]
    )  # fmt: skip


def settings_table(settings: Iterable[Setting], shown: Shown) -> Sequence[str]:
    return table(
        ("setting", *EVERY, "shown by"),
        (
            (
                f"`{setting.name}`",
                *(_cell(setting, source) for source in EVERY),
                named(_of_setting(setting, shown), SETTING_PROOFS_MAX),
            )
            for setting in settings
        ),
    )


def _cell(setting: Setting, source: Source) -> str:
    if source in setting.works:
        return "works"
    if not setting.refused:
        return "does not apply"
    return f"refused: {setting.refused}" if source is EVERY[0] else "refused"


def _of_setting(setting: Setting, shown: Shown) -> list[Proof]:
    """The first proof for each source that it works with, then the others."""
    proofs = [shown.of(f"{source}.{setting.name}") for source in setting.works or EVERY]
    firsts = [each[0] for each in proofs if each]
    return list(dict.fromkeys([*firsts, *(proof for each in proofs for proof in each)]))


def claims_table(claims: Iterable[Claim], shown: Shown) -> Sequence[str]:
    return table(
        ("", "AWS", "here", "shown by"),
        (
            (_place(each), each.says, each.status, named(shown.of(each.name)))
            for each in claims
        ),
    )  # fmt: skip


def _place(claim: Claim) -> str:
    return claim.name if claim.source == "scenario" else claim.source.partition(" ")[2]


def named(proofs: Sequence[Proof], most: int = PROOFS_MAX) -> str:
    """The first few tests, by their claims, and how many more there are."""
    names = [_link(proof) for proof in proofs[:most]]
    more = len(proofs) - len(names)
    return "; ".join(names) + (f"; {more} more" if more else "")


def _link(proof: Proof) -> str:
    words = proof.test.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    return f"[{words}]({proof.module})" + (" (slow)" if proof.slow else "")


def tally(claims: Sequence[Claim]) -> str:
    """How many there are, and of which status."""
    counts = {status: sum(each.status is status for each in claims) for status in Status}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def table(head: Row, rows: Iterable[Row]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines]


def folded(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines that a reader unfolds."""
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>"]


def written_into(text: str, body: str) -> str:
    """`text` with `body` between the two comments; ValueError if they are not there, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} must be there, in this order")
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"


def write(shown: Shown, path: Path = README) -> bool:
    """Bring the file up to date; whether it was not."""
    old = path.read_text()
    new = written_into(old, section(shown))
    if new != old:
        path.write_text(new)
    return new != old
