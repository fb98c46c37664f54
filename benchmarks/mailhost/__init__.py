"""A mail host to measure on: its directories, the real Dovecot container, and `deliver`.

Nothing here is a copy of production's configuration: images, paths and environment are the
contract between the containers, so what is measured is what is deployed.
"""
