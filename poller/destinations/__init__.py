"""Where documents go, and the delivery that does not give up easily.

Queues, topics and buckets for failures of mappings and results of asynchronous invocations;
functions and event buses for the latter alone.
"""
