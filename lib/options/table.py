"""The one table of options. Flags, environment names, keys of the file and `-help` all come from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any

from lib.options.options import Options
from lib.options.values import (
    LogFormat,
    LogLevel,
    OneOf,
    Output,
    Parse,
    count_within,
    duration_within,
    parse_address,
    parse_heartbeat_url,
    parse_image_id,
    parse_label,
    parse_name,
    parse_outside_a_file,
    parse_password,
    parse_path,
    parse_program,
    parse_username,
    size_within,
)
from lib.quantity import format_duration, format_size, parse_boolean
from lib.reference import DEFAULT_TAG, parse_digest, parse_host, parse_reference, parse_repository, parse_tag
from lib.secret import PasswordFile, Secret
from lib.target import Anonymous, Builder, Credentials, Target

ENVIRONMENT_PREFIX = "REGISTRY_MONITOR_"
SWITCH = ""

_HOUR = 3600.0
_DAY = 24 * _HOUR


#: The attributes that options fill, and their defaults, which are stated only there.
_DEFAULTS = {each.name: each.default for owner in (Target, Options) for each in fields(owner)}


def _text(value: Any) -> str | None:
    """Given a value, return it as text, a Secret as `<secret>`."""
    if isinstance(value, float):  # only seconds have fractions
        return format_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _labels(labels: tuple[tuple[str, str], ...]) -> str | None:
    return ", ".join(f"{name}={value}" for name, value in labels) or None


def _password(kind: type[Secret | PasswordFile]) -> Callable[[Credentials], str | None]:
    return lambda credentials: str(credentials.password) if isinstance(credentials.password, kind) else None


@dataclass(frozen=True, slots=True)
class Option:
    """One option. To add one that fills an attribute by itself, this row and the attribute are enough.

    Attributes:
        name: as written after a dash, and as a key of the file.
        metavar: its value's placeholder in `-help`; `SWITCH` for a boolean, which is true without a value.
        parse: returns the value for a text. Raises ValueError.
        help: what it means.
        fills: the attribute of Target, or of Options, that takes its value; None for the one with its name. If several
            rows fill one, `lib.options.targets` puts them together.
        show: returns the text of the attribute's value, if it has one, for `-check-config`, and for a default in
            `-help`.
        none: what `-check-config` shows instead of None; None for nothing.
        is_shown: whether `-check-config` shows it.
        otherwise: the text that counts if none is given, unless that is the attribute's default.
        alias: another spelling of its name.
        in_file: whether it can be a key of the file.
        pushes: whether it is about building or pushing, so that it makes no sense with `read-only`.
        parse_entry: for a mapping, returns the entry for a name and a text. Raises ValueError.
    """

    name: str
    metavar: str
    parse: Parse
    help: str
    fills: str | None = None
    show: Callable[[Any], str | None] = _text
    none: str | None = None
    is_shown: bool = True
    otherwise: str | None = None
    alias: str | None = None
    in_file: bool = True
    pushes: bool = False
    parse_entry: Callable[[str, str], tuple[str, str]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its spellings, the proper one first."""
        return (self.name,) if self.alias is None else (self.name, self.alias)

    @property
    def attribute(self) -> str:
        """The attribute that it fills."""
        return self.fills or self.name.replace("-", "_")

    @property
    def default(self) -> str | None:
        """The text that counts if none is given, None for no value."""
        value = _DEFAULTS.get(self.attribute)
        return self.otherwise if value in (None, MISSING) else self.show(value)

    def shown_of(self, owner: Target | Options) -> str | None:
        """Given an object with the attribute, return its value as `-check-config` shows it, None for nothing."""
        value = getattr(owner, self.attribute)
        return self.none if value is None else self.show(value)


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together.

    Attributes:
        title: their heading in `-help`.
        per_target: whether each is about one target, and can be given for one; if not, it is about the process.
            options: the options.
    """

    title: str
    per_target: bool
    options: tuple[Option, ...]


# The first line of an entry says what it is, the next what it means, and a third what else there is to it.
# fmt: off
GROUPS = (
    Group("what to test (per target)", per_target=True, options=(
        Option("repository", "NAME", parse_repository,
            "full name of the repository, as in quay.io/some/repository",
            fills="reference", show=attrgetter("repository")),
        Option("tag", "TAG", parse_tag,
            "tag that is pushed and pulled", fills="reference", show=attrgetter("tag"), otherwise=DEFAULT_TAG),
        Option("overwrite", SWITCH, parse_boolean,
            "push over an image that no monitor made", pushes=True),
        Option("expect-private", SWITCH, parse_boolean,
            "try to pull the test image without credentials, and log an error if that works", pushes=True),
        Option("anonymous", "WHAT", OneOf(Anonymous),
            "refused: a pull without credentials, and a push to TAG-stranger, must fail; pull: a pull must work"),
    )),
    Group("pull only (per target)", per_target=True, options=(
        Option("read-only", SWITCH, parse_boolean,
            "build and push nothing: log in, pull, remove; for registries and mirrors where you can only pull"),
        Option("expect-digest", "DIGEST", parse_digest,
            "with read-only: digest that the tag must have"),
        Option("replica-of", "TARGET", parse_name,
            "with read-only: name of the target whose test image this one shows too (a mirror, a replica)"),
        Option("replica-within", "DURATION", duration_within(0.1, 7 * _DAY),
            "how far a replica may be behind its source before it is down, 100ms to 168h"),
    )),
    Group("login (per target)", per_target=True, options=(
        Option("username", "NAME", parse_username,
            "name to log in with", fills="credentials", show=attrgetter("username"), none="none: without a login"),
        Option("password", "PASSWORD", parse_password,
            "password to log in with; on a command line, everybody on this host can read it",
            fills="credentials", show=_password(Secret)),
        Option("password-file", "FILE", parse_path,
            "file that holds the password, read again at every cycle; may begin with $CREDENTIALS_DIRECTORY",
            fills="credentials", show=_password(PasswordFile)),
        Option("docker-config", "FOLDER", parse_path,
            "instead of a login: Docker config folder with stored logins or credential helpers; never written"),
        Option("registry-host", "HOST", parse_host,
            "host to log in to; must be the repository's host", fills="reference", is_shown=False),
    )),
    Group("base image (per target)", per_target=True, options=(
        Option("base-image", "IMAGE", parse_reference,
            "image to build on, with its tag or digest; instead of base-layer-id", pushes=True),
        Option("public-base", SWITCH, parse_boolean,
            "pull the base image without credentials", pushes=True),
        Option("base-layer-id", "ID", parse_image_id,
            "ID of a local image, or digest of one in the repository, to build on; also spelled base-image-id",
            alias="base-image-id", pushes=True),
    )),
    Group("payload (per target)", per_target=True, options=(
        Option("payload-size", "SIZE", size_within(1, 4 * 1024**3),
            "random bytes in the pushed image, 1B to 4GiB", fills="payload_bytes", show=format_size, pushes=True),
        Option("payload-layers", "N", count_within(1, 100),
            "layers that the payload is spread over, 1 to 100", pushes=True),
        Option("image-labels", "MAPPING", parse_outside_a_file,
            "in the file only: more labels for the test image, such as quay.expires-after: 2d",
            show=_labels, pushes=True, parse_entry=parse_label),
        Option("builder", "BUILDER", OneOf(Builder),
            "auto (the classic builder if both CLI and engine still have it), classic or buildkit", pushes=True),
    )),
    Group("schedule and deadlines (per target)", per_target=True, options=(
        Option("run-test-every", "DURATION", duration_within(0.1, _DAY),
            "from the start of one cycle to the start of the next, 100ms to 24h", fills="run_every"),
        Option("retry-every", "DURATION", duration_within(0.1, _DAY),
            "the same after a cycle that failed and was not refused, if shorter, 100ms to 24h"),
        Option("step-timeout", "DURATION", duration_within(0.1, _HOUR),
            "deadline of each step, 100ms to 1h"),
        Option("cycle-timeout", "DURATION", duration_within(0.1, _HOUR),
            "deadline of the whole cycle, 100ms to 1h; a step gets what is left of it, if less"),
        Option("propagation-timeout", "DURATION", duration_within(0, _HOUR),
            "how long after a push the tag may still show the previous image, 0s to 1h", pushes=True),
        Option("expect-private-every", "DURATION", duration_within(0.1, 7 * _DAY),
            "how often expect-private is tried, 100ms to 168h", pushes=True),
        Option("anonymous-every", "DURATION", duration_within(0.1, 7 * _DAY),
            "how often anonymous is tried, 100ms to 168h"),
    )),
    Group("rested images (per target)", per_target=True, options=(
        Option("cold-images", "N", count_within(0, 1000),
            "images that are pushed once and pulled now and then, under TAG-cold-1 and so on, 0 to 1000; needs"
            " state-dir", pushes=True),
        Option("cold-every", "DURATION", duration_within(0.1, 31 * _DAY),
            "how often one of them is pushed or pulled, 100ms to 744h", pushes=True),
    )),
    Group("heartbeat (per target)", per_target=True, options=(
        Option("heartbeat-url", "URL", parse_heartbeat_url,
            "URL to GET after each cycle that was up, with /fail after its path if the cycle was down; a secret"),
    )),
    Group("the registry's API (per target)", per_target=True, options=(
        Option("watch-certificates", SWITCH, parse_boolean,
            "look up hourly when the certificates of the registry, its token server and its store expire"),
        Option("delete-superseded", SWITCH, parse_boolean,
            "after a cycle that was up, delete the image of the previous push, by its digest", pushes=True),
    )),
    Group("HTTP, metrics and log", per_target=False, options=(
        Option("listen", "ADDRESS", parse_address,
            "where HTTP is served: :8000, 127.0.0.1:8000 or [::1]:8000"),
        Option("web-config", "FILE", parse_path,
            "Prometheus' web configuration file, for TLS and basic authentication"),
        Option("metrics-file", "FILE", parse_path,
            "where the metrics are written after each cycle, and by once: for node_exporter's textfile collector"),
        Option("loglevel", "LEVEL", OneOf(LogLevel),
            "least severe events to log: debug, info, warn, error, fatal or panic"),
        Option("log-format", "FORMAT", OneOf(LogFormat),
            "text (key=value) or json, one line an event, to standard error"),
    )),
    Group("running", per_target=False, options=(
        Option("config", "FILE", parse_path,
            "YAML file: the options by name, and `targets:` if there is more than one", in_file=False),
        Option("concurrency", "N", count_within(1, 1000),
            "cycles under way at the same time, 1 to 1000"),
        Option("state-dir", "FOLDER", parse_path,
            "where the history is kept (default: $STATE_DIRECTORY; without it, in memory)",
            none="none: the history is kept in memory"),
        Option("docker", "PROGRAM", parse_program,
            "the docker CLI to run"),
    )),
    Group("instead of monitoring", per_target=False, options=(
        Option("once", SWITCH, parse_boolean,
            "one cycle of every target, print, exit", is_shown=False),
        Option("output", "FORMAT", OneOf(Output),
            "with once: text or json", is_shown=False),
        Option("renew-cold", SWITCH, parse_boolean,
            "with once: push again the rested images that failed their last check", is_shown=False),
        Option("check-config", SWITCH, parse_boolean,
            "read everything, say what is wrong or what would run, exit", is_shown=False),
        Option("version", SWITCH, parse_boolean,
            "print the version, exit", in_file=False, is_shown=False),
    )),
)
# fmt: on

#: A target's label: a key under `targets:`, and neither flag nor variable.
NAME = Option("name", "NAME", parse_name, "label of the target; the repository's full name if none is given")

TARGET_OPTIONS = tuple(option for group in GROUPS if group.per_target for option in group.options)
PROCESS_OPTIONS = tuple(option for group in GROUPS if not group.per_target for option in group.options)
OPTIONS = TARGET_OPTIONS + PROCESS_OPTIONS
#: The options by every spelling of their names.
BY_NAME = {name: option for option in OPTIONS for name in option.names}


def environment_name(name: str) -> str:
    """Given an option's name, return the environment variable that sets it."""
    return ENVIRONMENT_PREFIX + name.upper().replace("-", "_")
