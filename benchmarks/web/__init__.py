"""The four containers together, with everything on and everybody there."""
