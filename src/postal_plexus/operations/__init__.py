"""What an operator does with a running stack, by AWS's API: the library behind `plexus`."""
