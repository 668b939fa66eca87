"""Faults that strike for real: what they strike, the faults, what has to come of each, and running them."""
