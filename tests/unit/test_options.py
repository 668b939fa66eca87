"""Options from command line, environment and file: the original's ways, precedence, targets, faults, and no secrets."""

import shlex
import subprocess
import sys
from dataclasses import FrozenInstanceError
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lib.options import OptionsError, changed, describe, parse_options
from lib.options.table import BY_NAME, OPTIONS, TARGET_OPTIONS, environment_name
from lib.options.values import LogLevel
from lib.secret import PasswordFile, Secret
from lib.target import Anonymous, Builder, Credentials, Target

PLANTED = "hunter2-Zq9"
NO_VARIABLE = (
    "names a variable, and variables are not expanded: set REGISTRY_MONITOR_PASSWORD, or give a `password-file`"
)
REPOSITORY = "-repository=quay.io/acme/canary"


def target_of(*argv, env=None):
    (target,) = parse_options(argv, env or {}).targets
    return target


def faults_of(*argv, env=None):
    with pytest.raises(OptionsError) as raised:
        parse_options(argv, env or {})
    assert str(raised.value) == "\n".join(raised.value.faults)
    return list(raised.value.faults)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "monitor.yml"
        path.write_text(text)
        return path

    return write


# The original's command lines and environment.

ORIGINAL = {
    "username": "me+robot",
    "password": "token",
    "registry-host": "quay.io",
    "repository": "quay.io/me/repo",
    "base-layer-id": "4f83eba78c",
    "run-test-every": "2m",
    "listen": ":8000",
    "loglevel": "info",
}


def as_original(options):
    (target,) = options.targets
    assert (options.listen, options.loglevel) == (("", 8000), LogLevel.INFO)
    assert (target.name, str(target.reference)) == ("quay.io/me/repo", "quay.io/me/repo:latest")
    assert target.credentials == Credentials("me+robot", Secret("token"))
    assert (target.base_layer_id, target.run_every, target.public_base) == ("4f83eba78c", 120, False)
    return True


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_the_originals_command_line(dashes):
    joined = [f"{dashes}{name}={value}" for name, value in ORIGINAL.items()]
    apart = [word for name, value in ORIGINAL.items() for word in (f"{dashes}{name}", value)]

    assert as_original(parse_options(joined, {}))
    assert as_original(parse_options(apart, {}))
    assert as_original(parse_options([word.replace("base-layer-id", "base-image-id") for word in joined], {}))


def test_the_originals_environment():
    env = {f"REGISTRY_MONITOR_{name.upper().replace('-', '_')}": value for name, value in ORIGINAL.items()}
    alias = {name.replace("BASE_LAYER_ID", "BASE_IMAGE_ID"): value for name, value in env.items()}

    assert as_original(parse_options([], env))
    assert as_original(parse_options([], alias | {"UNDER_DOCKER": "true", "REGISTRY_MONITOR_BASE_IMAGE": ""}))


def test_the_originals_base_image():
    target = target_of(REPOSITORY, "-base-image=quay.io/acme/base", "-public-base")

    assert (str(target.base_image), target.public_base) == ("quay.io/acme/base:latest", True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        (["-public-base"], True),
        (["--public-base"], True),
        (["-public-base=true"], True),
        (["-public-base=T"], True),
        (["-public-base=0"], False),
        (["-public-base", "false"], False),
        (["-public-base", "-overwrite"], True),
        (["-public-base=", "-overwrite"], False),
        (["-public-base", "-public-base=false"], False),
    ],
)
def test_switches(words, expected):
    assert target_of(REPOSITORY, *words).public_base is expected


def test_defaults_are_the_contracts():
    options = parse_options([REPOSITORY], {})

    assert options.targets == (Target("quay.io/acme/canary", target_of(REPOSITORY).reference),)
    assert options.targets[0].builder is Builder.AUTO
    assert (options.concurrency, options.docker, options.namespace) == (4, "docker", "")
    assert (options.state_dir, options.web_config, options.config) == (None, None, None)
    assert (str(options.log_format), str(options.output)) == ("text", "text")
    assert not any((options.once, options.check_config, options.version))
    with pytest.raises(FrozenInstanceError):
        options.docker = "podman"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8000", "", 8000),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:65535", "::1", 65535),
        ("localhost:80", "localhost", 80),
    ],
)
def test_listen(text, host, port):
    options = parse_options([REPOSITORY, f"-listen={text}"], {})

    assert options.listen == (host, port)


