"""Target: one repository on one registry, validated and frozen; nothing else can be given to a cycle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lib.reference import Reference
from lib.secret import Secret, read_secret_file


class Builder(StrEnum):
    """Which builder makes the test image."""

    AUTO = "auto"
    CLASSIC = "classic"
    BUILDKIT = "buildkit"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login.

    Attributes:
        username: the name to log in with.
        password: the password itself, or the file that holds it and is read again at every cycle.
    """

    username: str
    password: Secret | Path

    def read_password(self) -> Secret:
        """Return the password as it is now. Raise OSError or ValueError, as `read_secret_file` does."""
        return self.password if isinstance(self.password, Secret) else read_secret_file(self.password)


@dataclass(frozen=True, slots=True)
class Target:
    """What to test, and how. Only `lib.options` makes one, from checked values; durations are in seconds.

    Attributes:
        name: the label.
        reference: repository and tag that are pushed and pulled.
        credentials: None without a login.
        docker_config: an existing Docker config folder to take logins from, in place of `credentials`.
        base_image: reference of the image to build on, None for `base_layer_id` or `scratch`.
        public_base: pull the base without credentials.
        base_layer_id: ID of a local image, or digest of one in the repository, to build on.
        run_every: from the start of one cycle to the start of the next.
        retry_every: the same after a cycle that was not up, where shorter.
        step_timeout, cycle_timeout: deadlines.
        overwrite: push over an image that no monitor made.
        payload_bytes: random bytes in the pushed image.
        payload_layers: layers they are spread over.
        builder: which builder.
        propagation_timeout: how long after a push the tag may still show the image before.
        expect_private: an anonymous pull of the test image must be refused.
        expect_private_every: how often that is tried.
    """

    name: str
    reference: Reference
    credentials: Credentials | None = None
    docker_config: Path | None = None
    base_image: Reference | None = None
    public_base: bool = False
    base_layer_id: str | None = None
    run_every: float = 120.0
    retry_every: float = 30.0
    step_timeout: float = 120.0
    cycle_timeout: float = 300.0
    overwrite: bool = False
    payload_bytes: int = 1024 * 1024
    payload_layers: int = 1
    builder: Builder = Builder.AUTO
    propagation_timeout: float = 0.0
    expect_private: bool = False
    expect_private_every: float = 3600.0

    @property
    def registry(self) -> str:
        """The registry's host, with its port where it has one."""
        return self.reference.host

    @property
    def base_is_ours(self) -> bool:
        """Whether the base image is served by the very registry that is monitored: then its failure is that one's."""
        return self.base_image is None or self.base_image.host == self.reference.host
