"""The product's part of a desk: its stack, its accounts, the demonstration, its status."""
