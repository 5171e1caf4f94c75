"""Handlers that go wrong, and one that does not."""

import contextlib
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


def leaves_daemons(event, context):
    """Two processes, one a program of its own, that lead sessions and have lost their parents."""
    pids = [os.getpid()]
    for program in (True, False):
        end, inlet = os.pipe()
        if not os.fork():
            os.setsid()
            if not os.fork():
                os.write(inlet, b"%d" % os.getpid())
                if program:
                    os.execvp("sleep", ["sleep", "60"])
                time.sleep(60)
            os._exit(0)
        os.wait()
        pids.append(int(os.read(end, 20)))
    with open(event["file"] + ".part", "w") as file:
        file.write(" ".join(map(str, pids)))
    os.rename(event["file"] + ".part", event["file"])
    if event.get("end"):
        os._exit(1)
    if event.get("hang"):
        time.sleep(60)


def says(event, context):
    for line in event["lines"]:
        print(line, flush=True)


def leaks(event, context):
    """As many MB as it is told, by itself or in a child; for as long as it is told."""
    code = f"taken = b'x' * {event['megabytes']} * 1024 * 1024; import time; time.sleep(%s)"
    if event.get("child"):
        subprocess.run([sys.executable, "-S", "-c", code % 60], check=False)
    else:
        exec(code % event.get("seconds", 0))
    return os.getpid()


def closes_its_output(event, context):
    with contextlib.suppress(OSError):  # they are closed already
        os.close(1)
        os.close(2)
    return os.getpid()


def floods(event, context):
    """Without a line end."""
    for _ in range(event["megabytes"]):
        os.write(1, b"x" * 1024 * 1024)


def code(event, context):
    """What the file beside it says, read once."""
    import beside  # noqa: PLC0415 - it is there only when this is called

    time.sleep(event.get("seconds", 0))
    return beside.VERSION
