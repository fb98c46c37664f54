"""The stack file: keys, text, edits and problems. Used by operators' commands only; no I/O."""
