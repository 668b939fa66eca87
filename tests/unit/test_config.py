"""The file: one bad one for each rule with the exact message, what is read from good ones, and others."""

# ruff: noqa: E501  the messages stand whole

from pathlib import Path

import pytest
import yaml

from lib.options import OptionsError, parse_options
from lib.secret import Secret
from lib.strict_yaml import LARGEST_FILE_BYTES, read_yaml

TESTDATA = Path(__file__).parent / "testdata"

#: Every fault of each file, by the file's name.
FAULTS = {
    "alias": [
        "alias.yml:2: username: has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes",
        "alias.yml:3: password: has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes",
    ],
    "bad_values": [
        "bad_values.yml:1: repository: 'quay.io/Acme/canary' has upper case: a repository's name is lower case",
        "bad_values.yml:2: tag: '-x' is not a tag: at most 128 of the characters A-Z a-z 0-9 _ . -, the first of them neither . nor -",
        "bad_values.yml:3: registry-host: 'https://quay.io' has a scheme: leave out everything up to ://",
        "bad_values.yml:4: username: '-robot' is not a username: no dash at its beginning, no colon in it",
        "bad_values.yml:5: base-image: the tag is missing",
        "bad_values.yml:6: public-base: 'yes' is neither true nor false",
        "bad_values.yml:7: base-layer-id: 'latest' is not an image ID: write 7 to 64 of the digits 0-9 a-f, or sha256: and 64 of them",
        "bad_values.yml:8: overwrite: '2' is neither true nor false",
        "bad_values.yml:9: payload-size: '5GiB' is out of bounds: 1B to 4GiB",
        "bad_values.yml:10: payload-layers: '101' is out of bounds: 1 to 100",
        "bad_values.yml:11: builder: 'kaniko' is not one of auto, classic, buildkit",
        "bad_values.yml:12: run-test-every: '2' is not a duration: write a number with its unit, such as 90s or 1h30m",
        "bad_values.yml:13: retry-every: '-1s' is not a duration: write a number with its unit, such as 90s or 1h30m",
        "bad_values.yml:14: step-timeout: '0s' is out of bounds: 100ms to 1h",
        "bad_values.yml:15: cycle-timeout: '2h' is out of bounds: 100ms to 1h",
        "bad_values.yml:16: propagation-timeout: '1d' is not a duration: write a number with its unit, such as 90s or 1h30m",
        "bad_values.yml:17: expect-private: 'on' is neither true nor false",
        "bad_values.yml:18: expect-private-every: '8760h' is out of bounds: 100ms to 168h",
        "bad_values.yml:19: listen: '8000' is not an address: write :8000, 127.0.0.1:8000 or [::1]:8000, with a port from 0 to 65535",
        "bad_values.yml:20: loglevel: 'verbose' is not one of debug, info, warn, error, fatal, panic",
        "bad_values.yml:21: log-format: 'xml' is not one of text, json",
        "bad_values.yml:22: concurrency: '0' is out of bounds: 1 to 1000",
        "bad_values.yml:23: docker: '-v' is not a program: it begins with a dash",
        "bad_values.yml:24: output: 'yaml' is not one of text, json",
        "bad_values.yml:4: username: needs password or password-file beside it",
        "bad_values.yml:7: base-layer-id: excludes base-image: give one of the two",
        "bad_values.yml:26: web-config: missing is not a file",
        "bad_values.yml:25: state-dir: good_flat.yml is not a folder",
    ],
    "bad_labels": [
        "bad_labels.yml:4: targets[0]: image-labels: 'Registry-Monitor.target' can't be set: monitors know their images by the labels registry-monitor.*",
        "bad_labels.yml:5: targets[0]: image-labels: '-a' is not a label's name: up to 128 of A-Z a-z 0-9 . _ / -, a letter or digit at both ends",
        "bad_labels.yml:6: targets[0]: image-labels: 'x\\n...' has a line end or another character that doesn't print",
        "bad_labels.yml:7: targets[0]: image-labels: has no value: give one, or leave the key out",
        "bad_labels.yml:8: targets[0]: image-labels: has a list or a mapping, but needs one value",
        "bad_labels.yml:10: targets[0]: image-labels: 'd' is given twice",
        "bad_labels.yml:11: targets[0]: image-labels: 'e' has a value of more than 128 characters",
        "bad_labels.yml:12: targets[0]: image-labels: has a value of more than one line: is a quotation mark missing?",
        "bad_labels.yml:14: targets[1]: image-labels: is not a mapping of keys to values",
    ],
    "broken_yaml": [
        "broken_yaml.yml:3: is not valid YAML: found unexpected end of stream",
    ],
    "comment_only": [
        "comment_only.yml:1: is empty",
    ],
    "config_in_file": [
        "config_in_file.yml:2: config: can't be given in a file",
        "config_in_file.yml:3: version: can't be given in a file",
    ],
    "control_character": [
        "control_character.yml:2: is not valid YAML: it has characters that don't print",
    ],
    "duplicate_alias": [
        "duplicate_alias.yml:3: base-image-id: is given twice, under both its names",
    ],
    "duplicate_key": [
        "duplicate_key.yml:3: tag: is given twice: first in line 2",
    ],
    "empty": [
        "empty.yml:1: is empty",
    ],
    "layers_over_size": [
        "layers_over_size.yml:3: payload-layers: 3 layers can't be made of 2 bytes: one at least for each",
    ],
    "login_and_docker_config": [
        "login_and_docker_config.yml:2: username: excludes docker-config: give one of the two",
        "login_and_docker_config.yml:3: docker-config: config.json can't be read: No such file or directory",
    ],
    "name_outside_targets": [
        "name_outside_targets.yml:1: name: is a target's: put it under `targets`",
    ],
    "nested_value": [
        "nested_value.yml:2: tag: has a list or a mapping, but needs one value",
        "nested_value.yml:4: password-file: has a list or a mapping, but needs one value",
        "nested_value.yml:3: password-file: needs username beside it",
    ],
    "no_credentials_directory": [
        "no_credentials_directory.yml:3: password-file: CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential=",
    ],
    "no_docker_config": [
        "no_docker_config.yml:2: docker-config: missing is not a folder",
    ],
    "no_mapping": [
        "no_mapping.yml:1: is not a mapping of keys to values",
    ],
    "no_password_file": [
        "no_password_file.yml:3: password-file: missing can't be read: No such file or directory",
    ],
    "no_repository": [
        "repository: is required: the repository's full name, as in quay.io/some/repository",
    ],
    "missing_quote": [
        "missing_quote.yml:2: username: has a value of more than one line: is a quotation mark missing?",
        "missing_quote.yml:4: is not valid YAML: did not find expected key",
    ],
    "missing_quote_in_line": [
        "missing_quote_in_line.yml:2: targets[0]: repository: is required: the repository's full name, as in quay.io/some/repository",
        "missing_quote_in_line.yml:3: targets[1] (hub): repository: 'docker.io/r, ...' has a space, a line end or another character that no name may have",
    ],
    "no_value": [
        "no_value.yml:2: tag: has no value: give one, or leave the key out",
        "no_value.yml:3: base-image: has no value: give one, or leave the key out",
    ],
    "not_utf8": [
        "not_utf8.yml:2: is not UTF-8 text",
    ],
    "other_host": [
        "other_host.yml:2: registry-host: quay.io is not the repository's host: docker.io/acme/canary is on docker.io",
    ],
    "password_alone": [
        "password_alone.yml:2: password: needs username beside it",
    ],
    "password_with_newline": [
        "password_with_newline.yml:3: password: ends with a line end: leave that out, or put the password into a `password-file`",
    ],
    "python_object": [
        "python_object.yml:1: repository: has a list or a mapping, but needs one value",
    ],
    "repository_with_dash": [
        "repository_with_dash.yml:1: repository: '--privileged' begins with a dash",
    ],
    "repository_with_newline": [
        "repository_with_newline.yml:1: repository: 'quay.io/acme/canary\\n' has a space, a line end or another character that no name may have",
    ],
    "repository_with_tag": [
        "repository_with_tag.yml:1: repository: 'quay.io/acme/canary:latest' has a tag: put the tag into `tag`",
    ],
    "same_name": [
        "same_name.yml:4: targets[1] (quay): has the same name as targets[0]",
    ],
    "same_repository": [
        "same_repository.yml:4: targets[1] (two): has the same repository and tag as targets[0]",
    ],
    "tagged": [
        "tagged.yml:3: password: has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes",
    ],
    "target_bad_name": [
        "target_bad_name.yml:2: targets[0]: name: 'two\\n...' has a line end or another character that doesn't print",
    ],
    "target_half_login": [
        "target_half_login.yml:6: targets[0] (quay): username: needs password or password-file beside it",
    ],
    "target_no_mapping": [
        "target_no_mapping.yml:2: targets[0]: is not a mapping of keys to values",
    ],
    "target_no_repository": [
        "target_no_repository.yml:2: targets[0] (quay): repository: is required: the repository's full name, as in quay.io/some/repository",
    ],
    "target_process_option": [
        "target_process_option.yml:4: targets[0] (quay): listen: is for the whole monitor: put it above `targets`",
    ],
    "target_two_faults": [
        "target_two_faults.yml:1: payload-layers: 'many' is not a whole number",
        "target_two_faults.yml:5: targets[0] (quay): tag: 'a ...' is not a tag: at most 128 of the characters A-Z a-z 0-9 _ . -, the first of them neither . nor -",
        "target_two_faults.yml:8: targets[1] (hub): run-test-every: '50ms' is out of bounds: 100ms to 24h",
    ],
    "target_unknown_key": [
        "target_unknown_key.yml:4: targets[0] (quay): run-tests-every: unknown option: did you mean `run-test-every`?",
    ],
    "targets_empty": [
        "targets_empty.yml:1: targets: has no target in it",
    ],
    "targets_no_list": [
        "targets_no_list.yml:2: targets: is not a list: each target begins with a dash",
    ],
    "targets_twice": [
        "targets_twice.yml:3: targets: is given twice: first in line 1",
    ],
    "text_only": [
        "text_only.yml:1: is not a mapping of keys to values",
    ],
    "two_bases": [
        "two_bases.yml:3: base-layer-id: excludes base-image: give one of the two",
    ],
    "two_documents": [
        "two_documents.yml:2: begins a second document: only one is read",
    ],
    "two_passwords": [
        "two_passwords.yml:4: password-file: excludes password: give one of the two",
        "two_passwords.yml:4: password-file: password can't be read: No such file or directory",
    ],
    "undefined_tag_handle": [
        "undefined_tag_handle.yml:2: is not valid YAML: found undefined tag handle",
    ],
    "underscores": [
        "underscores.yml:2: run_test_every: unknown option: did you mean `run-test-every`?",
    ],
    "unknown_key": [
        "unknown_key.yml:3: pasword: unknown option: did you mean `password`?",
        "unknown_key.yml:2: username: needs password or password-file beside it",
    ],
    "unshowable_key": [
        "unshowable_key.yml:2: is not a `key: value` with the name of an option",
        "unshowable_key.yml:3: is not a `key: value` with the name of an option",
    ],
    "username_alone": [
        "username_alone.yml:2: username: needs password or password-file beside it",
    ],
}


