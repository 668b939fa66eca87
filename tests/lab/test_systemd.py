"""The service: installed by its installer into a Debian whose systemd really boots, and taken through a long life.

The tests use one installation, and the last of them removes it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from lab import direct
from lab.daemon import LabError, await_true
from lab.machine import Machine, docker_client
from lab.port import Port
from lab.root import make_root
from lab.target import PASSWORD, USER
from lib.cycle.payload import INSTANCE_LABEL

# The first test waits for a whole Debian and its packages.
pytestmark = pytest.mark.timeout(1200)

_PROJECT = Path(__file__).resolve().parents[2]
_INSTALLED = ("CHANGELOG.md", "README.md", "deploy", "docs", "lib", "monitor.py", "requirements.txt")
#: Debian 12: the oldest Python that is supported.
_SUITE = "bookworm"
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv")
_CLONE = Path("/srv/a clone")
_ETC = Path("/etc/registry-monitor")
_OPT = Path("/opt/registry-monitor")
_QUAY = _ETC / "passwords/quay"
_COMMAND = Path("/usr/local/bin/registry-monitor")
_STATE = Path("/var/lib/registry-monitor")
#: The commit that was the first release.
_FIRST_RELEASE = "6ee2a27010f44424020f01345c65d780f6977220"

#: Only for these tests, that they need not wait long.
_IMPATIENT = "[Service]\nWatchdogSec=10\nRestartSec=500ms\n"
_SOON = 60.0
#: A worker is stuck one minute after its deadlines, and the watchdog fires after that.
_STUCK_SECONDS = 100.0
_STOP_SECONDS = 10.0
_MOST_EXPOSED = 2.0


class Unit:
    """A service of the machine, queried and controlled by systemctl."""

    def __init__(self, machine, name):
        self._machine = machine
        self.name = name

    def __call__(self, verb, *options, check=True):
        return self._machine.run("systemctl", verb, *options, self.name, check=check)

    def show(self, what):
        return self("show", f"--property={what}", "--value").stdout.strip()

    @property
    def sentence(self):
        return self.show("StatusText")

    def journal(self, *options):
        return self._machine.run("journalctl", f"--unit={self.name}", "--output=cat", *options).stdout

    def await_sentence(self, pattern, seconds=_SOON):
        seen = []
        with suppress(LabError):
            await_true(lambda: seen.append(self.sentence) or re.fullmatch(pattern, seen[-1]), seconds, "the status")
        assert re.fullmatch(pattern, seen[-1])


@pytest.fixture(scope="module")
def machine(session_lab, engine):
    """A booted Debian with this project, the engine's socket, and the docker CLI."""
    root = session_lab.folder / "root"
    make_root(root, _SUITE, *_PACKAGES)
    for name in _INSTALLED:
        source, copy = _PROJECT / name, root / _CLONE.relative_to("/") / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    engines = Path(engine.host.removeprefix("unix://"))
    shared = {Path("/run/docker.sock"): engines, Path("/usr/local/bin/docker"): docker_client()}
    with Machine(session_lab.folder / "machine", root, shared) as machine:
        # The group of the engine's socket, under the name that it has on hosts with an engine.
        machine.run("groupadd", "--system", "--non-unique", f"--gid={engines.stat().st_gid}", "docker")
        yield machine


@pytest.fixture(scope="module")
def first_words(machine):
    """What the installer said on a machine that knew nothing of the monitor."""
    return _install(machine).stderr


@pytest.fixture(scope="module")
def unit(machine, first_words):
    """The installed service, with a watchdog that does not wait long."""
    drop_ins = machine.root / "etc/systemd/system/registry-monitor.service.d"
    drop_ins.mkdir(parents=True)
    (drop_ins / "impatient.conf").write_text(_IMPATIENT)
    machine.run("systemctl", "daemon-reload")
    return Unit(machine, "registry-monitor.service")


