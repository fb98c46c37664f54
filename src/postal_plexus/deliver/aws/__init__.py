"""The edge to AWS: SQS, S3 and SES over HTTP with SigV4, with little memory and processor time.

docs/delivery.md has the measurements that speak against an SDK.
"""
