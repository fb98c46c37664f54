"""The edge to AWS: SQS, S3 and SES over HTTP with SigV4, in as little memory and time as it takes.

Why no SDK: docs/delivery.md has the measurements.
"""
