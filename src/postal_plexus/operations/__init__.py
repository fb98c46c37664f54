"""Operate a running stack through AWS's API: the library behind `plexus`."""
