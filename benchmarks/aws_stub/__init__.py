"""A fast stand-in for the AWS that `deliver` sees: SQS (JSON), S3 objects, SES SendBounce.

It exists because a full emulator answers about a hundred messages a second, which would measure the
emulator. It is a real HTTP server in a process of its own, so it costs what a socket costs, can be
killed, and can be given faults that a well-behaved emulator never shows.

Kept true to AWS, because exactly-once is judged by it: visibility timeouts, receive counts, stale
receipt handles, long polls, batch limits, redrive to a dead-letter queue, conditional and ranged
reads, one SendBounce a second. Not kept: signatures are not verified (the desk's emulator does
that), no SNS, no IAM, no pagination.

    python -m benchmarks.aws_stub --help
"""
