"""Read-only targets and replicas: what can be set for one, and what contradicts that."""

from __future__ import annotations

import pytest

from lib.options import OptionsError, describe, parse_options
from lib.options.table import TARGET_OPTIONS
from tests.unit.option_examples import EXAMPLES, flag_for

ONE = ("-repository=quay.io/acme/canary",)
FILE = """
payload-size: 3KiB
overwrite: true
replica-within: 5m
targets:
  - {name: quay, repository: quay.io/acme/canary}
  - {name: mirror, repository: mirror.example/acme/canary, read-only: true, replica-of: quay}
  - {name: debian, repository: mirror.example/library/debian, read-only: true, overwrite: false}
"""


@pytest.fixture
def read(tmp_path):
    """Given a file's text, return its targets by name."""

    def read(text, *flags):
        path = tmp_path / "monitor.yml"
        path.write_text(text)
        options = parse_options([f"-config={path}", *flags], {})
        return {target.name: target for target in options.targets}

    return read


def faults_of(call, *arguments):
    with pytest.raises(OptionsError) as raised:
        call(*arguments)
    return [fault.rpartition("monitor.yml:")[2] for fault in raised.value.faults]


def test_defaults_for_all_that_push_are_not_about_what_only_pulls(read):
    targets = read(FILE)
    mirror, debian = targets["mirror"], targets["debian"]
    assert (mirror.read_only, mirror.replica_of, mirror.replica_within, mirror.overwrite) == (True, "quay", 300, False)
    assert (debian.read_only, debian.replica_of, debian.pushed_bytes) == (True, None, 0)
    assert (targets["quay"].read_only, targets["quay"].pushed_bytes, targets["quay"].overwrite) == (False, 3072, True)


def test_the_report_shows_no_payload_of_what_only_pulls():
    report = describe(parse_options([*ONE, "-read-only"], {}))
    assert "read-only" in report
    assert not [option.name for option in TARGET_OPTIONS if option.pushes and f"  {option.name} " in report]


@pytest.mark.parametrize("option", [option for option in TARGET_OPTIONS if option.pushes], ids=lambda one: one.name)
def test_what_is_about_pushes_contradicts_read_only(option, tmp_path):
    fault = f"{option.name}: excludes read-only: such a target builds and pushes nothing"
    flags = [*ONE, "-read-only", flag_for(option, EXAMPLES[option.name], tmp_path)]
    assert any(fault in each for each in faults_of(parse_options, flags, {}))


@pytest.mark.parametrize(("name", "value"), [("expect-digest", EXAMPLES["expect-digest"]), ("replica-of", "quay")])
def test_what_is_about_pulls_alone_needs_read_only(name, value):
    (fault,) = (
        each for each in faults_of(parse_options, [*ONE, f"-{name}={value}"], {}) if "needs read-only beside it" in each
    )
    assert name in fault


def test_a_replica_has_no_digest_of_its_own():
    flags = [*ONE, "-read-only", "-replica-of=quay", f"-expect-digest={EXAMPLES['expect-digest']}"]
    assert any("excludes expect-digest: give one of the two" in fault for fault in faults_of(parse_options, flags, {}))


@pytest.mark.parametrize("digest", ["sha256:abc", "latest", "-x"])
def test_a_digest_is_a_whole_one(digest):
    assert any("expect-digest" in fault for fault in faults_of(parse_options, [*ONE, f"-expect-digest={digest}"], {}))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("quai", "there is no target 'quai': did you mean quay?"),
        ("elsewhere", "there is no target 'elsewhere': it has to be the name of a target that pushes"),
        ("mirror", "'mirror' is this target itself: name the target that pushes what this one shows"),
        ("debian", "'debian' is read-only, too: name the target that pushes what this one shows"),
    ],
)
def test_the_source_is_a_target_that_pushes(read, source, words):
    text = FILE.replace("replica-of: quay", f"replica-of: {source}")
    assert faults_of(read, text) == [f"7: targets[1] (mirror): replica-of: {words}"]


def test_a_source_can_be_named_by_its_repository_and_stand_anywhere(read):
    lines = FILE.replace("name: quay, ", "").replace("replica-of: quay", "replica-of: quay.io/acme/canary").splitlines()
    assert read("\n".join([*lines[:5], *lines[6:], lines[5]]))["mirror"].replica_of == "quay.io/acme/canary"


def test_a_source_with_a_fault_of_its_own_is_there_all_the_same(read):
    (fault,) = faults_of(read, FILE.replace("acme/canary}", "acme/canary, step-timeout: never}", 1))
    assert "step-timeout" in fault


def test_one_target_alone_has_no_source():
    (fault,) = faults_of(parse_options, [*ONE, "-read-only", "-replica-of=quay"], {})
    assert "there is no target 'quay'" in fault
