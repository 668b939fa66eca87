"""The target that most tests have: a repository of a registry that lets one user in."""

from __future__ import annotations

#: The user that the registry lets in.
USER, PASSWORD = "monitor", "secret"
#: The steps of its cycles.
STEPS = ["login", "pull", "build", "push", "rmi", "pull_back"]


def login(repository: str, password: str = PASSWORD) -> tuple[str, ...]:
    """Given a repository's full name, and USER's password there, return the monitor's options to test it, as USER."""
    return (f"-repository={repository}", f"-username={USER}", f"-password={password}")


def path_of(repository: str) -> str:
    """Given a repository's full name, return it without its registry."""
    return repository.partition("/")[2]
