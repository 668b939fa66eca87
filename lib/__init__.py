"""registry-monitor: does what a registry's users do, through the docker CLI, and says how it went."""

__version__ = "0.2.0"
