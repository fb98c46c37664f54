"""What is ours about a desk: its stack, its accounts, the demonstration, how it is."""
