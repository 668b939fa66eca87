"""Each option has all its parts. What is missing is said in a sentence that names the place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from lib.options import Options, describe, parse_options
from lib.options.help import help_text
from lib.options.table import OPTIONS, SWITCH, TARGET_OPTIONS, Option
from lib.options.values import parse_password, size_within
from lib.secret import Secret
from lib.target import Target
from tests.unit import option_examples
from tests.unit.option_examples import EXAMPLES, flag_for

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs/reference/options.md").read_text(encoding="utf-8")

#: What an option needs beside it.
BESIDE = {
    "expect-digest": ("-read-only",),
    "username": ("-password=p",),
    "password": ("-username=u",),
    "password-file": ("-username=u",),
    "cold-images": ("-state-dir=/var/lib/of-no-test",),
    "renew-cold": ("-once",),
}
#: Options that only a target in a list can have: `test_options_read_only.py` has examples.
OF_A_LIST = {"replica-of"}
#: What is read while the options are, and by nobody after that.
READ_AT_ONCE = {"config"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    (folder / "password").write_text("p")
    (folder / "web.yml").write_text("http_server_config: {}")
    (folder / "config.json").write_text("{}")
    (folder / "monitor.yml").write_text("tag: latest")
    return folder


def missing(option: Option, owner: type[Target | Options], folder: Path) -> Iterator[str]:
    """Given an option, whose attribute it fills, and the folder of the examples, yield what it lacks, and where."""
    file = f"{owner.__module__.replace('.', '/')}.py"
    attribute = option.attribute
    has_attribute = attribute in {each.name for each in fields(owner)}
    if not has_attribute:
        yield f"{file}: {owner.__name__} has no attribute `{attribute}`, which `{option.name}` is to fill"
    elif not re.search(rf"^ {{8}}(\w+, )*{attribute}(, \w+)*: ", owner.__doc__ or "", re.MULTILINE):
        yield f"{file}: the docstring of {owner.__name__} does not say what `{attribute}` is"
    if not any(f".{attribute}" in path.read_text() for path in _readers()) and attribute not in READ_AT_ONCE:
        yield f"lib: nothing reads `.{attribute}`, and so `{option.name}` does nothing"
    default = "" if option.default is None else f"`{option.default}`"
    if f"\n| `{option.name}` | {default} | {option.help} |\n" not in _PAGE:
        yield f"docs/reference/options.md: has no row | `{option.name}` | {default} | {option.help} |"
    if f"\n  --{option.name} {option.metavar}".rstrip() not in help_text(80):
        yield f"lib/options/table.py: GROUPS, and so `-help`, lacks `{option.name}`"
    if option.name not in EXAMPLES:
        yield f"{Path(option_examples.__file__).relative_to(_ROOT)}: EXAMPLES has no value for `{option.name}`"
    elif has_attribute and option.name not in OF_A_LIST:
        yield from _unseen(option, owner, EXAMPLES[option.name].format(folder), folder)


def _readers() -> list[Path]:
    """Return the files that can make something of an option's value."""
    files = [_ROOT / "monitor.py", *sorted((_ROOT / "lib").rglob("*.py"))]
    return [path for path in files if path != _ROOT / "lib/target.py" and path.parent != _ROOT / "lib/options"]


def _unseen(option: Option, owner: type[Target | Options], text: str, folder: Path) -> Iterator[str]:
    """Given an option, whose attribute it fills, a value of it, and a folder, yield the places that lack the value."""
    beside = BESIDE.get(option.name, ())
    flags = [flag_for(option, text, folder), *beside, *(() if option.name == "repository" else ("-repository=q.io/r",))]
    options, plain = parse_options(flags, {}), parse_options(["-repository=q.io/r"], {})
    found, usual = (
        getattr(each.targets[0] if owner is Target else each, option.attribute) for each in (options, plain)
    )
    if found == usual and option.name != "registry-host":  # which is only compared
        yield f"lib/options/targets.py: `{option.name}` does not reach `{option.attribute}`"
    if not option.is_shown:
        return
    is_secret = option.parse_entry is None and isinstance(option.parse(text), Secret)
    shown = "<secret>" if is_secret else text
    report = describe(options)
    if not re.search(rf"^  {option.name} +{re.escape(shown)}$", report, re.MULTILINE):
        yield f"lib/options/table.py: `-check-config` does not show `{option.name}` as {shown}"
    if is_secret and text in report:
        yield f"lib/options/table.py: `-check-config` shows the secret `{option.name}`"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_all_its_parts(option, folder):
    lacks = list(missing(option, Target if option in TARGET_OPTIONS else Options, folder))
    assert not lacks, "\n".join(lacks)


def test_every_attribute_is_filled_by_an_option():
    filled = {option.attribute for option in OPTIONS}

    assert {each.name for each in fields(Target)} - filled == {"name"}, "its label, a key of the file alone"
    assert {each.name for each in fields(Options)} - filled == {"namespace", "targets"}


def test_an_option_that_is_only_a_row_lacks_the_rest(folder):
    option = Option("some-size", "SIZE", size_within(1, 9), "size of something")

    assert list(missing(option, Target, folder)) == [
        "lib/target.py: Target has no attribute `some_size`, which `some-size` is to fill",
        "lib: nothing reads `.some_size`, and so `some-size` does nothing",
        "docs/reference/options.md: has no row | `some-size` |  | size of something |",
        "lib/options/table.py: GROUPS, and so `-help`, lacks `some-size`",
        "tests/unit/option_examples.py: EXAMPLES has no value for `some-size`",
    ]


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        (
            Option("tag", "TAG", str, "tag", fills="docker_config"),
            "lib/options/targets.py: `tag` does not reach `docker_config`",
        ),
        (
            Option("registry-host", "HOST", str, "host", fills="reference"),
            "lib/options/table.py: `-check-config` does not show `registry-host` as q.io",
        ),
        (
            Option("repository", "NAME", parse_password, "name", fills="reference"),
            "lib/options/table.py: `-check-config` shows the secret `repository`",
        ),
    ],
)
def test_a_value_that_does_not_arrive_is_missed(option, fault, folder):
    assert fault in list(missing(option, Target, folder))


def test_a_switch_is_true_without_a_value():
    assert {option.name for option in OPTIONS if option.metavar == SWITCH} == {
        option.name for option in OPTIONS if EXAMPLES.get(option.name) in ("true", "false")
    }
