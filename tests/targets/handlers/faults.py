"""Handlers that go wrong, and one that does not."""

import os
import signal
import subprocess
import sys
import threading
import time


class OrderRefused(Exception):
    pass


def works(event, context):
    return os.getpid()


def raises(event, context):
    raise OrderRefused(f"no {event['order']}")


def ends(event, context):
    os._exit(event["status"])


def is_killed(event, context):
    os.kill(os.getpid(), signal.SIGKILL)


def returns_too_much(event, context):
    return "x" * 7_000_000


def returns_no_json(event, context):
    return object()


def hangs(event, context):
    if event.get("hang", True):
        time.sleep(60)
    return os.getpid()


def hangs_with_a_child(event, context):
    """A child that keeps standard output open; both pids are written to the file given."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL
    )
    with open(event["file"] + ".part", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(event["file"] + ".part", event["file"])
    time.sleep(60)


def dies_behind_its_answer(event, context):
    """Ends once poller has its answer: the runtime waits for another event by then."""
    threading.Timer(0.05, os._exit, (0,)).start()
    return os.getpid()


def ignores_sigterm(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return os.getpid()