@pytest.fixture(scope="module", autouse=True)
def stuck(machine, unit, registry):
    """A second service, whose worker has been stuck since the first test: opening its password file does not end."""
    stuck = Unit(machine, "stuck.service")
    text = _inside(machine, Path("/usr/local/lib/systemd/system") / unit.name).read_text()
    folders = [(f"{kind}=registry-monitor", f"{kind}=stuck") for kind in ("StateDirectory", "RuntimeDirectory")]
    for ours, its in (("config.yml", "stuck.yml"), *folders):
        assert ours in text
        text = text.replace(ours, its)
    text = text.replace("WatchdogSec=30", "WatchdogSec=3").replace("Restart=on-failure", "Restart=no")
    (machine.root / "etc/systemd/system" / stuck.name).write_text(text)
    password = _inside(machine, _ETC / "stuck.password")
    _write(password, PASSWORD)
    with Port() as port:
        # Nobody lets it in, so it has nothing to remove if a first cycle begins before it is stuck.
        stranger = {"user": "stranger", "cycle-timeout": "1s"}
        _configure(machine, registry, "stuck", port.number, _ETC / "stuck.password", "stuck.yml", **stranger)
        stuck("start")
        password.unlink()
        os.mkfifo(password)
        shutil.chown(password, group=_group(machine))
        password.chmod(0o640)
        yield stuck


@pytest.fixture
def port():
    with Port() as port:
        yield port.number


@pytest.fixture
def service(machine, unit, registry, port):
    """The service, running, with one target that it logs in to; stopped at the end."""
    _write(_inside(machine, _QUAY), PASSWORD)
    _configure(machine, registry, "quay", port, _QUAY)
    unit("start")
    yield unit
    unit("stop")
    unit("reset-failed", check=False)


def _install(machine, *options, check=True):
    return machine.run("sh", _CLONE / "deploy/systemd/install.sh", *options, check=check)


def _inside(machine, path):
    """Return the path of a file of the machine on this host."""
    return machine.root / path.relative_to("/")


def _group(machine):
    return _inside(machine, _ETC).stat().st_gid


def _write(path, text, mode=0o640):
    """Write a file that the service's group can read, unless the mode says otherwise."""
    path.write_text(text)
    path.chmod(mode)
    shutil.chown(path, group=path.parent.stat().st_gid)


def _target(registry, name, password_file, user=USER):
    repository = f"{registry.host}/tests/systemd-{name}"
    return {"name": name, "repository": repository, "username": user, "password-file": str(password_file)}


def _configure(machine, registry, name, port, password_file, file="config.yml", user=USER, others=(), **more):
    options = {
        "listen": f"127.0.0.1:{port}",
        "run-test-every": "1s",
        "retry-every": "1s",
        "step-timeout": "20s",
        "cycle-timeout": "30s",
        "payload-size": "64KiB",
        "targets": [_target(registry, name, password_file, user), *others],
    }
    _write(_inside(machine, _ETC / file), json.dumps(options | more))  # JSON is YAML


def _ours(engine):
    """Return the images that a monitor made."""
    return engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout.split()


def _releases(machine):
    return [path.name for path in _inside(machine, _OPT).glob("release.*")]


# The installation.


def test_a_first_installation_starts_nothing_and_says_what_to_do(machine, unit, first_words):
    assert "an example of the configuration is in /etc/registry-monitor/config.yml" in first_words
    assert "then: systemctl enable --now registry-monitor" in first_words
    assert unit.show("ActiveState") == "inactive"
    modes = {path: stat.S_IMODE(_inside(machine, path).stat().st_mode) for path in (_ETC, _QUAY.parent, _OPT)}
    assert modes == {_ETC: 0o750, _QUAY.parent: 0o2750, _OPT: 0o755}


def _examples(machine):
    """Return the configuration that the installer left, and the README's."""
    readme = (_PROJECT / "README.md").read_text()
    yield _inside(machine, _ETC / "config.yml").read_text()
    yield re.search(r"```yaml\n(run-test-every.*?)```", readme, re.DOTALL)[1]


