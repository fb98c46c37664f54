"""The account page: what browsers talk to. A program of the container `web`."""
