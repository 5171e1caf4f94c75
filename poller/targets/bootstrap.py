"""Runs the Lambda runtime client in a process that dies with poller; a script, started by its path.

    PYTHON bootstrap.py PARENT_PID HANDLER

The interpreter is the function's own: it need not have poller, so this file uses the standard
library alone, and no syntax newer than Python 3.8.  Standard input must be a pipe or a socket
whose other end poller holds.
"""

import os
import sys

if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]  # what lies beside this file is not for functions to import

import http.client
import importlib.util
import json
import runpy
import signal
import threading

PR_SET_PDEATHSIG = 1
CLIENT = "awslambdaric"
CLIENT_MISSING = "Poller.RuntimeClientMissing"  # what poller tells from a fault of the function


def main(parent: int, handler: str) -> None:
    """Become the runtime of `handler`, which lies in LAMBDA_TASK_ROOT."""
    die_with(parent)
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    os.environ["AWS_EXECUTION_ENV"] = f"AWS_Lambda_python{version}"
    if importlib.util.find_spec(CLIENT) is None:
        report_missing_client()
        sys.exit(1)
    sys.argv = [CLIENT, handler]
    runpy.run_module(CLIENT, run_name="__main__", alter_sys=True)


def die_with(parent: int) -> None:
    """Have this process killed when `parent` is gone, however it went."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if sys.platform == "linux" and die_by_signal(parent):
        os.close(lifeline)
    else:
        threading.Thread(target=die_at_end_of, args=(lifeline,), daemon=True).start()


def die_by_signal(parent: int) -> bool:
    """Ask the kernel for it; False where that cannot be had, or if `parent` went before."""
    try:
        import ctypes  # noqa: PLC0415 - an optional part of Python

        refused = ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return False
    # A parent that is another one may also be a wrapper around the interpreter.
    return not refused and os.getppid() == parent


def die_at_end_of(lifeline: int) -> None:
    """Wait until the other end of `lifeline` closes, then kill this process and its children."""
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def report_missing_client() -> None:
    """Tell poller through the Runtime API, which needs no client to speak of."""
    install = f"{sys.executable} -m pip install {CLIENT}"
    remedy = f"{CLIENT} is not installed for {sys.executable}: run `{install}`"
    body = json.dumps({"errorMessage": remedy, "errorType": CLIENT_MISSING})
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request("POST", "/2018-06-01/runtime/init/error", body)
    connection.getresponse().read()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
