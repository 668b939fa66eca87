"""The documents are true to the program, and each link leads somewhere."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
import yaml

from lab import reference_pages
from lib import __version__
from lib.ending import BY_SIGNAL, CantRun, NotNow
from lib.failure import Reason
from lib.once import exit_code
from lib.options.help import help_text
from lib.options.table import BY_NAME, OPTIONS, TARGET_OPTIONS
from lib.options.values import Within
from lib.watch.status import TargetStatus
from tests.unit.examples import NOON, a_failed_cycle, a_lost_image, a_standing, a_target, an_up_cycle
from tests.unit.option_examples import EXAMPLES
from tests.unit.watching import metrics_of

_ROOT = Path(__file__).resolve().parents[2]
_DOCUMENTS = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")])
_REFERENCE = _ROOT / "docs/reference"
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Its examples are of another file.
_WEB_CONFIG = "web-config.md"


def _name(path):
    return str(path.relative_to(_ROOT))


@cache
def _text(path):
    return path.read_text(encoding="utf-8")


def _without_code(path):
    return re.sub(r"^```.*?^```", "", _text(path), flags=re.MULTILINE | re.DOTALL)


@cache
def _anchors(path):
    """Return what a link into a document can name, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ +(.*)$", _without_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _first_cells(path, header):
    """Given a document, and how the head of a table begins, return what is in backticks in its first column."""
    lines = _text(path).splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith(header))
    rows = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_name)
def test_each_link_leads_somewhere(document):
    dead = []
    for link in re.findall(r"\]\((?!\w+:)([^) ]+)\)", _without_code(document)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_document_can_be_reached_from_the_readme():
    reached, to_read = set(), [_ROOT / "README.md"]
    while to_read:
        document = to_read.pop()
        if document.is_dir():
            to_read += document.glob("*.md")
        elif document.suffix == ".md" and document.exists() and document not in reached:
            reached.add(document)
            links = re.findall(r"\]\((?!\w+:)([^)# ]+)", _text(document))
            to_read += [(document.parent / link).resolve() for link in links]
    assert [_name(document) for document in _DOCUMENTS if document not in reached] == []


def test_the_readme_is_read_in_a_few_minutes():
    assert len(_text(_ROOT / "README.md").split()) <= 1500


def test_the_version_is_the_same_everywhere():
    versions = {
        _name(_ROOT / "CHANGELOG.md"): re.search(r"^## \[([\d.]+)\]", _text(_ROOT / "CHANGELOG.md"), re.MULTILINE)[1]
    }
    for file in (_ROOT / "Dockerfile", *(_ROOT / "deploy").rglob("*.y*ml")):
        for version in re.findall(r"(?:image\.version=\"|registry-monitor:)(\d[\d.]*\d)", _text(file)):
            versions[_name(file)] = version
    assert len(versions) > 4
    assert {file: version for file, version in versions.items() if version != __version__} == {}


# What is written from the program's tables, or has to agree with the program.


@pytest.mark.parametrize(
    ("file", "text"), reference_pages.written().items(), ids=lambda value: getattr(value, "name", "")
)
def test_the_reference_says_what_the_program_has(file, text):
    assert file.read_text(encoding="utf-8") == text, "run: python -m lab.reference_pages"


def test_each_table_is_on_a_page():
    pages = "".join(map(_text, _REFERENCE.glob("*.md")))
    assert [block for block in reference_pages.BLOCKS if f"<!-- {block}: written by" not in pages] == []


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if isinstance(option.parse, Within)], ids=lambda one: one.name
)
def test_the_help_of_a_quantity_has_its_bounds(option):
    assert option.parse.bounds in option.help


def test_each_metric_that_the_program_names_is_exported():
    named = {
        name
        for file in (_ROOT / "lib/metrics").glob("*.py")
        for name in re.findall(r'"(registry_monitor_\w+)"', file.read_text(encoding="utf-8"))
    }
    metrics = metrics_of(a_target("lab"))
    lacking = named - {family.name for family in metrics.registry.collect()}
    assert named
    assert not lacking, f"lib/metrics names what /metrics does not have: {sorted(lacking)}"


