"""A handler whose module takes as long to import as its environment says."""

import os
import time

time.sleep(float(os.environ["IMPORT_SECONDS"]))


def handler(event, context):
    return context.get_remaining_time_in_millis()
