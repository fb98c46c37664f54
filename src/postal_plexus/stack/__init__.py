"""The whole configuration of a stack, checked; `plexus` and the program read by it. Pure."""