@pytest.fixture
def in_testdata(monkeypatch):
    monkeypatch.chdir(TESTDATA)


def faults_of(*argv, env=None):
    with pytest.raises(OptionsError) as raised:
        parse_options(argv, env or {})
    return list(raised.value.faults)


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_file_is_refused_with_all_its_faults(in_testdata, name):
    assert faults_of(f"-config={name}.yml") == FAULTS[name]


def test_every_file_has_its_test():
    good = {"good_flat", "good_targets"}

    assert {path.stem for path in TESTDATA.iterdir()} == FAULTS.keys() | good


def test_no_fault_shows_what_is_planted_as_a_secret():
    assert "hunter2" not in str(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_without_libyaml_the_same_files_are_refused_and_no_secret_is_shown(in_testdata, monkeypatch, name):
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)

    faults = faults_of(f"-config={name}.yml")

    assert len(faults) == len(FAULTS[name])
    assert "hunter2" not in str(faults)


def test_values_are_the_texts_that_were_written(in_testdata):
    (target,) = parse_options(["-config=good_flat.yml"], {}).targets

    assert str(target.reference) == "quay.io/acme/canary:1.10"
    assert target.credentials.password == Secret("0123")
    assert target.payload_bytes == 256 * 1024
    assert target.overwrite is True
    assert target.base_layer_id == "4f83eba78c"


