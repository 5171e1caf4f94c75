"""Runs the Lambda runtime client; a script, started by its path.

    PYTHON bootstrap.py HANDLER

The interpreter is the function's own: it need not have poller, so this file uses the standard
library alone, and no syntax newer than Python 3.8.
"""

import os
import sys

if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]  # what lies beside this file is not for functions to import

import http.client
import importlib.util
import json
import runpy

CLIENT = "awslambdaric"
CLIENT_MISSING = "Poller.RuntimeClientMissing"  # what poller tells from a fault of the function


def main(handler: str) -> None:
    """Become the runtime of `handler`, which lies in LAMBDA_TASK_ROOT."""
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    os.environ["AWS_EXECUTION_ENV"] = f"AWS_Lambda_python{version}"
    if importlib.util.find_spec(CLIENT) is None:
        report_missing_client()
        sys.exit(1)
    sys.argv = [CLIENT, handler]
    runpy.run_module(CLIENT, run_name="__main__", alter_sys=True)


def report_missing_client() -> None:
    """Tell poller through the Runtime API, which needs no client to speak of."""
    install = f"{sys.executable} -m pip install {CLIENT}"
    remedy = f"{CLIENT} is not installed for {sys.executable}: run `{install}`"
    body = json.dumps({"errorMessage": remedy, "errorType": CLIENT_MISSING})
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request("POST", "/2018-06-01/runtime/init/error", body)
    connection.getresponse().read()


if __name__ == "__main__":
    main(sys.argv[1])