@pytest.mark.parametrize("text", ["8000", ":65536", ":", "::1:80", "host:80/x", "[::1]", ":80\n", ":\uff18\uff10"])
def test_what_is_no_address(text):
    (fault,) = faults_of(REPOSITORY, f"-listen={text}")

    assert fault.startswith("-listen: ")
    assert fault.endswith("is not an address: write :8000, 127.0.0.1:8000 or [::1]:8000, with a port from 0 to 65535")


def test_log_levels_are_taken_as_the_original_takes_them():
    assert parse_options([REPOSITORY, "-loglevel=WARNING"], {}).loglevel is LogLevel.WARN


# Sources.


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(file):
    flag, env = "-tag=flag", {"REGISTRY_MONITOR_TAG": "env"}
    path = file("repository: quay.io/acme/canary\ntag: file")
    config = f"-config={path}"

    assert target_of(flag, config, env=env).reference.tag == "flag"
    assert target_of(config, env=env).reference.tag == "env"
    assert target_of(env={"REGISTRY_MONITOR_CONFIG": str(path)}).reference.tag == "file"
    assert target_of(REPOSITORY).reference.tag == "latest"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_a_flag_a_variable_and_a_key(option, file):
    bad = "\u0007"
    flag, variable = f"-{option.name}={bad}", {environment_name(option.name): bad}
    key = file(f'{option.name}: "\\u0007"')

    # Each complains of the value, and so has taken it.
    assert any(fault.startswith(f"-{option.name}: ") for fault in faults_of(flag)) or option.name == "password"
    assert any(fault.startswith(f"{environment_name(option.name)}: ") for fault in faults_of(env=variable))
    assert any(fault.startswith(f"{key}:1: {option.name}: ") for fault in faults_of(f"-config={key}"))


def test_an_empty_value_counts_as_none():
    target = target_of(REPOSITORY, "-base-image=", "-tag", "", env={"REGISTRY_MONITOR_USERNAME": ""})

    assert (target.base_image, target.reference.tag, target.credentials) == (None, "latest", None)


def test_alternatives_are_chosen_by_the_source_with_precedence(file, tmp_path):
    (tmp_path / "password").write_text("from a file\n")
    (tmp_path / "config.json").write_text("{}")
    config = file(f"repository: a.b/c\nusername: u\npassword-file: {tmp_path}/password\nbase-image: alpine")

    assert target_of(f"-config={config}").credentials == Credentials("u", PasswordFile(tmp_path / "password"))
    by_flag = target_of(f"-config={config}", "-password=p", "-base-layer-id=4f83eba78c")
    assert by_flag.credentials == Credentials("u", Secret("p"))
    assert (by_flag.base_image, by_flag.base_layer_id) == (None, "4f83eba78c")
    by_folder = target_of(f"-config={config}", env={"REGISTRY_MONITOR_DOCKER_CONFIG": str(tmp_path)})
    assert (by_folder.credentials, by_folder.docker_config) == (None, tmp_path)


def test_short_names_are_the_hubs():
    assert str(target_of("-repository=acme/canary").reference) == "docker.io/acme/canary:latest"
    assert target_of("-repository=acme/canary", "-registry-host=index.docker.io").registry == "docker.io"
    assert target_of("-repository=Quay.io/a/b", "-registry-host=quay.io").registry == "Quay.io"


@pytest.mark.parametrize("written", ["$CREDENTIALS_DIRECTORY/quay", "${CREDENTIALS_DIRECTORY}/quay"])
def test_a_password_file_can_be_systemds(tmp_path, written):
    (tmp_path / "quay").write_text("p\n")
    argv = (REPOSITORY, "-username=u", f"-password-file={written}")

    target = target_of(*argv, env={"CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": "/x"})

    assert target.credentials == Credentials("u", PasswordFile(tmp_path / "quay", written))
    assert str(target.credentials.password) == written
    assert target.credentials.read_password() == Secret("p")


def test_no_other_variable_is_expanded(tmp_path):
    (fault,) = faults_of(REPOSITORY, "-username=u", "-password-file=$HOME/x", env={"HOME": str(tmp_path)})

    assert fault == "-password-file: $HOME/x can't be read: No such file or directory"