def test_the_exit_codes_are_those_of_the_program():
    up, down = an_up_cycle(), a_failed_cycle()
    codes = {
        exit_code([up]),
        exit_code([up, down]),
        CantRun.exit_code,
        exit_code([a_failed_cycle(Reason.WARM)]),
        NotNow.exit_code,
    }
    rows = re.findall(r"^\| (\d+)(?: \+ n)? \|", _text(_REFERENCE / "once.md"), re.MULTILINE)
    assert [int(code) for code in rows] == [*sorted(codes), BY_SIGNAL]
    for text in (help_text(100), _text(_ROOT / "README.md")):
        (listed,) = re.findall(r"Exit codes: (.*?4 it can't run here now)", text, re.DOTALL)
        assert [int(code) for code in re.findall(r"\b(\d)\s", listed)] == sorted(codes)


def test_http_has_the_paths_that_it_lists():
    constants = {
        node.value
        for node in ast.walk(ast.parse(_text(_ROOT / "lib/web/app.py")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    served = {text for text in constants if re.fullmatch(r"/[a-z/-]*", text)}
    assert set(_first_cells(_REFERENCE / "http.md", "| path | answer |")) == served
    assert set(_first_cells(_ROOT / "README.md", "| path | answer |")) <= served


def test_each_key_of_the_json_is_listed():
    status = TargetStatus(a_target(expect_private=True), a_standing(an_up_cycle(), 1.0, NOON)).to_dict(NOON)
    cycle = status["last_cycle"]
    http = _REFERENCE / "http.md"
    first, second = (section for section in _text(http).split("| key | value |")[1:])
    for section, shape in ((first, status), (second, cycle)):
        cells = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
        assert set(re.findall(r"`([^`]+)`", " ".join(cells))) == set(shape)
    assert {key for key in cycle["steps"][0] if f"`{key}`" not in second} == set()
    assert {key for key in a_lost_image().to_dict() if f"`{key}`" not in first} == set()


# The schema of the configuration file.


def _schema_faults(config):
    schema = json.loads(_text(reference_pages.SCHEMA))
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(config)]


def _configurations():
    """Yield every configuration that the documents and deploy/ show, with its name."""
    for document in _DOCUMENTS:
        for number, text in enumerate(_YAML.findall(_text(document)) if document.name != _WEB_CONFIG else ()):
            if (config := yaml.safe_load(text)) is not None:
                yield pytest.param(config, id=f"{_name(document)}-{number}")
    for file in sorted((_ROOT / "deploy").glob("*/config.yml")):
        yield pytest.param(yaml.safe_load(_text(file)), id=_name(file))
    for manifest in yaml.safe_load_all(_text(_ROOT / "deploy/kubernetes/common.yaml")):
        if manifest["kind"] == "ConfigMap":
            yield pytest.param(yaml.safe_load(manifest["data"]["config.yml"]), id="deploy/kubernetes")


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(json.loads(_text(reference_pages.SCHEMA)))


@pytest.mark.parametrize("config", list(_configurations()))
def test_the_schema_takes_the_configurations_that_are_shown(config):
    assert _schema_faults(config) == []


@pytest.mark.parametrize("name", [name for name, option in BY_NAME.items() if option.in_file])
def test_the_schema_takes_what_an_option_takes_and_no_list(name):
    option = BY_NAME[name]
    text = EXAMPLES[option.name]
    if option.parse_entry is not None:
        value = dict([text.split("=")])
    else:
        value = text if option.metavar in {"FILE", "FOLDER", "ADDRESS"} else yaml.safe_load(text)
    assert _schema_faults({name: value}) == []
    assert bool(_schema_faults({"targets": [{name: value}]})) is (option not in TARGET_OPTIONS)
    assert _schema_faults({name: [value]})


@pytest.mark.parametrize(
    "text",
    [
        "target: []",
        "targets: []",
        "targets: [{repositry: quay.io/a/b}]",
        "targets: [{repository: quay.io/a/b, listen: ':8000'}]",
        "name: quay",
        "config: other.yml",
        "run-test-every: 90",
        "run-test-every: 1 day",
        "payload-size: 1 megabyte!",
        "payload-layers: 101",
        "builder: kaniko",
        "read-only: maybe",
    ],
)
def test_the_schema_refuses_what_the_program_refuses(text):
    assert _schema_faults(yaml.safe_load(text))
