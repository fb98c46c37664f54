"""The stack file: keys, text, edits and problems. The operator's side only; no I/O."""