def test_what_stands_above_targets_counts_for_all_that_do_not_say_otherwise(in_testdata):
    options = parse_options(["-config=good_targets.yml"], {})

    quay, hub = options.targets
    assert options.concurrency == 2
    assert (quay.name, quay.run_every, quay.payload_bytes) == ("quay", 60, 2 * 1024**2)
    assert (hub.name, hub.run_every, hub.payload_bytes) == ("docker.io/acme/canary", 600, 256 * 1024)
    assert (quay.credentials.username, quay.credentials.password) == ("acme+robot", Secret("yes"))
    assert (hub.credentials.username, hub.credentials.password) == ("everybody", Secret("everybodys"))


def test_labels_are_a_targets_own_or_everybodys_and_can_be_taken_away(tmp_path):
    file = tmp_path / "monitor.yml"
    file.write_text(
        "image-labels: {quay.expires-after: 2d, team: 'ops \"x\" $HOME'}\ntargets:\n"
        "- {repository: q.io/a}\n- {repository: q.io/b, image-labels: {team: dev}}\n- {repository: q.io/c, image-labels: {}}\n"
    )
    everybodys, own, none = parse_options([f"-config={file}"], {}).targets
    assert everybodys.image_labels == (("quay.expires-after", "2d"), ("team", 'ops "x" $HOME'))
    assert own.image_labels == (("team", "dev"),)
    assert none.image_labels == ()


