"""The operator's command `plexus`. It connects the parts and contains no logic of its own."""
