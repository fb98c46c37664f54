"""What is claimed about speed, memory and loss: measured here, repeatable with one command."""
