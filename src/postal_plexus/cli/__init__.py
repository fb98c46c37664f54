"""The operator's command `plexus`: wires the parts together and holds no logic of its own."""
