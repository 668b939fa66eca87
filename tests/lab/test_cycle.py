"""The real cycle, by the whole program: what crosses the wire, what it says, and what it leaves on the host."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from lab.archive import file_system
from lab.daemon import await_true
from lab.engine import Engine
from lab.monitor import PROGRAM, Monitor, once
from lab.target import PASSWORD, STEPS, USER, login, path_of


def test_a_first_cycle_on_an_empty_repository_is_up(engine, repository):
    """If nothing was ever pushed, the first pull is skipped and everything else is done."""
    code, (cycle,), _ = once(engine, *login(repository))

    assert (code, cycle["verdict"]) == (0, "up")
    assert [step["step"] for step in cycle["steps"]] == STEPS
    assert [step["outcome"] for step in cycle["steps"]] == ["ok", "skipped", "ok", "ok", "ok", "ok"]
    assert cycle["pushed_digest"] == cycle["pulled_digest"]
    assert all(step["seconds"] > 0 for step in cycle["steps"])


def test_every_payload_layer_crosses_the_wire(engine, registry, repository):
    """A cycle puts a manifest and every blob of its payload; it reads each back, and the next cycle reads it again."""
    options = (*login(repository), "-payload-layers=3", "-payload-size=300KiB")
    first = once(engine, *options)[1][0]
    put = registry.blobs_put(path_of(repository))
    payload = put[:]
    got_back = registry.blobs_got(path_of(repository))
    second = once(engine, *options)[1][0]
    got_again = registry.blobs_got(path_of(repository))[len(got_back) :]

    assert (first["verdict"], second["verdict"]) == ("up", "up")
    assert registry.manifests_put(path_of(repository)) == ["latest", "latest"]
    assert len(set(payload)) == 3 + 1  # the image's configuration is a blob, too
    assert set(payload) <= set(got_back)
    assert set(payload) <= set(got_again)
    sizes = [access.bytes for access in registry.accesses(path_of(repository)) if access.blob_got]
    assert sum(sizes) > 3 * 300 * 1024


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cycles", [5, pytest.param(50, marks=pytest.mark.everything)])
def test_many_cycles_leave_the_host_as_it_was(engine, repository, snapshot, tmp_path, cycles):
    """However often it runs, nothing of it is left, and nothing that was there is gone."""
    docker = engine.docker
    kept = docker("import", "-", "somebody/kept:1", stdin=file_system("kept")).stdout.strip()
    dangling = docker("import", "-", stdin=file_system("dangling")).stdout.strip()
    docker("create", "--name=monitor", "--network=none", kept, "command")
    docker("volume", "create", "somebodys-volume")
    (Path(engine.env["DOCKER_CONFIG"]) / "config.json").write_text('{"auths": {"other.example": {"auth": "eDp5"}}}')
    settled = once(engine, *login(repository))[0]
    before = snapshot()
    before_files = sorted(str(path) for path in Path(engine.env["DOCKER_CONFIG"]).rglob("*"))

    with Monitor(tmp_path, engine, *login(repository), "-run-test-every=100ms", "-payload-size=64KiB") as monitor:
        await_true(lambda: monitor.successes() >= cycles, 800, f"{cycles} cycles")
        assert monitor.stop() == 0
    after = snapshot()

    assert settled == 0
    assert after == before
    assert after.data_bytes < before.data_bytes + 512 * 1024
    assert dangling in docker("images", "--all", "--quiet", "--no-trunc").stdout
    assert "monitor" in docker("ps", "--all", "--format={{.Names}}").stdout.split()
    assert sorted(str(path) for path in Path(engine.env["DOCKER_CONFIG"]).rglob("*")) == before_files
    assert "eDp5" in (Path(engine.env["DOCKER_CONFIG"]) / "config.json").read_text()
    docker("rm", "monitor")
    docker("rmi", kept, dangling)
    docker("volume", "rm", "somebodys-volume")


def test_an_image_that_no_monitor_made_is_never_overwritten(engine, registry, repository, snapshot):
    """Somebody's image under the tag is left there, and not left on the host; `overwrite` allows it."""
    docker = engine.docker
    docker("login", "--username", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    docker("import", "-", repository, stdin=file_system("somebody's"))
    docker("push", repository)
    docker("rmi", repository)
    before = snapshot()

    code, (cycle,), _ = once(engine, *login(repository))
    unchanged = registry.manifests_put(path_of(repository)) == ["latest"]
    allowed = once(engine, *login(repository), "-overwrite")[1][0]

    assert (code, cycle["verdict"], cycle["reason"], cycle["scope"]) == (3, "unknown", "foreign", "config")
    assert repository in cycle["detail"]
    assert "overwrite" in cycle["detail"]
    assert unchanged
    assert allowed["verdict"] == "up"
    assert snapshot() == before


@pytest.mark.parametrize("wrong_password", [False, True])
def test_a_local_image_gets_its_name_back(engine, repository, snapshot, wrong_password):
    """An image that had the test image's name before has it afterwards, whether the cycle was good or not."""
    engine.docker("import", "-", f"{repository}:latest", stdin=file_system(f"local {wrong_password}"))
    before = snapshot()
    options = (f"-repository={repository}", f"-username={USER}", f"-password={'x' if wrong_password else PASSWORD}")

    codes = [once(engine, *options)[0] for _ in range(2)]
    after = snapshot()
    engine.docker("rmi", f"{repository}:latest")

    assert codes == ([1, 1] if wrong_password else [0, 0])
    assert after == before


def test_a_test_image_that_got_another_name_is_removed_all_the_same(engine, repository, snapshot):
    """A name that somebody gave our image of an earlier run goes with it: it carries our labels."""
    before = snapshot()
    assert once(engine, *login(repository))[0] == 0
    docker = engine.docker
    docker("login", "--username", USER, "--password-stdin", repository.partition("/")[0], stdin=PASSWORD.encode())
    docker("pull", repository)

    code, (cycle,), _ = once(engine, *login(repository))

    assert (code, cycle["verdict"]) == (0, "up")
    assert snapshot() == before


def test_a_wrong_password_is_the_credentials_fault(engine, repository):
    """A refused login is down, unauthorized, and says so with docker's own words."""
    code, (cycle,), _ = once(engine, f"-repository={repository}", f"-username={USER}", "-password=wrong-one")

    assert (code, cycle["step"], cycle["reason"], cycle["scope"]) == (1, "login", "unauthorized", "credentials")
    assert "401 Unauthorized" in cycle["detail"]
    assert "wrong-one" not in json.dumps(cycle)


def test_a_password_with_several_lines_logs_in_and_is_shown_nowhere(engine, registry, repository, tmp_path):
    """As in Google's `_json_key`. A wrong one is unauthorized, and no line of it is printed."""
    path = tmp_path / "key.json"
    key = '{\n  "type": "service_account",\n  "private_key": "planted"\n}'
    path.write_text(f"{key}\n")
    registry.set_users({USER: PASSWORD, "_json_key": key})
    options = (f"-repository={repository}", "-username=_json_key", f"-password-file={path}")

    assert once(engine, *options)[0] == 0
    path.write_text(key.replace("_account", ""))
    code, (cycle,), log = once(engine, *options)

    assert (code, cycle["step"], cycle["reason"]) == (1, "login", "unauthorized")
    assert "planted" not in f"{cycle}{log}"


def test_stored_logins_are_used_and_not_written(engine, repository, tmp_path):
    """With `docker-config` there is no login step; the folder stays as it was."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    folder = tmp_path / "docker-config"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {repository.partition("/")[0]: {"auth": auth}}}))
    before = (folder / "config.json").read_bytes()

    code, (cycle,), _ = once(engine, f"-repository={repository}", f"-docker-config={folder}")

    assert (code, [step["step"] for step in cycle["steps"]]) == (0, STEPS[1:])
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert (folder / "config.json").read_bytes() == before


def test_a_base_image_stays_and_only_the_payload_is_moved(engine, registry, repository, snapshot):
    """The test image is built on the base; the base stays on the host, the second time, too."""
    docker = engine.docker
    base = f"{registry.host}/tests/base:1"
    docker("login", "--username", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    docker("import", "-", base, stdin=file_system("base"))
    docker("push", base)
    before = snapshot()

    cycles = [once(engine, *login(repository), f"-base-image={base}")[1][0] for _ in range(2)]
    after = snapshot()
    docker("rmi", base)

    assert [cycle["verdict"] for cycle in cycles] == ["up", "up"]
    assert "base" in [step["step"] for step in cycles[0]["steps"]]
    assert after == before


def test_a_missing_base_on_the_same_registry_is_that_registrys_fault(engine, registry, repository):
    """If the monitored registry itself should serve the base image, a failure is its fault, and down."""
    code, (cycle,), _ = once(engine, *login(repository), f"-base-image={registry.host}/tests/no-such-base:1")

    assert (code, cycle["step"], cycle["reason"], cycle["scope"]) == (1, "base", "not_found", "registry")


@pytest.mark.parametrize("by_short_id", [False, True])
def test_a_base_is_also_named_by_its_id(engine, repository, snapshot, by_short_id):
    """base-layer-id takes the ID of a local image, which stays as it was."""
    image_id = engine.docker("import", "-", "somebody/base:1", stdin=file_system("base by ID")).stdout.strip()
    before = snapshot()
    wanted = image_id.removeprefix("sha256:")[:12] if by_short_id else image_id

    code, (cycle,), _ = once(engine, *login(repository), f"-base-layer-id={wanted}")
    after = snapshot()
    engine.docker("rmi", "somebody/base:1")

    assert (code, cycle["verdict"]) == (0, "up")
    assert after == before


def test_the_originals_command_line_and_environment_work(engine, registry, repository):
    """What started the original starts this one."""
    environment = {
        "REGISTRY_MONITOR_USERNAME": USER,
        "REGISTRY_MONITOR_PASSWORD": PASSWORD,
        "REGISTRY_MONITOR_REGISTRY_HOST": registry.host,
        "REGISTRY_MONITOR_REPOSITORY": repository,
        "REGISTRY_MONITOR_RUN_TEST_EVERY": "2m",
        "UNDER_DOCKER": "true",
        "PROMETHEUS_NAMESPACE": "acme",
    }
    flags = (f"-username={USER}", f"-password={PASSWORD}", f"-registry-host={registry.host}")

    assert once(engine, env=environment)[0] == 0
    assert once(engine, *flags, f"-repository={repository}", "-loglevel=info", "-public-base=false")[0] == 0


def test_without_a_daemon_nobody_else_is_blamed(engine, repository, tmp_path):
    """A daemon that is not there is the host's fault: unknown, and exit code 3."""
    code, (cycle,), _ = once(engine, *login(repository), env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})

    assert (code, cycle["verdict"], cycle["reason"], cycle["scope"]) == (3, "unknown", "daemon", "host")


def test_without_a_cli_nobody_else_is_blamed(engine, repository):
    """A docker CLI that is not there is the host's fault, too."""
    code, (cycle,), _ = once(engine, *login(repository), "-docker=no-such-docker")

    assert (code, cycle["verdict"], cycle["reason"], cycle["scope"]) == (3, "unknown", "cli", "host")
    assert "no-such-docker" in cycle["detail"]


def test_text_for_people_tells_each_step(engine, repository):
    """-once in text has a line a step, and the verdict."""
    done = subprocess.run(
        [*PROGRAM, "-once", *login(repository)],
        env=engine.env,
        capture_output=True,
        text=True,
        check=True,
    )

    told = [line for line in done.stdout.splitlines() if repository in line]
    assert [line.split()[1] for line in told] == [*STEPS, "UP"]
    assert PASSWORD not in done.stdout + done.stderr


def test_an_engine_of_ones_own_is_what_these_tests_run_on(engine):
    """The tests never meet the machine's own daemon."""
    assert isinstance(engine, Engine)
    assert engine.docker("info", "--format={{.DockerRootDir}}").stdout.strip() == str(engine.data)