def test_the_examples_are_configurations_that_the_service_can_use_as_they_are_written(machine, unit):
    """The command on PATH says so, and sees what the service does; a password is stored as the example says."""
    said = re.search(r"install -m 640 .*/passwords/", next(_examples(machine)))[0]
    machine.run("sh", "-c", f"umask 077; echo {PASSWORD} | {said}quay")
    for example in _examples(machine):
        _write(_inside(machine, _ETC / "config.yml"), example)
        assert f" {_QUAY}\n" in machine.run(_COMMAND, "-check-config").stdout
    _inside(machine, _QUAY).chmod(0o600)
    checked = machine.run(_COMMAND, "-check-config", check=False)
    assert (checked.returncode, f"{_QUAY} can't be read: Permission denied" in checked.stderr) == (2, True)


def test_the_command_is_the_program_and_the_services_configuration_is_roots(machine, unit):
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", _COMMAND)
    assert machine.run(*nobody, "-version").stdout.startswith("registry-monitor 0")
    assert "quay.io/a/b" in machine.run(*nobody, "-check-config", "-repository=quay.io/a/b").stdout
    refused = machine.run(*nobody, "-check-config", check=False)
    assert (refused.returncode, "sudo registry-monitor -check-config" in refused.stderr) == (2, True)
    assert machine.run(_COMMAND, check=False).returncode == 2


@pytest.mark.parametrize(("options", "code"), [(["--purge"], 2), (["--help"], 2), (["--uninstall", "now"], 2)])
def test_the_installer_takes_nothing_for_what_it_is_not(machine, unit, options, code):
    refused = _install(machine, *options, check=False)
    assert (refused.returncode, "install.sh --uninstall --purge" in refused.stderr) == (code, True)


def test_the_installer_refuses_who_is_not_root(machine):
    installer = _CLONE / "deploy/systemd/install.sh"
    refused = machine.run("setpriv", "--reuid=65534", "--clear-groups", "sh", installer, check=False)
    assert (refused.returncode, refused.stderr) == (1, "install: run this as root\n")


def test_what_it_could_reach_beyond_its_needs_is_little(machine, unit):
    said = machine.run("systemd-analyze", "security", "--no-pager", unit.name).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
    assert exposure <= _MOST_EXPOSED
    # What remains is named, and so explained, in the unit.
    text = (_PROJECT / "deploy/systemd" / unit.name).read_text()
    exceptions = text[text.index("lists the exceptions:") :].partition("\nAmbient")[0]
    remaining = set(re.findall(r"^✗ (\w+)=", said, re.MULTILINE))
    assert remaining
    assert {name for name in remaining if name not in exceptions} == set()


# A life.


def test_it_has_started_once_it_listens_and_then_says_how_its_target_is(service, port):
    assert direct.get(f"http://127.0.0.1:{port}/metrics", 5)[0] == 200
    service.await_sentence("quay is up")
    assert 'Status: "quay is up"' in service("status").stdout


def test_a_wrong_password_is_told_in_the_status_and_a_right_one_is_taken(machine, service):
    secret = _inside(machine, _QUAY)
    service.await_sentence("quay is up")
    _write(secret, "wrong")
    service.await_sentence(r"quay: login failed, unauthorized \(credentials\)")
    _write(secret, PASSWORD)
    service.await_sentence("quay is up")


def test_a_reload_takes_a_good_file_and_fails_for_a_bad_one(machine, service, registry, port):
    """The bad one changes nothing; a new target with a new password takes no restart, and one that it can't read keeps
    no other back.
    """
    before = service.show("MainPID")
    service.await_sentence("quay is up")
    _write(_inside(machine, _ETC / "config.yml"), "bogus: 1")
    assert service("reload", check=False).returncode != 0
    service.await_sentence("quay is up; the last reload of the configuration was refused, see the log")
    errors = service.journal("--priority=err", "--identifier=registry-monitor")
    assert "bogus: unknown option" in errors
    assert "level=info" not in errors

    new = _QUAY.with_name("new")
    _configure(machine, registry, "renamed", port, _QUAY, others=[_target(registry, "new", new)])
    _write(_inside(machine, new), PASSWORD, mode=0o600)
    service("reload")
    service.await_sentence(r"1 of 2 targets is up; new: login failed, credential_helper \(config\)")
    checked = machine.run(_COMMAND, "-check-config", check=False)
    assert (checked.returncode, f"(new): password-file: {new} can't be read" in checked.stderr) == (2, True)
    _inside(machine, new).chmod(0o640)
    service.await_sentence("2 of 2 targets are up")
    assert service.show("MainPID") == before
    # As the service, it has the service's folder.
    once = machine.run(_COMMAND, "-once", check=False)
    assert (once.returncode, "belongs to another monitor that runs" in once.stderr) == (4, True)


