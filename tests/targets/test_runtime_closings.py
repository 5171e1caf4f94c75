"""What the end of a connection says, row by row of the module's table."""

from __future__ import annotations

import pytest

from poller.targets.runtime_closings import SOON, Closings

NODE = b"undici"


@pytest.mark.parametrize(
    ("broke", "after", "client", "gone"),
    [
        (True, 0.0, NODE, True),
        (True, 800.0, b"", True),
        (False, 0.0, b"aws-lambda-python/3.13.0-4.0.0", True),
        (False, 800.0, b"AWS_Lambda_Cpp/0.2.6", True),
        (False, 1.0, b"curl/8.5.0", False),
        (False, 0.01, NODE, True),
        (False, 0.5, NODE, True),
        (False, SOON - 0.1, NODE, True),
        (False, 4.0, NODE, False),
        (False, 90.0, b"Go-http-client/1.1", False),
    ],
)
def test_a_runtime_is_gone_if_its_connection_says_so_and_not_if_it_may_live(
    broke: bool, after: float, client: bytes, gone: bool
) -> None:
    assert Closings().means_gone(broke=broke, after=after, client=client) is gone


def test_connections_that_were_kept_so_long_do_not_close_before() -> None:
    closings = Closings()
    closings.kept(60.0)

    for after, gone in ((59.0, True), (61.0, False)):
        assert closings.means_gone(broke=False, after=after, client=NODE) is gone


def test_who_was_wrong_once_believes_only_what_broke() -> None:
    closings = Closings()

    assert closings.misled()
    assert not closings.misled()
    assert not closings.means_gone(broke=False, after=1.0, client=NODE)
    assert not closings.means_gone(broke=False, after=1.0, client=b"aws-lambda-java/2.6")
    assert closings.means_gone(broke=True, after=1.0, client=NODE)
