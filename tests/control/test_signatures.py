"""Signatures are checked as AWS checks them: what botocore signs passes, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from email.utils import formatdate

import pytest
from botocore.utils import percent_encode, percent_encode_sequence
from hypothesis import given
from hypothesis import strategies as st

from poller.control.signatures import NotSigned, Signature
from tests.control.signed import INVOCATIONS, KEY, NOW, Client

MISMATCH = (
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details.",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
segments = st.sampled_from(
    ["2015-03-31", "functions", "orders:live", "arn:aws:lambda:us-east-1:000000000000:function:f"]
) | texts.filter(lambda text: text not in (".", ".."))
odd_segments = st.sampled_from(["", ".", "..", "%41", "%3A", "$LATEST", "a+b", "a%2Fb", "~"])
paths = st.lists(segments.map(percent_encode) | odd_segments, max_size=5).map("/".join)
pairs = st.lists(st.tuples(texts, texts), max_size=4)
own_headers = st.dictionaries(
    st.sampled_from(
        ["X-Amz-Invocation-Type", "X-Amz-Client-Context", "Content-Type", "Accept", "X-Own"]
    ),
    st.text(st.sampled_from("aB1/=;, \t"), max_size=12).map(lambda text: f"{text}."),
)


clients = st.builds(Client, visible, st.just(KEY), st.sampled_from(["us-east-1", "local"]))


@given(clients, paths, pairs, own_headers, st.binary(max_size=200))
def test_what_botocore_signs_passes(
    client: Client, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    in_url = f"/{path}?{percent_encode_sequence(query)}" if query else f"/{path}"
    client.sends("PUT", in_url, headers=headers, body=body).check(client.secret)
    client.sends("GET", f"/{path}", params=dict(query), headers=headers).check(client.secret)


@given(pairs, own_headers, st.binary(min_size=1, max_size=50), st.data())
def test_what_is_changed_on_the_way_is_refused(
    query: list[tuple[str, str]], headers: dict[str, str], body: bytes, data: st.DataObject
) -> None:
    path = f"{INVOCATIONS}?{percent_encode_sequence([*query, ('Qualifier', '1')])}"
    sent = Client().sends(path=path, headers=headers, body=body)
    name = data.draw(st.sampled_from(sorted({*sent.headers} - {"authorization"})))
    place = data.draw(st.integers(0, len(body) - 1))
    other = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    changed = [
        replace(sent, method="PUT"),
        replace(sent, target=sent.target.replace("orders", "others")),
        replace(sent, target=sent.target.replace("Qualifier=1", "Qualifier=2")),
        replace(sent, target=f"{sent.target}&DryRun"),
        replace(sent, body=other),
        replace(sent, body=body + b"\n"),
        replace(sent, headers={**sent.headers, name: [f"{sent.headers[name][0]}x"]}),
        sent.with_headers(x_amz_log_type="Tail"),
    ]
    if name == "content-length":
        del changed[-2]  # botocore does not sign it
    for each in changed:
        code, _ = each.refusal()
        assert code in {"InvalidSignatureException", "IncompleteSignatureException"}
    sent.check()


def test_another_secret_and_an_unknown_key_are_refused_in_awss_words() -> None:
    sent = Client().sends()
    assert sent.refusal("another secret") == MISMATCH
    assert sent.refusal(None) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_a_session_token_that_is_sent_must_be_signed() -> None:
    sent = Client(token="of a role").sends()
    sent.check()
    assert sent.with_headers(x_amz_security_token="another").refusal() == MISMATCH
    unsigned = Client().sends().with_headers(x_amz_security_token="another")
    assert unsigned.refusal() == (
        "InvalidSignatureException",
        "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.",
    )


def test_a_date_header_is_as_good_as_that_of_amazon() -> None:
    Client().sends(headers={"Date": "is replaced"}).check()
    sent = Client().sends().with_headers(x_amz_date=None, date=formatdate(NOW))
    assert sent.refusal()[1] == "'date' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (-300, None),
        (300, None),
        (
            301,
            "Signature expired: 20241125T155320Z is now earlier than 20241125T155321Z "
            "(20241125T155821Z - 5 min.)",
        ),
        (
            -301,
            "Signature not yet current: 20241125T155320Z is still later than 20241125T155319Z "
            "(20241125T154819Z + 5 min.)",
        ),
    ],
)
def test_clocks_may_differ_by_five_minutes(late: float, message: str | None) -> None:
    sent = Client().sends()
    if message is None:
        sent.check(now=NOW + late)
    else:
        assert sent.refusal(now=NOW + late) == ("InvalidSignatureException", message)


INCOMPLETE, INVALID = "IncompleteSignatureException", "InvalidSignatureException"


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("Credential=", "Credentials=", INCOMPLETE,
         "Authorization header requires 'Credential' parameter."),
        ("Signature=", "Signature=,", INCOMPLETE,
         "Authorization header has a part that is not a valid key=value pair (missing "
         "equal-sign)."),
        ("SignedHeaders=", "Others=", INCOMPLETE,
         "Authorization header requires 'SignedHeaders' parameter."),
        ("/us-east-1/", "/", INCOMPLETE,
         "Credential must have exactly 5 slash-delimited elements, e.g. "
         "keyid/date/region/service/term"),
        ("/lambda/", "/sqs/", INVALID,
         "Credential should be scoped to correct service: 'lambda'."),
        ("aws4_request", "aws4", INVALID,
         "Credential should be scoped with a valid terminator: 'aws4_request'."),
        ("/20241125/", "/20241124/", INVALID,
         "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
         "HTTP."),
        ("host;", "", INVALID,
         "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."),
        (";x-amz-date", "", INVALID,
         "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization."),
        ("/us-east-1/", "/eu-west-1/", *MISMATCH),
        ("Signature=", "Signature=\udcff", INCOMPLETE, "Authorization header must be ASCII."),
        ("/us-east-1/", "/\udcff/", INCOMPLETE, "Authorization header must be ASCII."),
        ("Signature=", "Signature=a", *MISMATCH),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_signature_is_told_in_awss_words(
    old: str, new: str, code: str, message: str
) -> None:
    assert Client().sends().resigned(old, new).refusal() == (code, message)


@pytest.mark.parametrize("stamp", ["20241125", "20241125T9953200Z", "20249925T155320Z", "x", ""])
def test_a_date_that_is_none_is_told(stamp: str) -> None:
    sent = Client().sends().resigned("/20241125/", f"/{stamp[:8]}/")
    message = "Date must be in ISO-8601 'basic format'."
    assert sent.with_headers(x_amz_date=stamp).refusal() == (INCOMPLETE, message)


def test_a_request_without_a_date_is_told() -> None:
    assert Client().sends().with_headers(x_amz_date=None).refusal() == (
        INCOMPLETE,
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    )


def test_the_body_must_be_signed() -> None:
    digest = hashlib.sha256(b"{}").hexdigest()
    Client().sends(headers={"X-Amz-Content-Sha256": digest}).check()
    other = hashlib.sha256(b"[]").hexdigest()
    assert Client().sends(headers={"X-Amz-Content-Sha256": other}).refusal() == MISMATCH
    for word in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", ""):
        assert Client().sends(headers={"X-Amz-Content-Sha256": word}).refusal() == (
            INVALID,
            "x-amz-content-sha256 must be the body's SHA-256: the body must be signed.",
        )


@given(
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["host", "x-amz-date"]), st.lists(texts, min_size=1)),
)
def test_garbage_is_refused_and_nothing_else_happens(
    parameters: str, headers: dict[str, list[str]]
) -> None:
    with pytest.raises(NotSigned):
        Signature.read(parameters, headers, NOW)