def test_the_state_folder_is_systemds_first_where_none_is_given():
    env = {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}

    assert parse_options([REPOSITORY], env).state_dir == Path("/var/lib/one")
    assert parse_options([REPOSITORY, "-state-dir=/srv"], env).state_dir == Path("/srv")


def test_the_namespace_of_the_metrics():
    assert parse_options([REPOSITORY], {"PROMETHEUS_NAMESPACE": "quay_io"}).namespace == "quay_io"


@pytest.mark.parametrize("namespace", ["a-b", "1a", "a b", "ä"])
def test_a_namespace_that_can_begin_no_name_is_refused(namespace):
    (fault,) = faults_of(REPOSITORY, env={"PROMETHEUS_NAMESPACE": namespace})
    assert fault.startswith("PROMETHEUS_NAMESPACE: can't begin a metric's name")


# Faults.


@pytest.mark.parametrize(
    ("argv", "faults"),
    [
        (["-pasword=" + PLANTED], ["unknown option `-pasword`: did you mean `-password`?"]),
        (["--pasword", PLANTED], ["unknown option `-pasword`: did you mean `-password`?"]),
        (["-run_test_every=1m"], ["unknown option `-run_test_every`: did you mean `-run-test-every`?"]),
        (["-usern=x"], ["unknown option `-usern`: did you mean `-username`?"]),
        (["-xyzzy"], ["unknown option `-xyzzy`"]),
        (["-p" + PLANTED], ["argument 2: unknown option"]),
        ([PLANTED], ["argument 2: is neither an option nor the value of one; -help shows all options"]),
        (["-once", PLANTED], ["argument 3: is neither an option nor the value of one; -help shows all options"]),
        (["-"], ["argument 2: is neither an option nor the value of one; -help shows all options"]),
        (["---tag=x"], ["argument 2: is neither an option nor the value of one; -help shows all options"]),
        (["--", "-tag=x"], ["argument 2: is neither an option nor the value of one; -help shows all options"]),
        (["help"], ["unexpected argument 'help': did you mean -help?"]),
        (["nowhere.yml"], ["argument 2: is neither an option nor the value of one; -help shows all options"]),
        (["-interval=1m"], ["unknown option `-interval`: did you mean `-run-test-every`?"]),
        (["-repo=" + PLANTED], ["unknown option `-repo`: did you mean `-repository`?"]),
        (["-username=u", "-password=${QUAY_PASSWORD}"], [f"-password: {NO_VARIABLE}"]),
        (["-username=u", "-password=$QUAY"], [f"-password: {NO_VARIABLE}"]),
        (["-tag"], ["-tag: needs a value, as in `-tag=TAG`"]),
        (["-tag", "-password=" + PLANTED, "-username=u"], ["-tag: needs a value, as in `-tag=TAG`"]),
        (["-tag=--"], ["-tag: can't be --"]),
        (["-docker=--"], ["-docker: can't be --"]),
        (["-once=maybe"], ["-once: 'maybe' is neither true nor false"]),
        (["-targets=x"], ["unknown option `-targets`: did you mean `-tag`?"]),
    ],
)  # fmt: skip
def test_a_bad_command_line_is_refused_and_nothing_secret_shown(argv, faults):
    assert faults_of(REPOSITORY, *argv) == faults


def test_a_password_may_begin_with_a_dash():
    assert target_of(REPOSITORY, "-username=u", "-password", "-x=y").credentials.password == Secret("-x=y")


def test_an_end_of_options_with_nothing_behind_it_is_let_through():
    assert target_of(REPOSITORY, "--")


def test_a_bad_environment_is_refused():
    env = {
        "REGISTRY_MONITOR_PASWORD": PLANTED,
        "REGISTRY_MONITOR_XYZZY": PLANTED,
        "REGISTRY_MONITOR_BASE_LAYER_ID": "4f83eba78c",
        "REGISTRY_MONITOR_BASE_IMAGE_ID": "4f83eba78c",
        "REGISTRY_MONITOR_DOCKER": "--",
    }

    assert faults_of(REPOSITORY, env=env) == [
        "unknown environment variable 'REGISTRY_MONITOR_PASWORD': did you mean REGISTRY_MONITOR_PASSWORD?",
        "unknown environment variable 'REGISTRY_MONITOR_XYZZY'",
        "REGISTRY_MONITOR_BASE_LAYER_ID: is given twice, under both its names",
        "REGISTRY_MONITOR_DOCKER: can't be --",
    ]


