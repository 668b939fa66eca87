"""docker finds around it what the user's docker finds, without the monitor's secrets and whatever would mislead it."""

import json

import pytest

from lib.command import CommandError, Completed, Ending
from lib.docker.environment import (
    SetupError,
    docker_environment,
    engine_of,
    forget_logins,
    prepare_config,
    user_plugins,
)
from lib.ending import NotNow
from tests.unit.support import HOST, PASSWORD, SubprocessRunner

ALWAYS = {"DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false", "BUILDKIT_PROGRESS": "plain"}


def never(command):
    raise AssertionError(f"{command.argv} was not to be run")


def context(host="ssh://user@far", **tls):
    shape = {"Name": "far", "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}, "Storage": {}} | tls
    return Completed(0, json.dumps(shape) + "\n", "", 0.1)


# The environment.


def test_the_monitors_own_variables_are_kept_back():
    """Nothing that configures or serves the monitor reaches docker, and so no password does."""
    own = {
        "REGISTRY_MONITOR_PASSWORD": PASSWORD,
        "REGISTRY_MONITOR_USERNAME": "monitor",
        "CREDENTIALS_DIRECTORY": "/run/credentials",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1000",
        "DOCKER_CONFIG": "/home/user/.docker",
        "DOCKER_CONTENT_TRUST": "1",
        "DOCKER_DEFAULT_PLATFORM": "linux/arm64",
    }
    kept = {"PATH": "/bin", "HOME": "/nowhere", "DOCKER_HOST": "unix:///run/d.sock", "DOCKER_TLS_VERIFY": "1"}
    kept |= {"DOCKER_CERT_PATH": "/certs", "HTTPS_PROXY": "http://proxy", "LANG": "C.UTF-8"}

    assert docker_environment(own | kept, "docker", never) == kept | ALWAYS


def test_the_classic_builder_is_asked_for_whatever_the_user_has():
    """With BuildKit a pull after rmi moves nothing: the user's own setting does not count."""
    env = docker_environment({"DOCKER_BUILDKIT": "1", "DOCKER_HOST": "unix:///x"}, "docker", never)

    assert env["DOCKER_BUILDKIT"] == "0"


@pytest.mark.parametrize(
    ("env", "config"),
    [
        ({}, None),
        ({}, {}),
        ({}, {"currentContext": "default"}),
        ({}, {"currentContext": ""}),
        ({}, {"currentContext": 5}),
        ({}, ["no mapping"]),
        ({"DOCKER_HOST": "unix:///x"}, {"currentContext": "far"}),
        ({"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "far"}, None),
        ({"DOCKER_CONTEXT": "default"}, {"currentContext": "far"}),
    ],
)
def test_without_a_context_nothing_is_asked(tmp_path, env, config):
    """DOCKER_HOST comes before DOCKER_CONTEXT, and that before the configuration, as with docker."""
    (tmp_path / ".docker").mkdir()
    if config is not None:
        (tmp_path / ".docker" / "config.json").write_text(json.dumps(config))

    docker_environment({"HOME": str(tmp_path)} | env, "docker", never)


@pytest.mark.parametrize("where", ["DOCKER_CONTEXT", "DOCKER_CONFIG", "HOME"])
def test_the_endpoint_of_the_current_context_is_kept(tmp_path, where):
    """Wherever the user chose a context, docker gets its endpoint, and the context itself is no longer needed."""
    folder = tmp_path / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"currentContext": "" if where == "DOCKER_CONTEXT" else "far"}))
    env = {"HOME": str(tmp_path if where == "HOME" else "/nowhere"), "REGISTRY_MONITOR_PASSWORD": PASSWORD}
    env |= {"DOCKER_CONTEXT": {"DOCKER_CONTEXT": "far"}, "DOCKER_CONFIG": {"DOCKER_CONFIG": str(folder)}}.get(where, {})
    asked = []

    found = docker_environment(env, "/opt/docker", lambda command: asked.append(command) or context())

    assert found["DOCKER_HOST"] == "ssh://user@far"
    assert "DOCKER_CONTEXT" not in found
    assert "DOCKER_TLS_VERIFY" not in found
    (command,) = asked
    assert command.argv == ("/opt/docker", "context", "inspect", "--format", "{{json .}}", "--", "far")
    assert PASSWORD not in str(command)
    assert command.env.get("DOCKER_CONFIG") == env.get("DOCKER_CONFIG")


@pytest.mark.parametrize(("skip", "wanted"), [(False, "1"), (True, None)])
def test_the_certificates_of_a_context_are_kept(skip, wanted):
    """A context with TLS gives docker its certificates, and whether to check the daemon's."""
    answer = context(
        Endpoints={"docker": {"Host": "tcp://far:2376", "SkipTLSVerify": skip}},
        TLSMaterial={"docker": ["ca.pem", "cert.pem", "key.pem"]},
        Storage={"TLSPath": "/home/user/.docker/contexts/tls/abc"},
    )

    found = docker_environment({"DOCKER_CONTEXT": "far"}, "docker", lambda _: answer)

    assert found["DOCKER_CERT_PATH"] == "/home/user/.docker/contexts/tls/abc/docker"
    assert (found["DOCKER_TLS"], found.get("DOCKER_TLS_VERIFY")) == ("1", wanted)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"Endpoints": null}', '{"Endpoints": {"kubernetes": {}}}']
)
def test_a_context_that_is_not_understood_is_told(text):
    """If docker's description of a context can't be used, that is a fault of the set-up with a remedy."""
    with pytest.raises(SetupError, match=r"'far' is not understood; set DOCKER_HOST, or .*`docker context use`"):
        docker_environment({"DOCKER_CONTEXT": "far"}, "docker", lambda _: Completed(0, text, "", 0.1))