def test_what_may_pass_is_tried_again_until_it_has(machine, service, registry, port):
    """A port that another has: exit code 4. Its password is a credential, which only root can read."""
    service("stop")
    credential = "$CREDENTIALS_DIRECTORY/password_quay"
    _write(_inside(machine, _QUAY), PASSWORD, mode=0o600)
    _configure(machine, registry, "quay", port, credential)
    assert f"  {credential}\n" in machine.run(_COMMAND, "-check-config").stdout
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        service("start", "--no-block")
        await_true(lambda: int(service.show("NRestarts")) > 0, _SOON, "it to be tried again")
        service.await_sentence("exit code 4; this may pass, and systemd tries again: .*can't listen on .*")
    service.await_sentence("quay is up")


def test_a_wrong_configuration_is_an_error_and_not_tried_again(machine, service):
    service("stop")
    _write(_inside(machine, _ETC / "config.yml"), "bogus: 1")
    assert service("start", check=False).returncode != 0
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "2")
    assert "bogus: unknown option" in service.journal("--priority=err")


def test_a_daemon_that_is_gone_is_no_reason_for_a_restart(service, engine):
    service.await_sentence("quay is up")
    before = service.show("MainPID")
    engine.pause()
    try:
        # By then the watchdog would have fired several times. The cycle under way may be over except for its clean-up,
        # which has its own deadline; the next one then runs into a step's, and asks the daemon.
        service.await_sentence(r"quay: \w+ failed, daemon \(host\); docker can't be used .*", 3 * _SOON)
    finally:
        engine.resume()
    service.await_sentence("quay is up")
    assert service.show("MainPID") == before


def test_one_that_is_frozen_is_killed_and_started_again(service):
    service.await_sentence("quay is up")
    before = service.show("MainPID")
    service("kill", "--kill-whom=main", "--signal=STOP")
    await_true(lambda: service.show("MainPID") not in (before, "0"), _SOON, "systemd to start it again")
    service.await_sentence("quay is up")
    assert "Failed with result 'watchdog'" in service.journal()


def test_it_stops_in_time_at_any_moment_and_leaves_nothing(machine, service, engine):
    for pause in (0.0, 0.2, 0.4):
        service("restart")
        service.await_sentence("quay is up")
        await_true(lambda: _ours(engine), _SOON, "an image of a cycle under way")
        time.sleep(pause)
        started = time.monotonic()
        service("stop")
        assert time.monotonic() - started < _STOP_SECONDS
        assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
        assert _ours(engine) == []


def test_after_a_crash_it_comes_back_and_removes_what_was_left(machine, service, engine):
    left = set()

    def crash_leaves_something():
        service("kill", "--kill-whom=all", "--signal=KILL", check=False)
        left.update(_ours(engine))
        return left

    await_true(lambda: _ours(engine) and crash_leaves_something(), _SOON, "a crash in the middle of a cycle")
    await_true(lambda: not left & set(_ours(engine)), _SOON, "what was left to be removed")
    folders = "ls -d /tmp/systemd-private-*-registry-monitor.service-*/tmp/registry-monitor-*"
    assert len(machine.run("sh", "-c", folders).stdout.split()) == 1
    service.await_sentence("quay is up")


