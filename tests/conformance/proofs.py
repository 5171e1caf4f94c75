"""Which tests show which claims: the markers of the tests, beside the claims."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.claims import Claim
from tests.conformance.collecting import OPTION
from tests.conformance.documented import DOCUMENTED
from tests.conformance.recorded import RECORDED
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.settings import SETTINGS, Source

ROOT = Path(__file__).parents[2]
OUTSIDE = "tests/outside/"
COLLECT = (
    *(sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", ""),
    *("-p", "tests.conformance.collecting"),
)
CLAIMS = (
    *(claim for setting in SETTINGS for claim in setting.claims()),
    *RECORDED,
    *SCENARIOS,
    *DOCUMENTED,
)

# A module with one of these in its name is about that source.
_ABOUT = {
    "kinesis": Source.KINESIS,
    "dynamodb": Source.DYNAMODB,
    "sqs": Source.SQS,
    "fifo": Source.SQS,
    "queue": Source.SQS,
}


@dataclass(frozen=True, slots=True)
class Proof:
    """A test, all its parameters taken together.

    `names`: what it is marked with.  `slow`: runs only when asked for.  `skipped`: never runs.
    """

    module: str
    test: str
    names: frozenset[str]
    slow: bool = False
    skipped: bool = False

    def claims(self) -> frozenset[str]:
        """The names of the claims that it shows."""
        return frozenset(claim for name in self.names for claim in self._meant(name))

    def _meant(self, name: str) -> Iterable[str]:
        """A setting alone means the source that the module is about, or else every source."""
        if name not in _WORKS:
            return (name,)
        stem = self.module.rpartition("/")[2]
        about = [source for word, source in _ABOUT.items() if word in stem]
        return [f"{source}.{name}" for source in about[:1] or _WORKS[name]]


_WORKS = {setting.name: setting.works or tuple(Source) for setting in SETTINGS}


def collected() -> Sequence[Proof]:
    """The marked tests of the repository, slow ones too, as pytest collects them.

    Raises RuntimeError with what pytest says if it cannot.
    """
    marked = [path for path in sorted(ROOT.glob("tests/**/test_*.py")) if _is_marked(path)]
    with tempfile.TemporaryDirectory() as made:
        notes = Path(made) / "proofs.json"
        ended = subprocess.run(
            [*COLLECT, f"{OPTION}={notes}", *map(str, marked)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"pytest could not collect the tests:\n{ended.stdout}{ended.stderr}")
        return proofs_of(json.loads(notes.read_text()))


def _is_marked(path: Path) -> bool:
    return "proves(" in path.read_text()


def proofs_of(notes: Iterable[Mapping[str, object]]) -> Sequence[Proof]:
    """What was noted of single cases, as tests: one is slow if all of its marked cases are."""
    cases: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for note in notes:
        cases.setdefault((str(note["module"]), str(note["test"])), []).append(note)
    return [
        Proof(
            module,
            test,
            frozenset(name for each in noted for name in each["names"]),  # type: ignore[attr-defined]
            slow=all(each["slow"] for each in noted),
            skipped=all(each["skipped"] for each in noted),
        )
        for (module, test), noted in cases.items()
    ]


class Shown:
    """The proofs of each claim: from outside first, of the API after those of behaviour, slow ones
    last."""

    def __init__(self, proofs: Sequence[Proof], claims: Sequence[Claim] = CLAIMS) -> None:
        self._claims = {claim.name: claim for claim in claims}
        self._direct: dict[str, list[Proof]] = {}
        for proof in sorted(proofs, key=_rank):
            if not proof.skipped:
                for name in proof.claims():
                    self._direct.setdefault(name, []).append(proof)

    def of(self, name: str) -> list[Proof]:
        claim = self._claims[name]
        found = list(self._direct.get(name, ()))
        for other in claim.shown_by:
            found += [proof for proof in self.of(other) if proof not in found]
        return found

    def unknown(self) -> list[str]:
        """What tests are marked with that is no claim."""
        return sorted(self._direct.keys() - self._claims.keys())

    def unproven(self) -> list[str]:
        """Claims that no test shows."""
        return [name for name in self._claims if not self.of(name)]


def _rank(proof: Proof) -> tuple[bool, bool, bool, str, str]:
    outside = proof.module.startswith(OUTSIDE)
    return proof.slow, not outside, "lambda_api" in proof.module, proof.module, proof.test