def test_a_context_that_is_not_there_is_told(fp):
    """Docker's own words say why."""
    argv = ["docker", "context", "inspect", "--format", "{{json .}}", "--", "far"]
    fp.register(argv, stderr='context "far": context not found\n', returncode=1)

    with pytest.raises(SetupError, match=r"can't be read: .*not found"):
        docker_environment({"DOCKER_CONTEXT": "far"}, "docker", SubprocessRunner())


def test_a_docker_that_can_t_be_started_is_told():
    """Without docker there is nothing to ask."""

    def is_missing(command):
        raise CommandError("docker: not found")

    with pytest.raises(NotNow, match="docker: not found"):
        docker_environment({"DOCKER_CONTEXT": "far"}, "docker", is_missing)


def test_a_docker_that_does_not_answer_may_do_so_later():
    """A host that has just booted is slow."""
    slow = Completed(-15, "", "", 10.0, Ending.DEADLINE)

    with pytest.raises(NotNow, match="docker had not answered in time"):
        docker_environment({"DOCKER_CONTEXT": "far"}, "docker", lambda _: slow)


# The config folder.


def test_the_users_plugins_are_those_in_the_users_config_folder(tmp_path):
    """As docker finds them: below DOCKER_CONFIG, else in the home; and none if there is not a folder of them."""
    (tmp_path / ".docker" / "cli-plugins").mkdir(parents=True)

    assert user_plugins({"HOME": str(tmp_path)}) == tmp_path / ".docker" / "cli-plugins"
    assert (
        user_plugins({"HOME": "/nowhere", "DOCKER_CONFIG": f"{tmp_path}/.docker"}) == tmp_path / ".docker/cli-plugins"
    )
    assert user_plugins({"HOME": "/nowhere"}) is None


def test_a_home_that_cant_be_looked_into_has_no_plugins():
    """Such as root's home, whose environment setpriv and supervisord pass on to what they run."""
    assert user_plugins({"HOME": "/" + "a" * 5000}) is None


def test_a_config_without_logins_has_an_entry_all_the_same(tmp_path):
    """Docker takes a config without any for one that uses the user's own credential store."""
    prepare_config(tmp_path, HOST, None)

    assert json.loads((tmp_path / "config.json").read_text()) == {"auths": {HOST: {}}}
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600


def test_a_config_is_written_anew_at_each_cycle(tmp_path):
    """What a login left is gone, however much longer it was; and forgetting can be done twice."""
    (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: {"auth": "x" * 1000}}}))

    prepare_config(tmp_path, HOST, None)

    assert "x" not in (tmp_path / "config.json").read_text()
    forget_logins(tmp_path)
    forget_logins(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_buildx_notes_of_builds_is_forgotten_with_the_logins(tmp_path):
    """It notes each build in a file of its own; its own identity stays."""
    (tmp_path / "buildx" / "refs" / "default").mkdir(parents=True)
    (tmp_path / "buildx" / ".buildNodeID").touch()

    prepare_config(tmp_path, HOST, None)
    forget_logins(tmp_path)

    assert [path.name for path in (tmp_path / "buildx").iterdir()] == [".buildNodeID"]


def test_what_a_killed_login_left_is_forgotten_too(tmp_path):
    """Docker writes the login to a file beside, which then takes the other's place."""
    prepare_config(tmp_path, HOST, None)
    (tmp_path / "config.json2734591876").write_text('{"auths": {"quay.io": {"auth": "c2VjcmV0"}}}')
    forget_logins(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", "null", '"text"'])
def test_a_config_that_is_none_is_told(tmp_path, content):
    """What can't be read as docker reads it is a ValueError."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.json").write_text(content)

    with pytest.raises(ValueError, match=r"/source/config\.json is not (?:JSON|a Docker configuration)$"):
        prepare_config(tmp_path, HOST, tmp_path / "source")


def test_whoever_works_with_one_engine_is_known_by_that(tmp_path):
    """A socket has several paths; and podman is not an engine of docker's."""
    (tmp_path / "docker.sock").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    same = [{"DOCKER_HOST": f"unix://{path}/docker.sock"} for path in (tmp_path, tmp_path / "link")]
    assert len({engine_of(env, "docker") for env in same}) == 1
    default = [{}, {"DOCKER_HOST": ""}, {"DOCKER_HOST": "unix:///var/run/docker.sock"}]
    assert len({engine_of(env, program) for env in default for program in ("docker", "/opt/docker")}) == 1
    others = [*default[:1], *same[:1], {"DOCKER_HOST": "tcp://a:2376"}, {"DOCKER_HOST": "ssh://b"}]
    assert len({engine_of(env, "docker") for env in others} | {engine_of({}, "/usr/bin/podman")}) == 5
