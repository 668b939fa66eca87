"""What the command line and the environment say, through configargparse.

Flags are read as Go reads them: one dash or two, `-flag=value` or `-flag value`, a switch without a value. argparse
would complete shortened names, print what it does not know (a mistyped `-pasword=s3cr3t`), and stop at the first
fault. So it is given `--name=value` only, and texts are made values elsewhere.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.options.help import print_help
from lib.options.layer import Layer, read_value
from lib.options.table import BY_NAME, ENVIRONMENT_PREFIX, OPTIONS, SWITCH, Option, environment_name, nearest
from lib.quantity import is_boolean
from lib.quoting import quoted

if TYPE_CHECKING:
    import configargparse

_FLAG = re.compile(r"--?([^-=][^=]*)(?:=(.*))?", re.DOTALL)
#: A name that can be shown: it has no digits, as no option has, and so is rarely somebody's password.
_SHOWABLE = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}", re.ASCII)
_HELP_FLAGS = ("h", "help")
#: A value that argparse would drop, even behind an equals sign.
_DROPPED = "--"
#: What Kubernetes puts into every container where a service is called registry-monitor, or registry-monitor-something.
_SERVICE_LINK = re.compile(
    r"(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_[A-Z]+(?:_(?:PROTO|PORT|ADDR))?)?)"
)


def read_arguments(argv: Sequence[str], env: Mapping[str, str], faults: list[str]) -> tuple[Layer, Layer]:
    """Given the command line without the program's name, and the environment, return what each of the two says.

    What is wrong with them is added to `faults`. An option that the command line gives is left out of the
    environment's. Raise SystemExit(0), after the help was printed, where that is asked for.
    """
    parser = _parser()
    namespace = parser.parse_args(_flags(argv, faults), env_vars=_variables(env, faults))
    from_environment = parser.get_source_to_settings_dict().get("environment_variables", {})
    flags: Layer = {}
    environment: Layer = {}
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

    Raise SystemExit(0), after the help was printed, where that is asked for.
    """
    flags = []
    words = deque(enumerate(argv, start=1))
    while words:
        position, word = words.popleft()
        match = _FLAG.fullmatch(word)
        if match is None:
            if word != _DROPPED or words:
                faults.append(f"argument {position}: is neither an option nor the value of one")
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
            shown = f"unknown option `-{name}`" if _SHOWABLE.fullmatch(name) else f"argument {position}: unknown option"
            near = nearest(name, BY_NAME)
            faults.append(f"{shown}: did you mean `-{near}`?" if near else shown)
        elif value is None and option.metavar != SWITCH:
            faults.append(f"-{option.name}: needs a value, as in `-{option.name}={option.metavar}`")
        elif value == _DROPPED:
            faults.append(f"-{option.name}: can't be {_DROPPED}")
        elif value != "":
            flags.append(f"--{option.name}={'true' if value is None else value}")
    return flags


def _is_value(word: str, option: Option | None) -> bool:
    """Given the word behind an option without an equals sign, return whether it is that option's value.

    No value begins with a dash, but for a password. Behind an unknown option, whatever it is must not be shown.
    """
    if option is not None and option.metavar == SWITCH:
        return is_boolean(word)
    if option is not None and option.name == "password":
        match = _FLAG.fullmatch(word)
        return match is None or match[1] not in BY_NAME
    return not word.startswith("-")


def _variables(env: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """Given the environment, return what of it sets options, under the options' proper names; nothing empty."""
    names = {environment_name(name): name for name in BY_NAME}
    variables: dict[str, str] = {}
    for variable, text in env.items():
        rest = variable.removeprefix(ENVIRONMENT_PREFIX)
        if rest == variable or not text or _SERVICE_LINK.fullmatch(rest):
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
    """Return a parser of every option in the table, which leaves out those that are not given."""
    # Imported here: one that only wants to know what an option is called needs no parser.
    import configargparse  # noqa: PLC0415

    parser = configargparse.ArgumentParser(add_help=False, argument_default=configargparse.SUPPRESS, allow_abbrev=False)
    for option in OPTIONS:
        parser.add_argument(f"--{option.name}", dest=option.name, env_var=environment_name(option.name))
    return parser
