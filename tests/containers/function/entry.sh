#!/bin/sh
# With AWS_LAMBDA_RUNTIME_API the runtime takes invocations from there, as the official images do.
if [ $# -ne 1 ]; then
  echo "entrypoint requires the handler name to be the first argument" >&2
  exit 142
fi
if [ -z "${AWS_LAMBDA_RUNTIME_API}" ]; then
  echo "there is no emulator in this image" >&2
  exit 1
fi
export _HANDLER="$1"
exec /var/runtime/bin/python -m awslambdaric "$1"
