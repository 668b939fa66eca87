"""Faults that strike for real: what they strike on, what strikes, what has to come of it, and running that."""
