"""Where failure documents go: SQS, SNS and S3, and the delivery that does not give up easily."""
