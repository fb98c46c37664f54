"""What users would run instead of this project, from Debian's packages, measured beside it."""
