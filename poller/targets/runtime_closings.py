"""What the end of a connection says of the runtime that took an invocation on it.

A runtime that was killed closes its connections; but one that works on may do so, too, because its
HTTP client has a connection for each call, or closes those that carry nothing for a while.  What a
healthy runtime does must never fail its invocation, and the end of one that is gone should be known
long before the timeout:

the connection   while the invocation runs             its client, by its name     the runtime
broke            at any time                           any                         is gone
closed           at any time                           never closes                is gone
closed           at any time                           closes after each call      may live
closed           soon                                  any other                   is gone
closed           before connections were kept so long  any other                   is gone
closed           later                                 any other                   may live
closed           at any time                           any, once one was alive     may live

What is learnt from one that was alive costs it an invocation at most, and only if that ran for
longer than an answer is waited for.  Soon is before any known client gives up an idle connection:
that of Node's fetch does so after four seconds, Node's own after five, Java's after five, .NET's
after sixty, Go's after ninety.
"""

from __future__ import annotations

from poller.core.model import Seconds

SOON: Seconds = 3.0

# Of the official clients that keep one connection, by libcurl, for as long as they live.
NEVER_CLOSE = (b"aws-lambda-python/", b"aws-lambda-nodejs/", b"aws-lambda-java/", b"AWS_Lambda_Cpp")

# Of those that have a connection for each call.
CLOSE_EACH = (b"aws-lambda-ruby/", b"curl/", b"Wget/")


class Closings:
    """Judges the closings of one function's runtimes, and learns from them."""

    def __init__(self) -> None:
        self._kept: Seconds = SOON
        self._misleading = False

    def kept(self, seconds: Seconds) -> None:
        """An invocation ran so long and was answered on the connection on which it was taken."""
        self._kept = max(self._kept, seconds)

    def misled(self) -> bool:
        """A runtime answered whose closed connection had meant that it is gone; whether that is
        news."""
        news = not self._misleading
        self._misleading = True
        return news

    def means_gone(self, *, broke: bool, after: Seconds, client: bytes) -> bool:
        """`after`: how long the invocation had run.  `client`: the User-Agent that took it."""
        if broke:
            return True
        if self._misleading or client.startswith(CLOSE_EACH):
            return False
        return after < self._kept or client.startswith(NEVER_CLOSE)
