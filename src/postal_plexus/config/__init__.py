"""The stack file, and what an operator may do with the stack. The operator's side only; no I/O."""
