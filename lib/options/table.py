"""The one table of options. Flags, environment names, keys of the file and `-help` all come from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lib.options.values import (
    LogFormat,
    Output,
    Parse,
    count_within,
    duration_within,
    one_of,
    parse_address,
    parse_image_id,
    parse_log_level,
    parse_name,
    parse_password,
    parse_path,
    parse_program,
    parse_username,
    size_within,
)
from lib.quantity import parse_boolean
from lib.reference import parse_host, parse_reference, parse_repository, parse_tag
from lib.target import Builder

ENVIRONMENT_PREFIX = "REGISTRY_MONITOR_"
SWITCH = ""

_HOUR = 3600.0
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        name: as written behind a dash, and as a key of the file.
        metavar: what stands for its value in `-help`; `SWITCH` for a boolean, true where it is given without a value.
        default: the text that counts where none is given; None for no value.
        parse: from the text that was given to the value. Raises ValueError.
        help: what it means.
        alias: another spelling of its name.
        in_file: whether it can be a key of the file.
    """

    name: str
    metavar: str
    default: str | None
    parse: Parse
    help: str
    alias: str | None = None
    in_file: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Its spellings, the proper one first."""
        return (self.name,) if self.alias is None else (self.name, self.alias)


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together.

    Attributes:
        title: their heading in `-help`.
        per_target: whether each can be given for one target.
        options: they themselves.
    """

    title: str
    per_target: bool
    options: tuple[Option, ...]


# An entry takes two lines: what it is, and what it means.
# fmt: off
GROUPS = (
    Group("what to test (per target)", per_target=True, options=(
        Option("repository", "NAME", None, parse_repository,
            "full name of the repository, as in quay.io/some/repository"),
        Option("tag", "TAG", "latest", parse_tag,
            "tag that is pushed and pulled"),
        Option("overwrite", SWITCH, "false", parse_boolean,
            "push over an image that no monitor made"),
        Option("expect-private", SWITCH, "false", parse_boolean,
            "try to pull the test image without credentials, and tell loudly if that works"),
    )),
    Group("login (per target)", per_target=True, options=(
        Option("username", "NAME", None, parse_username,
            "name to log in with"),
        Option("password", "PASSWORD", None, parse_password,
            "password to log in with; on a command line, everybody on this host can read it"),
        Option("password-file", "FILE", None, parse_path,
            "file that holds the password, read again at every cycle; may begin with $CREDENTIALS_DIRECTORY"),
        Option("docker-config", "FOLDER", None, parse_path,
            "in place of a login: Docker config folder with stored logins or credential helpers; never written"),
        Option("registry-host", "HOST", None, parse_host,
            "host to log in to: the repository's, and no other"),
    )),
    Group("base image (per target)", per_target=True, options=(
        Option("base-image", "IMAGE", None, parse_reference,
            "image to build on, with its tag or digest; instead of base-layer-id"),
        Option("public-base", SWITCH, "false", parse_boolean,
            "pull the base image without credentials"),
        Option("base-layer-id", "ID", None, parse_image_id,
            "ID of a local image, or digest of one in the repository, to build on; also spelled base-image-id",
            alias="base-image-id"),
    )),
    Group("payload (per target)", per_target=True, options=(
        Option("payload-size", "SIZE", "1MiB", size_within(1, 4 * 1024**3),
            "random bytes in the pushed image, 1B to 4GiB"),
        Option("payload-layers", "N", "1", count_within(1, 100),
            "layers they are spread over, 1 to 100"),
        Option("builder", "BUILDER", "auto", one_of(Builder),
            "auto (the classic builder where the docker CLI still has it), classic or buildkit"),
    )),
    Group("schedule and deadlines (per target)", per_target=True, options=(
        Option("run-test-every", "DURATION", "2m", duration_within(0.1, _DAY),
            "from the start of one cycle to the start of the next, 100ms to 24h"),
        Option("retry-every", "DURATION", "30s", duration_within(0.1, _DAY),
            "the same after a cycle that was not up, where shorter, 100ms to 24h"),
        Option("step-timeout", "DURATION", "2m", duration_within(0.1, _HOUR),
            "deadline of each step, 100ms to 1h"),
        Option("cycle-timeout", "DURATION", "5m", duration_within(0.1, _HOUR),
            "deadline of the whole cycle, 100ms to 1h; a step gets what is left of it, if less"),
        Option("propagation-timeout", "DURATION", "0s", duration_within(0, _HOUR),
            "how long after a push the tag may still show the image before, 0s to 1h"),
        Option("expect-private-every", "DURATION", "1h", duration_within(0.1, 7 * _DAY),
            "how often expect-private is tried, 100ms to 168h"),
    )),
    Group("HTTP and log", per_target=False, options=(
        Option("listen", "ADDRESS", ":8000", parse_address,
            "where HTTP is served: :8000, 127.0.0.1:8000 or [::1]:8000"),
        Option("web-config", "FILE", None, parse_path,
            "Prometheus' web configuration file, for TLS and basic authentication"),
        Option("loglevel", "LEVEL", "info", parse_log_level,
            "least severe events to log: debug, info, warn, error, fatal or panic"),
        Option("log-format", "FORMAT", "text", one_of(LogFormat),
            "text (key=value) or json, one line an event, to standard error"),
    )),
    Group("running", per_target=False, options=(
        Option("config", "FILE", None, parse_path,
            "YAML file: the options by name, and `targets:` where there is more than one", in_file=False),
        Option("concurrency", "N", "4", count_within(1, 1000),
            "cycles under way at the same time, 1 to 1000"),
        Option("state-dir", "FOLDER", None, parse_path,
            "where the history is kept (default: $STATE_DIRECTORY; without it, in memory)"),
        Option("docker", "PROGRAM", "docker", parse_program,
            "the docker CLI to run"),
    )),
    Group("instead of monitoring", per_target=False, options=(
        Option("once", SWITCH, "false", parse_boolean,
            "one cycle of every target, print, exit"),
        Option("output", "FORMAT", "text", one_of(Output),
            "of once: text or json"),
        Option("check-config", SWITCH, "false", parse_boolean,
            "read everything, say what is wrong or what would run, exit"),
        Option("version", SWITCH, "false", parse_boolean,
            "print the version, exit", in_file=False),
    )),
)
# fmt: on

#: A target's label: a key under `targets:`, and neither flag nor variable.
NAME = Option("name", "NAME", None, parse_name, "label of the target; the repository's full name where none is given")

OPTIONS = tuple(option for group in GROUPS for option in group.options)
#: The options by every spelling of their names.
BY_NAME = {name: option for option in OPTIONS for name in option.names}
#: The names of those that can be given for one target.
PER_TARGET = frozenset(option.name for group in GROUPS if group.per_target for option in group.options)


def environment_name(name: str) -> str:
    """Given an option's name, return the environment variable that sets it."""
    return ENVIRONMENT_PREFIX + name.upper().replace("-", "_")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Given a name that isn't known, and those that are, return the most similar, None where none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415  only a mistake needs it

    return next(iter(get_close_matches(name.lower().replace("_", "-"), list(known), n=1)), None)
