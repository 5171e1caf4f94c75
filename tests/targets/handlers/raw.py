"""A handler that tells the very bytes of its event, before anything parses them."""

import hashlib

from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller


class RawMarshaller(LambdaMarshaller):
    def unmarshal_request(self, request, content_type="application/json"):
        return request


BaseLambdaRuntimeClient.marshaller = RawMarshaller()


def handler(event, context):
    return hashlib.sha256(event).hexdigest()
