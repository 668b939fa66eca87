"""Target: one repository on one registry, validated and frozen; nothing else can be given to a cycle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from lib.reference import Reference
from lib.secret import PasswordFile, Secret


class Builder(StrEnum):
    """Which builder makes the test image."""

    AUTO = "auto"
    CLASSIC = "classic"
    BUILDKIT = "buildkit"


class Anonymous(StrEnum):
    """What those without a login are to find."""

    REFUSED = "refused"
    PULL = "pull"


#: What the names of the labels begin with by which monitors' images are recognised.
LABEL_PREFIX = "registry-monitor."

#: How often certificates are read, and how often a registry's API is asked that said nothing, or did not answer.
VISIT_SECONDS = 3600.0

#: What is added to the tag in the name that strangers try to push to.
STRANGER_SUFFIX = "-stranger"


@dataclass(frozen=True, slots=True)
class StrangersMay:
    """What those without a login can do, or should be able to do.

    Attributes:
        pull, push: whether that works, or has to; None if that is not known, or nobody asks.
    """

    pull: bool | None = None
    push: bool | None = None

    def against(self, wanted: StrangersMay) -> StrangersMay:
        """Given what should be, return the part of this that differs."""
        return StrangersMay(_if_unlike(self.pull, wanted.pull), _if_unlike(self.push, wanted.push))


def _if_unlike(found: bool | None, wanted: bool | None) -> bool | None:  # noqa: FBT001  they are the values
    return None if wanted is None or found == wanted else found


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login.

    Attributes:
        username: the name to log in with.
        password: the password itself, or the file that holds it and is read again at every cycle.
    """

    username: str
    password: Secret | PasswordFile

    def read_password(self) -> Secret:
        """Return the password as it is now. Raise ValueError as `PasswordFile.read()` does."""
        return self.password if isinstance(self.password, Secret) else self.password.read()


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
        retry_every: the same after a cycle that was not up, if that is shorter.
        step_timeout, cycle_timeout: deadlines.
        overwrite: push over an image that no monitor made.
        payload_bytes: random bytes in the pushed image.
        payload_layers: layers that they are spread over.
        image_labels: more labels for the test image, by name.
        builder: which builder.
        propagation_timeout: how long after a push the tag may still show the previous image.
        expect_private: an anonymous pull of the test image must be refused.
        expect_private_every: how often that is tried.
        anonymous: what those without a login are to find, None if nobody asks.
        anonymous_every: how often that is tried.
        read_only: nothing is built or pushed.
        expect_digest: the digest that the tag must have; only if `read_only`.
        replica_of: name of the target whose test image this one shows too; only if `read_only`.
        replica_within: how long ago the image that it shows may have been replaced there.
        cold_images: how many rested images it keeps.
        cold_every: how often one of them is pushed or checked.
        heartbeat_url: the URL to GET after each cycle.
        delete_superseded: images that a push replaced are deleted from the registry.
        watch_certificates: the expiry of certificates is looked up.
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
    payload_bytes: int = 64 * 1024
    payload_layers: int = 1
    image_labels: tuple[tuple[str, str], ...] = ()
    builder: Builder = Builder.AUTO
    propagation_timeout: float = 0.0
    expect_private: bool = False
    expect_private_every: float = 3600.0
    anonymous: Anonymous | None = None
    anonymous_every: float = 3600.0
    read_only: bool = False
    expect_digest: str | None = None
    replica_of: str | None = None
    replica_within: float = 600.0
    cold_images: int = 0
    cold_every: float = 24 * 3600.0
    heartbeat_url: Secret | None = None
    delete_superseded: bool = False
    watch_certificates: bool = True

    @property
    def registry(self) -> str:
        """The registry's host, with its port if it has one."""
        return self.reference.host

    def rested_tag(self, number: int) -> str:
        """Given the number of a rested image, from 1 on, return its tag."""
        return f"{self.reference.tag}-cold-{number}"

    @property
    def strangers_may(self) -> StrangersMay:
        """What those without a login should be able to do, and what not; None if nobody asks."""
        if self.anonymous is Anonymous.PULL:
            return StrangersMay(pull=True)
        if self.anonymous is Anonymous.REFUSED:
            return StrangersMay(pull=False, push=None if self.read_only else False)
        return StrangersMay(pull=False if self.expect_private else None)

    @property
    def stranger_reference(self) -> Reference:
        """The name that strangers try to push to."""
        return replace(self.reference, tag=f"{self.reference.tag}{STRANGER_SUFFIX}")

    @property
    def pushed_bytes(self) -> int:
        """Random bytes in each image that it pushes: none if it pushes none."""
        return 0 if self.read_only else self.payload_bytes

    @property
    def base_is_ours(self) -> bool:
        """Whether the monitored registry itself serves the base image: then its failure is that registry's."""
        return self.base_image is None or self.base_image.host == self.reference.host