def test_labels_are_few_enough_for_one_line_of_a_dockerfile(tmp_path):
    file = tmp_path / "monitor.yml"
    for count, faults in ((32, None), (33, [f"{file}:3: image-labels: has more than 32 labels"])):
        labels = "".join(f"\n  {'l' * 125}{number}: {'ü' * 128}" for number in range(100, 100 + count))
        file.write_text(f"repository: q.io/r\nimage-labels: {labels}\n")
        if faults is None:
            (target,) = parse_options([f"-config={file}"], {}).targets
            assert sum(len(word.encode()) for label in target.image_labels for word in label) < 32 * 1024
        else:
            assert faults_of(f"-config={file}") == faults


def test_files_that_cannot_be_read(tmp_path):
    large = tmp_path / "large.yml"
    large.write_text("#" * (LARGEST_FILE_BYTES + 1))
    loop = tmp_path / "loop.yml"
    loop.symlink_to(loop)

    assert faults_of(f"-config={tmp_path}") == [f"{tmp_path}: can't be read: Is a directory"]
    assert faults_of(f"-config={large}") == [f"{large}: is longer than 1048576 bytes"]
    assert faults_of(f"-config={loop}") == [f"{loop}: can't be read: Too many levels of symbolic links"]
    assert faults_of("-config=/missing.yml") == ["/missing.yml: can't be read: No such file or directory"]
    assert faults_of("-config=/" + "a" * 5000)[0].endswith("can't be read: File name too long")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "monitor.yml"
    path.write_bytes("\ufeffrepository: quay.io/acme/canary\r\ntag: x\r\n".encode())

    assert str(parse_options([f"-config={path}"], {}).targets[0].reference) == "quay.io/acme/canary:x"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_without_end_does_no_harm(tmp_path, opening):
    path = tmp_path / "deep.yml"
    path.write_text("tag:\n  " + opening * 100_000)

    assert faults_of(f"-config={path}")[-1] == f"{path}:2: is not valid YAML: more than 10 levels are nested"


def test_a_bomb_of_aliases_does_no_harm(tmp_path):
    path = tmp_path / "bomb.yml"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    path.write_text("\n".join(lines))

    assert len(faults_of(f"-config={path}")) == 10  # nine options that are not known, and no repository


def test_what_was_read_is_shown_without_its_values(in_testdata):
    assert "0123" not in repr(read_yaml(Path("good_flat.yml"), print))