@pytest.mark.parametrize(
    "variable",
    ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8000_TCP", "PORT_8000_TCP_PROTO",
     "PORT_8000_TCP_PORT", "PORT_8000_TCP_ADDR", "EU_SERVICE_HOST", "EU_PORT_8000_TCP_ADDR"],
)  # fmt: skip
def test_what_kubernetes_tells_of_a_service_called_registry_monitor_is_no_option(variable):
    assert target_of(REPOSITORY, env={f"REGISTRY_MONITOR_{variable}": "tcp://10.0.0.1:8000"})


def test_bytes_that_are_no_text_are_refused():
    lone = b"\xff".decode(errors="surrogateescape")

    assert faults_of(REPOSITORY, "-username=u", f"-password={PLANTED}{lone}", f"-docker={lone}") == [
        "-password: has a NUL or bytes that are not UTF-8, which no password can have",
        r"-docker: '\udcff' has a line end or another character that doesn't print",
    ]


# Targets.

TWO = """
targets:
  - {name: quay, repository: quay.io/acme/canary, run-test-every: 10m, username: u, password: own}
  - {name: hub, repository: docker.io/acme/canary}
"""


def test_flags_and_variables_go_before_a_targets_own_keys_but_for_its_login(file):
    config = f"-config={file(TWO)}"
    env = {"REGISTRY_MONITOR_USERNAME": "e", "REGISTRY_MONITOR_TAG": "t"}

    quay, hub = parse_options([config, "-run-test-every=1m", "-password=flag"], env).targets

    assert (quay.run_every, hub.run_every, quay.reference.tag) == (60, 60, "t")
    assert quay.credentials == Credentials("u", Secret("own"))
    assert hub.credentials == Credentials("e", Secret("flag"))