@pytest.mark.everything
def test_an_upgrade_that_does_not_start_is_taken_back_and_one_that_does_is_used(machine, service):
    service.await_sentence("quay is up")
    before, releases = service.show("MainPID"), _releases(machine)
    configuration = _inside(machine, _ETC / "config.yml").read_text()
    module = _inside(machine, _CLONE / "lib/monitor.py")
    whole = module.read_text()
    # As the first installer made it.
    passwords = _inside(machine, _QUAY.parent)
    shutil.chown(passwords, 0, 0)
    passwords.chmod(0o700)

    module.write_text("raise SystemExit(1)\n")
    refused = _install(machine, check=False)
    assert refused.returncode == 1
    assert "what ran before was put back" in refused.stderr
    service.await_sentence("quay is up")
    assert _releases(machine) == releases
    broken = service.show("MainPID")

    module.write_text(whole)
    assert "is installed, and runs" in _install(machine).stderr
    service.await_sentence("quay is up")
    assert len({before, broken, service.show("MainPID")}) == 3
    assert len(_releases(machine)) == 1
    assert _releases(machine) != releases
    assert _inside(machine, _ETC / "config.yml").read_text() == configuration
    assert (stat.S_IMODE(passwords.stat().st_mode), passwords.stat().st_gid) == (0o2750, _group(machine))


def test_a_stuck_worker_is_not_hidden_by_all_else_that_works(stuck):
    await_true(lambda: stuck.show("Result") == "watchdog", _STUCK_SECONDS, "the watchdog to bite")
    assert "stopped feeding the watchdog" in stuck.journal("--priority=err")
    assert re.search(r"worker of stuck: stuck, no sign of it for \d+ s", stuck.journal())


@pytest.mark.everything
def test_an_upgrade_from_the_first_release_goes_on_and_the_way_back_loses_nothing(machine, service, registry, port):
    """With the password as its README said. The history is taken over; the first release sets aside what it can't read,
    says so, and begins a new one; put back, the old one goes on.
    """
    service("stop")
    state = _inside(machine, _STATE)
    shutil.rmtree(state)
    first = machine.root / "srv/first"
    first.mkdir()
    archive = subprocess.run(("git", "archive", _FIRST_RELEASE), cwd=_PROJECT, capture_output=True, check=True).stdout
    subprocess.run(("tar", "--extract", f"--directory={first}"), input=archive, check=True)
    _inside(machine, _QUAY).chmod(0o600)
    _configure(machine, registry, "quay", port, "$CREDENTIALS_DIRECTORY/password_quay")

    def install_first():
        return machine.run("sh", "/srv/first/deploy/systemd/install.sh").stderr

    def standing():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status?format=json", timeout=5) as answer:
            return json.load(answer)["targets"][0]

    assert "is installed; it does not run" in install_first()
    service("start")
    service.await_sentence("quay is up")
    before = standing()

    assert "is installed, and runs" in _install(machine).stderr
    assert "the history of an older version was taken over; that version would set it aside" in service.journal()
    service.await_sentence("quay is up")
    await_true(lambda: standing()["last_cycle"]["started"] > before["last_cycle"]["started"], _SOON, "a cycle")
    assert standing()["since"] == before["since"]

    assert "is installed, and runs" in install_first()
    assert re.search(r"the history can't be used, and was set aside.*its schema has the version \d", service.journal())
    service.await_sentence("quay is up")
    assert standing()["since"] > before["since"]
    (aside,) = state.glob("history-set-aside-*.sqlite3")

    service("stop")
    assert "is installed; it does not run" in _install(machine).stderr
    aside.replace(state / "history.sqlite3")
    service("start")
    service.await_sentence("quay is up")
    assert standing()["since"] == before["since"]


# The end.


def test_uninstalling_keeps_what_is_the_administrators_unless_it_is_to_be_purged(machine, unit):
    _install(machine, "--uninstall")
    assert unit.show("LoadState") == "not-found"
    kept = [_ETC / "config.yml", _QUAY, Path("/var/lib/registry-monitor/history.sqlite3")]
    assert [path for path in kept if not _inside(machine, path).exists()] == []
    assert [path for path in (_OPT, _COMMAND) if _inside(machine, path).exists()] == []

    _install(machine, "--uninstall", "--purge")
    found = machine.run("find", "/etc", "/opt", "/usr", "/var/lib", "-xdev", "-name", "*registry-monitor*").stdout
    assert found == ""
    assert machine.run("getent", "passwd", "registry-monitor", check=False).returncode != 0
