"""Makes the stream `orders` at the emulator, if it is not there, and puts 100 orders into it."""

import json
import sys
import time

import boto3
from botocore.config import Config

ENDPOINT = "http://emulator:4566"
ORDERS = 100
TRIES = 60


def main() -> str | None:
    """What is wrong, or None."""
    once = Config(retries={"total_max_attempts": 1})
    kinesis = boto3.client("kinesis", endpoint_url=ENDPOINT, config=once)
    for _ in range(TRIES):
        try:
            if "orders" not in kinesis.list_streams()["StreamNames"]:
                kinesis.create_stream(StreamName="orders", ShardCount=2)
            break
        except Exception as error:
            print(f"the emulator is not there yet: {error}")
            time.sleep(1)
    else:
        return "the emulator does not answer"
    kinesis.get_waiter("stream_exists").wait(StreamName="orders")
    records = [
        {"PartitionKey": f"customer-{n % 7}", "Data": json.dumps({"order": n}).encode()}
        for n in range(ORDERS)
    ]
    kinesis.put_records(StreamName="orders", Records=records)
    print(f"put {ORDERS} orders")
    return None


if __name__ == "__main__":
    sys.exit(main())