def test_a_targets_own_login_takes_nothing_from_elsewhere(file, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    top = f"docker-config: {tmp_path}\n"

    quay, hub = parse_options([f"-config={file(top + TWO)}"], {}).targets

    assert (quay.docker_config, hub.docker_config) == (None, tmp_path)
    assert (quay.credentials, hub.credentials) == (Credentials("u", Secret("own")), None)


def test_repository_and_host_cannot_be_given_for_all_targets(file):
    config = file(TWO)

    faults = faults_of(f"-config={config}", "-repository=a.b/c", env={"REGISTRY_MONITOR_REGISTRY_HOST": "a.b"})

    assert faults == [
        f"-repository: can't be given beside the `targets` of {config}",
        f"REGISTRY_MONITOR_REGISTRY_HOST: can't be given beside the `targets` of {config}",
    ]


def test_a_fault_of_one_source_is_told_once_however_many_targets_meet_it(file):
    assert faults_of(f"-config={file(TWO)}", "-step-timeout=x", "-payload-layers=9", "-payload-size=1B") == [
        "-step-timeout: 'x' is not a duration: write a number with its unit, such as 90s or 1h30m",
        "-payload-layers: 9 layers can't be made of 1 bytes: one at least for each",
    ]


def test_what_strangers_try_is_refused_where_it_contradicts_itself_or_its_tag_gets_too_long():
    assert (
        target_of(REPOSITORY, "-anonymous=refused", f"-tag={'t' * 119}").stranger_reference.tag
        == "t" * 119 + "-stranger"
    )
    assert faults_of(REPOSITORY, "-anonymous=refused", f"-tag={'t' * 120}") == [
        "-tag: is too long for a push to TAG-stranger (anonymous): 119 characters at most"
    ]
    assert target_of(REPOSITORY, "-anonymous=pull", f"-tag={'t' * 128}").anonymous is Anonymous.PULL
    assert faults_of(REPOSITORY, "-anonymous=pull", "-expect-private") == [
        "-anonymous: pull is the opposite of expect-private, which wants that refused: give one of the two"
    ]
    assert target_of(REPOSITORY, "-anonymous=refused", "-expect-private").expect_private
    assert faults_of(REPOSITORY, "-anonymous=push") == ["-anonymous: 'push' is not one of refused, pull"]


def test_the_same_again_gives_the_same_again(file):
    argv = [f"-config={file(TWO)}"]

    assert parse_options(argv, {}) == parse_options(argv, {})


def test_what_differs_of_the_process_is_named(file):
    more = "concurrency: 9\nlisten: '[::1]:80'\ntag: x"
    before, after = (parse_options([f"-config={file(text)}"], {}) for text in (TWO, TWO + more))

    assert changed(before, before) == []
    assert changed(before, after) == ["listen", "concurrency"]


# What is printed.


@pytest.mark.parametrize(("screen", "width"), [("10", 48), ("60", 60), ("80", 80), ("120", 100)])
def test_the_help_shows_every_option_within_the_screen(screen, width, monkeypatch, capsys):
    """Beside its default, in lines as long as the screen is wide; no longer than the longest word, nor than is read."""
    monkeypatch.setenv("COLUMNS", screen)
    for flag in ("-h", "-help", "--help"):
        with pytest.raises(SystemExit) as raised:
            parse_options(["-nonsense", flag], {})
        assert raised.value.code == 0
    text = capsys.readouterr().out

    assert width - 8 <= max(map(len, text.splitlines())) <= width
    assert all(f"\n  --{option.name}" in text for option in OPTIONS)
    words = " ".join(text.split())
    assert all(f" {option.help}" in words for option in OPTIONS)
    assert all(f"(default: {option.default})" in text for option in OPTIONS if option.default)


def test_the_help_ends_in_examples_that_can_be_copied(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        parse_options(["-help"], {})
    text = capsys.readouterr().out

    examples = text[text.index("examples:") :].replace("\\\n", "").splitlines()
    commands = [shlex.split(line) for line in examples if line.startswith("  monitor.py")]
    known = {f"-{name}" for name in BY_NAME}
    assert len(commands) == 3
    assert all({word.partition("=")[0] for word in command[1:]} <= known for command in commands)


def test_the_version_asks_for_nothing_else():
    options = parse_options(["-version"], {})

    assert options.version
    assert options.targets == ()
    assert faults_of("-version", "-xyzzy")[0] == "unknown option `-xyzzy`"


def test_what_would_run_is_described_without_secrets(file):
    text = describe(parse_options([f"-config={file(TWO)}", "-listen=[::1]:80", "-payload-size=3KiB"], {}))

    told, monitor, every, quay, hub = text.split("\n\n")
    assert told == "No fault was found. 2 targets would be tested:"
    assert "  listen       [::1]:80\n" in monitor
    assert every.startswith("every target\n  tag                   latest\n")
    assert "  payload-size          3KiB\n" in every
    assert quay == (
        "target quay\n"
        "  repository      quay.io/acme/canary\n"
        "  username        u\n"
        "  password        <secret>\n"
        "  run-test-every  10m"
    )
    assert hub == (
        "target hub\n"
        "  repository      docker.io/acme/canary\n"
        "  username        none: without a login\n"
        "  run-test-every  2m"
    )
    assert {line.split()[0] for line in every.splitlines()[1:]} <= {option.name for option in TARGET_OPTIONS}
    assert "own" not in text


def test_one_target_is_described_whole():
    text = describe(parse_options([REPOSITORY], {}))

    told, _, target = text.split("\n\n")
    assert told == "No fault was found. 1 target would be tested:"
    assert target.startswith("target quay.io/acme/canary\n  repository            quay.io/acme/canary\n")
    assert "  expect-private-every  1h" in target


def test_importing_the_options_loads_neither_yaml_nor_a_parser():
    program = "import sys, lib.options; print({'yaml', 'configargparse', 'durationpy', 'difflib'} & set(sys.modules))"

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert run.stdout == "set()\n"


# Whatever is given.

values = st.sampled_from(
    ["quay.io/acme/canary", "a/b", "", "-x", "2m", "0s", "9h", "1MiB", "3", "true", "yes", "4f83eba78c", "alpine:3",
     ":80", "/", "/dev/null", "$CREDENTIALS_DIRECTORY/x", "--", "json", "auto", "\n", "\0", "é", "\udcff", "a" * 5000]
) | st.text(max_size=8)  # fmt: skip
names = st.sampled_from([*BY_NAME, "pasword", "name", "targets", "xyzzy"])
secrets = st.sampled_from(["password", "pasword", "pass-word", "secret"])
# After the bare name of another option, a stray word would be that option's value, and could be shown.
words = st.one_of(
    st.builds("-{}={}".format, names.filter(lambda name: name != "config"), values).map(lambda word: [word]),
    st.builds("--{}".format, names).map(lambda word: [word]),
    st.builds("-{}={}".format, secrets, st.just(PLANTED)).map(lambda word: [word]),
    st.builds("--{}".format, secrets).map(lambda word: [word, PLANTED]),
    st.just(["-once=true", PLANTED]),
    values.map(lambda word: [word]),
)
variables = st.dictionaries(
    names.filter(lambda name: name != "config").map(environment_name), values, max_size=4
) | st.just({"REGISTRY_MONITOR_PASWORD": PLANTED})


def options_or_faults(argv, env):
    """Expect options, faults, or the help if it is asked for; and no secret in any fault."""
    faults, helped = (), False
    try:
        options = parse_options(argv, env)
    except OptionsError as error:
        faults = error.faults
    except SystemExit as done:
        helped = done.code == 0 and any(word.lstrip("-").partition("=")[0] in {"h", "help"} for word in argv)
    assert faults or helped or options.targets or options.version
    for fault in faults:
        assert PLANTED not in fault
        assert fault.isprintable()


@example(["-help"], {})
@given(st.lists(words, max_size=6).map(lambda groups: [*chain(*groups)]), variables)
def test_any_command_line_and_environment_give_options_or_faults(argv, env):
    options_or_faults(argv, env)


scalars = values.filter(lambda text: "\udcff" not in text)
nodes = st.recursive(scalars | st.just(PLANTED), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
sections = st.dictionaries(names, scalars, max_size=5)
planted = st.dictionaries(secrets, st.just(PLANTED) | st.lists(st.just(PLANTED), max_size=2), max_size=2)
mappings = st.builds(dict.__or__, sections, planted)


@given(
    st.builds(
        dict.__or__, mappings, st.just({}) | st.fixed_dictionaries({"targets": st.lists(mappings | nodes) | nodes})
    )
)
def test_any_mapping_in_a_file_gives_options_or_faults(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))

    options_or_faults([f"-config={path}"], {})


@given(st.integers(0, 400), st.integers(0, 12), st.text("-:{}[]&*!|>'\"#%@`\n\t ,?x0\u2028\ufeff\x07", max_size=6))
def test_any_damage_to_a_file_gives_options_or_faults(tmp_path_factory, start, length, put_in):
    text = f"""repository: quay.io/acme/canary
username: robot
password: {PLANTED}
targets:
  - name: quay
    password: "{PLANTED}"
    pasword: '{PLANTED}'
    secret: !{PLANTED} &{PLANTED} [{PLANTED}, *{PLANTED}]
"""
    path = tmp_path_factory.getbasetemp() / "damaged.yml"
    path.write_text(text[:start] + put_in + text[start + length :])

    options_or_faults([f"-config={path}"], {})


@given(st.binary(max_size=200))
def test_any_bytes_in_a_file_give_options_or_faults(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yml"
    path.write_bytes(content)

    options_or_faults([f"-config={path}"], {})


# Rested images.


def test_rested_images_need_a_state_dir_that_says_why():
    (fault,) = faults_of(REPOSITORY, "-cold-images=1")
    assert fault.startswith("cold-images: target quay.io/acme/canary needs state-dir beside it: without one")
    target = target_of(REPOSITORY, "-cold-images=7", "-cold-every=1h", env={"STATE_DIRECTORY": "/var/lib/one"})
    assert (target.cold_images, target.cold_every) == (7, 3600.0)
    assert target.rested_tag(7) == "latest-cold-7"
    assert target_of(REPOSITORY, "-cold-images=0").cold_images == 0


def test_the_tag_of_a_rested_image_has_to_be_one():
    rested = (REPOSITORY, "-state-dir=/srv", "-cold-images=10")
    assert len(target_of(*rested, f"-tag={'t' * 120}").rested_tag(10)) == 128
    assert faults_of(*rested, f"-tag={'t' * 121}") == [
        "-tag: is too long for cold-images: with -cold-10 it has 129 of 128 characters"
    ]


def test_no_target_has_the_tag_of_anothers_rested_image(file):
    path = file(
        "state-dir: /srv\ntargets:\n- {name: one, repository: q.io/r, cold-images: 2}\n"
        "- {name: two, repository: q.io/r, tag: latest-cold-2}\n"
    )
    assert faults_of(f"-config={path}") == [
        f"{path}:4: targets[1] (two): has the same repository and tag as targets[0]"
    ]


def test_a_renewal_needs_once():
    assert faults_of(REPOSITORY, "-renew-cold") == ["renew-cold: needs once beside it"]
    assert parse_options([REPOSITORY, "-renew-cold", "-once"], {}).renew_cold


# A fault of one target that may pass.

THREE = """targets:
  - {name: quay, repository: quay.io/acme/canary, username: u, password-file: FOLDER/password}
  - {name: hub, repository: docker.io/acme/canary, docker-config: FOLDER/logins}
  - {name: ghcr, repository: ghcr.io/acme/canary}
"""


@pytest.fixture
def three(file, tmp_path):
    """The option that names a file with three targets, of which two can't be tested now."""
    return f"-config={file(THREE.replace('FOLDER', str(tmp_path)))}"


def test_what_one_target_lacks_keeps_no_other_from_being_tested(three, tmp_path):
    options = parse_options([three], {})

    assert [target.name for target in options.targets] == ["quay", "hub", "ghcr"]
    (tmp_path / "password").write_text("p")
    (tmp_path / "logins").mkdir()
    (tmp_path / "logins" / "config.json").write_text('{"auths": ')
    assert parse_options([three, "-once"], {}).targets == options.targets


def test_a_check_names_what_a_target_lacks(three, tmp_path):
    lacking, torn = faults_of(three, "-check-config")

    assert lacking.endswith(
        f"targets[0] (quay): password-file: {tmp_path}/password can't be read: No such file or directory"
    )
    assert torn.endswith(f"targets[1] (hub): docker-config: {tmp_path}/logins is not a folder")
    (tmp_path / "logins").mkdir()
    (tmp_path / "logins" / "config.json").write_text('{"auths": ')
    assert faults_of(three, "-check-config")[1].endswith(f": {tmp_path}/logins/config.json is not JSON")


def test_beside_another_fault_it_is_named_all_the_same(three):
    assert len(faults_of(three, "-concurrency=0")) == 3


def test_if_no_target_is_left_it_is_a_fault_of_the_whole(file, tmp_path):
    two = "\n".join(THREE.replace("FOLDER", str(tmp_path)).splitlines()[:3])

    assert len(faults_of(f"-config={file(two)}")) == 2
    (tmp_path / "password").write_text("p")
    assert len(parse_options([f"-config={file(two)}"], {}).targets) == 2


#: The original's, with the values that a secret would be planted in.
CLOUDWATCH = {
    "aws-access-key": "hunter2",
    "aws-secret-key": "hunter2/+",
    "cloudwatch-region": "us-east-1",
    "cloudwatch-namespace": "registries",
    "cloudwatch-metric-success": "MonitorSuccess",
    "cloudwatch-metric-failure": "MonitorFailure",
    "cloudwatch-metric-pull-time": "MonitorPullTime",
    "cloudwatch-metric-push-time": "MonitorPushTime",
}


@pytest.mark.parametrize("name", CLOUDWATCH)
def test_the_originals_options_for_cloudwatch_are_refused_with_the_way_there(name):
    """Not if they are empty: then the original sent nothing, either."""
    way = (
        "this program sends nothing to CloudWatch: leave it out, and let the CloudWatch agent scrape /metrics"
        " (docs/without-a-scrape.md)"
    )
    variable, value = environment_name(name), CLOUDWATCH[name]
    assert faults_of(REPOSITORY, f"-{name}={value}") == [f"-{name}: {way}"]
    assert faults_of(REPOSITORY, f"--{name}", value) == [f"-{name}: {way}"]
    assert faults_of(REPOSITORY, env={variable: value}) == [f"{variable}: {way}"]
    assert target_of(REPOSITORY, f"-{name}=", env={variable: ""}).read_only is False
