"""Which HTTP client `deliver` should speak to AWS with: own sockets, http.client, awscrt or pycurl.

Each runs as a whole process that does what `deliver` does with AWS and nothing else: receive from
SQS, GET each mail from S3, delete each entry, in 20 threads, against the fast stub. All sign with
the same code and are ready for TLS, as they are on AWS; the stub itself speaks plain HTTP.

    python -m benchmarks.http_clients            # root is not needed; about two minutes
"""
