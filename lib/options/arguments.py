"""The settings on the command line and in the environment, through configargparse.

Flags are read as Go reads them: one dash or two, `-flag=value` or `-flag value`, a switch without a value. argparse
would complete shortened names, print what it does not know (a mistyped `-pasword=s3cr3t`), and stop at the first fault.
So it is given only `--name=value`, and texts are parsed elsewhere.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lib.options.help import print_help
from lib.options.source import Source, read_value
from lib.options.table import BY_NAME, ENVIRONMENT_PREFIX, OPTIONS, SWITCH, Option, environment_name
from lib.quantity import is_boolean
from lib.quoting import nearest, quoted

if TYPE_CHECKING:
    import configargparse

_FLAG = re.compile(r"--?([^-=][^=]*)(?:=(.*))?", re.DOTALL)
#: A name that can be shown: it has no digits, since no option has any, and so is rarely somebody's password.
_SHOWABLE = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}", re.ASCII)
_HELP_FLAGS = ("h", "help")
#: A value that argparse would drop, even after an equals sign.
_DROPPED = "--"
#: The original's options for sending metrics to CloudWatch. It did that with an SDK; AWS's agent does it better.
_CLOUDWATCH = re.compile(
    "aws-(access|secret)-key|cloudwatch-(region|namespace|metric-(success|failure|(pull|push)-time))"
)
_NO_CLOUDWATCH = (
    "this program sends nothing to CloudWatch: leave it out, and let the CloudWatch agent scrape /metrics"
    " (docs/without-a-scrape.md)"
)
#: What Kubernetes puts into every container if a service is called registry-monitor, or registry-monitor-something.
_SERVICE_LINK = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_[A-Z]+(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def read_arguments(argv: Sequence[str], env: Mapping[str, str], faults: list[str]) -> tuple[Source, Source]:
    """Given the command line without the program's name, and the environment, return the settings of each.

    What is wrong with them is added to `faults`. An option that the command line gives is left out of the
    environment's. Raise SystemExit(0), after the help was printed, if that is asked for.
    """
    parser = _parser()
    namespace = parser.parse_args(_flags(argv, faults), env_vars=_variables(env, faults))
    from_environment = parser.get_source_to_settings_dict().get("environment_variables", {})
    if not argv and not from_environment and not faults:
        faults.append("no option is given: -help shows all, and -config=FILE reads them from a file")
    flags: Source = {}
    environment: Source = {}
    for name, text in vars(namespace).items():
        option = BY_NAME[name]
        variable = environment_name(name)
        if variable in from_environment:
            environment[name] = read_value(option, text, variable, faults)
        else:
            flags[name] = read_value(option, text, f"-{name}", faults)
    return flags, environment


def _flags(argv: Sequence[str], faults: list[str]) -> list[str]:
    """Given the command line, return its options as `--name=value`, without those that have an empty value.

    Raise SystemExit(0), after the help was printed, if that is asked for.
    """
    flags = []
    words = deque(enumerate(argv, start=1))
    while words:
        position, word = words.popleft()
        match = _FLAG.fullmatch(word)
        if match is None:
            if word != _DROPPED or words:
                faults.append(_stray(word, position))
            continue
        name, value = match.groups()
        if name in _HELP_FLAGS:
            print_help()
            raise SystemExit(0)
        option = BY_NAME.get(name)
        following = words[0][1] if words else None
        if value is None and following is not None and _is_value(following, option):
            value = following
            words.popleft()
        if option is None:
            faults += _unknown(name, value, position)
        elif value is None and option.metavar != SWITCH:
            faults.append(f"-{option.name}: needs a value, as in `-{option.name}={option.metavar}`")
        elif value == _DROPPED:
            faults.append(f"-{option.name}: can't be {_DROPPED}")
        elif value != "":
            flags.append(f"--{option.name}={'true' if value is None else value}")
    return flags


def _stray(word: str, position: int) -> str:
    """Given a word that is neither an option nor the value of one, and its position, return what is wrong with it.

    It is shown only if it names a file of a configuration: any other could be a password.
    """
    if word == "help":
        return "unexpected argument 'help': did you mean -help?"
    if word.endswith((".yml", ".yaml")) and os.path.isfile(word):  # noqa: PTH113  unlike Path.is_file, it never raises
        shown = quoted(word)
        return f"unexpected argument {shown}: did you mean -config={shown[1:-1]}?"
    return f"argument {position}: is neither an option nor the value of one; -help shows all options"


def _unknown(name: str, value: str | None, position: int) -> Iterator[str]:
    """Given an unknown option, its value, and the position of its word, yield what is wrong with it."""
    if _CLOUDWATCH.fullmatch(name):
        if value != "":
            yield f"-{name}: {_NO_CLOUDWATCH}"
        return
    shown = f"unknown option `-{name}`" if _SHOWABLE.fullmatch(name) else f"argument {position}: unknown option"
    near = nearest(name, BY_NAME)
    yield f"{shown}: did you mean `-{near}`?" if near else shown


def _is_value(word: str, option: Option | None) -> bool:
    """Given the word after an option without an equals sign, return whether it is that option's value.

    Only a password may begin with a dash. After an unknown option, the word must not be shown, whatever it is.
    """
    if option is not None and option.metavar == SWITCH:
        return is_boolean(word)
    if option is not None and option.name == "password":
        match = _FLAG.fullmatch(word)
        return match is None or match[1] not in BY_NAME
    return not word.startswith("-")


def _variables(env: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """Given the environment, return the variables that set options, under the options' proper names; no empty ones."""
    names = {environment_name(name): name for name in BY_NAME}
    variables: dict[str, str] = {}
    for variable, text in env.items():
        rest = variable.removeprefix(ENVIRONMENT_PREFIX)
        if rest == variable or not text or _SERVICE_LINK.fullmatch(rest):
            continue
        if _CLOUDWATCH.fullmatch(rest.lower().replace("_", "-")):
            faults.append(f"{variable}: {_NO_CLOUDWATCH}")
            continue
        if variable not in names:
            near = nearest(rest, BY_NAME)
            shown = f"unknown environment variable {quoted(variable)}"
            faults.append(f"{shown}: did you mean {environment_name(near)}?" if near else shown)
            continue
        proper = environment_name(BY_NAME[names[variable]].name)
        if text == _DROPPED:
            faults.append(f"{variable}: can't be {_DROPPED}")
        elif proper in variables:
            faults.append(f"{proper}: is given twice, under both its names")
        else:
            variables[proper] = text
    return variables


def _parser() -> configargparse.ArgumentParser:
    # Imported here: a caller that only wants the name of an option needs no parser.
    import configargparse  # noqa: PLC0415

    parser = configargparse.ArgumentParser(add_help=False, argument_default=configargparse.SUPPRESS, allow_abbrev=False)
    for option in OPTIONS:
        parser.add_argument(f"--{option.name}", dest=option.name, env_var=environment_name(option.name))
    return parser
