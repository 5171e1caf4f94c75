"""The conformance table tells the truth: every claim is shown by a test that runs, and the README
says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from poller.wire.arns import SourceKind
from poller.wire.mappings import APPLIES_TO
from tests.conformance.claims import Claim, Status, source_of
from tests.conformance.proofs import CLAIMS, OUTSIDE, Proof, Shown, collected, proofs_of
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.settings import OF_AWS, OF_OUR_OWN, Source
from tests.conformance.table import BEGIN, END, README, named, section, write, written_into

KINDS = {
    Source.KINESIS: SourceKind.KINESIS,
    Source.DYNAMODB: SourceKind.DYNAMODB,
    Source.SQS: SourceKind.SQS,
}
REMEDY = "run make conformance"


@pytest.fixture(scope="module")
def shown() -> Shown:
    return Shown(collected())


def test_the_readme_is_what_the_tests_say(shown: Shown) -> None:
    text = README.read_text()
    is_fresh = written_into(text, section(shown)) == text

    assert is_fresh, REMEDY


def test_every_claim_is_shown_by_a_test_that_is_not_skipped(shown: Shown) -> None:
    assert shown.unproven() == []


def test_every_scenario_is_shown_from_outside(shown: Shown) -> None:
    """But the last one, which is of a rule engine that nobody sees alone."""
    within = [
        claim.name
        for claim in SCENARIOS[:-1]
        if not any(proof.module.startswith(OUTSIDE) for proof in shown.of(claim.name))
    ]

    assert within == []


def test_every_marker_names_a_claim(shown: Shown) -> None:
    assert shown.unknown() == []


def test_every_parameter_of_awss_model_is_a_claim() -> None:
    model: Any = botocore.session.get_session().get_service_model("lambda")
    shape = model.operation_model("CreateEventSourceMapping").input_shape

    assert {setting.name for setting in OF_AWS} == set(shape.members)


def test_settings_work_with_the_sources_that_the_code_takes_them_for() -> None:
    for setting in OF_AWS:
        applies = APPLIES_TO[setting.name]
        assert {KINDS[source] for source in setting.works} <= applies, setting.name
        if not setting.refused and setting.name != "StartingPositionTimestamp":
            assert {KINDS[source] for source in setting.works} == applies, setting.name
    assert {setting.name.partition(".")[0] for setting in OF_OUR_OWN} == {"poller"}


def test_claims_are_there_once_and_say_how_they_differ() -> None:
    names = Counter(claim.name for claim in CLAIMS)

    assert [name for name, count in names.items() if count > 1] == []
    assert [c.name for c in CLAIMS if bool(c.reason) is (c.status is Status.IMPLEMENTED)] == []
    assert [c.name for c in CLAIMS for other in c.shown_by if other not in names] == []


# The machinery.


def proof(*names: str, module: str = "tests/outside/test_windows.py", **more: Any) -> Proof:
    return Proof(module, "test_it_works", frozenset(names), **more)


def test_a_setting_alone_means_every_source_or_the_one_that_a_module_is_about() -> None:
    of_streams = {"Kinesis.MaximumRetryAttempts", "DynamoDB.MaximumRetryAttempts"}

    assert proof("MaximumRetryAttempts").claims() == of_streams
    for stem, source in (
        ("kinesis_failures", "Kinesis"),
        ("dynamodb", "DynamoDB"),
        ("fifo", "SQS"),
    ):
        about = proof("BatchSize", "D31", module=f"tests/outside/test_{stem}.py")
        assert about.claims() == {f"{source}.BatchSize", "D31"}
    assert proof("SQS.BatchSize").claims() == {"SQS.BatchSize"}


def test_a_test_is_slow_only_if_all_its_marked_cases_are() -> None:
    case = {"module": "tests/m.py", "test": "test_a", "names": ["D01"], "skipped": False}
    cases = [{**case, "slow": True}, {**case, "names": ["D02"], "slow": False}]

    assert proofs_of(cases) == [Proof("tests/m.py", "test_a", frozenset({"D01", "D02"}))]
    assert proofs_of(cases[:1]) == [Proof("tests/m.py", "test_a", frozenset({"D01"}), slow=True)]


def test_what_shows_one_claim_may_show_another_and_what_is_skipped_shows_none() -> None:
    claims = [
        Claim("D01", "a", "scenario"),
        Claim("R1.1.a", "a", "recorded 1.1", shown_by=("D01",)),
        Claim("D02", "b", "scenario"),
    ]
    found = Shown([proof("D01", "D99"), proof("D02", skipped=True)], claims)

    assert found.of("R1.1.a") == found.of("D01") == [proof("D01", "D99")]
    assert (found.unknown(), found.unproven()) == (["D99"], ["D02"])


def test_a_row_names_two_tests_as_words_and_counts_the_rest() -> None:
    one = named([proof("D01", slow=True)])

    assert one == "[it works](tests/outside/test_windows.py) (slow)"
    assert named([proof(str(number)) for number in range(5)]).endswith("; 3 more")


def test_only_what_stands_between_the_comments_is_written(shown: Shown, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    assert write(shown, file)
    assert not write(shown, file)
    text = file.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    with pytest.raises(ValueError, match="in this order"):
        written_into(f"{END} {BEGIN}", "")


def test_a_name_says_where_a_claim_comes_from() -> None:
    assert [source_of(name) for name in ("D31", "R1.4.sns", "S4.2.idle", "S5.order")] == [
        "scenario",
        "recorded 1.4",
        "spec 4.2",
        "spec 5",
    ]
