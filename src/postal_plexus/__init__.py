"""Postal Plexus: mail for a few domains of one's own, on AWS, for a few dollars a month."""
