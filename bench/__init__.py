"""Benchmarks: `tox -e bench`."""
