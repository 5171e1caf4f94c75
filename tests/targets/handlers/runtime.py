"""A runtime of the tests' own: serves a handler of these files, with the standard library alone.

PYTHON runtime.py MODULE.NAME
"""

import http.client
import importlib
import json
import os
import sys
import urllib.parse

BASE = "/2018-06-01/runtime/invocation/"


def main(name):
    module, _, function = name.rpartition(".")
    handler = getattr(importlib.import_module(module), function)
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", BASE + "next")
        reply = api.getresponse()
        event = json.loads(reply.read())
        request = BASE + urllib.parse.quote(reply.headers["Lambda-Runtime-Aws-Request-Id"])
        try:
            answer = json.dumps(handler(event, None))
        except Exception as error:
            message = str(error) if type(error) is not KeyError else repr(error.args[0])
            said = {"errorType": type(error).__name__, "errorMessage": message}
            api.request("POST", request + "/error", json.dumps(said))
        else:
            api.request("POST", request + "/response", answer)
        sys.stdout.flush()
        api.getresponse().read()


main(sys.argv[1])
