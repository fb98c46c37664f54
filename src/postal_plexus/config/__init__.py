"""The stack file, and what an operator may do. Used by operators' commands only; no I/O."""
