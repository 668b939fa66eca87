"""The lab itself: it works, twice and side by side, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

import lab.port
from lab.archive import file_system
from lab.certificates import Authority
from lab.daemon import LabError
from lab.engine import Engine
from lab.environment import lab_environment
from lab.folder import mounts, new_folder, processes, remove_dead
from lab.port import Port
from lab.registry import Registry, Tls, TokenAuth
from lab.session import Lab

_ROOT = Path(__file__).resolve().parents[2]

_CHILD = """
from lab.engine import Engine
from lab.registry import Registry
from lab.session import Lab
import signal
with Lab() as lab:
    engine = lab.enter(Engine(lab.folder / "engine"))
    registry = lab.enter(Registry(lab.folder / "registry", users={"monitor": "secret"}))
    print(lab.folder, registry.host, flush=True)
    signal.pause()
"""


def _start_child():
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _folder_and_host(child):
    folder, host = child.stdout.readline().split()
    return Path(folder), host


def _is_gone(folder):
    return not folder.exists() and not mounts(folder) and not processes(folder)


def _push(engine, reference):
    engine.docker("import", "-", reference, stdin=file_system(reference))
    engine.docker("push", reference)
    engine.docker("rmi", reference)


@pytest.fixture
def open_registry(session_lab, tmp_path):
    """A registry that is open to all."""
    with Registry(tmp_path / "registry") as registry:
        yield registry


def test_the_log_tells_what_a_push_and_a_pull_moved(engine, registry, repository, docker):
    path = repository.removeprefix(f"{registry.host}/")
    docker("login", "--username=monitor", "--password-stdin", registry.host, stdin=b"secret")
    try:
        _push(engine, repository)
        put = registry.blobs_put(path)
        assert len(put) == 2  # a layer and the configuration
        assert registry.manifests_put(path) == ["latest"]
        assert registry.blobs_got(path) == []
        docker("pull", repository)
        assert sorted(registry.blobs_got(path)) == sorted(put)
        assert all(access.user_agent.startswith("docker/") for access in registry.accesses(path))
    finally:
        docker("rmi", repository, check=False)
        docker("logout", registry.host)


def test_without_a_login_the_registry_refuses(repository, docker):
    assert "no basic auth credentials" in docker("pull", repository, check=False).stderr


def test_a_snapshot_shows_what_is_added_and_that_it_is_gone(docker, snapshot):
    before = snapshot()
    docker("import", "-", "snapshot/image:1", stdin=file_system("content"))
    docker("volume", "create", "snapshot-volume")
    docker("create", "--name=snapshot-container", "snapshot/image:1", "command")
    during = snapshot()
    docker("rm", "snapshot-container")
    docker("volume", "rm", "snapshot-volume")
    docker("rmi", "snapshot/image:1")
    assert len(during.images - before.images) == 1
    assert len(during.containers - before.containers) == 1
    assert during.volumes - before.volumes == {"snapshot-volume"}
    assert during.disk != before.disk
    assert during.data_files > before.data_files
    assert snapshot() == before


def test_a_second_lab_beside_the_first_is_its_own_and_leaves_the_first_alone(engine, registry, docker):
    docker("import", "-", "first/image:1", stdin=file_system("content"))
    try:
        with Lab() as second:
            other = second.enter(Engine(second.folder / "engine"))
            other_registry = second.enter(Registry(second.folder / "registry"))
            assert other.host != engine.host
            assert other_registry.host != registry.host
            assert other.docker("images", "--quiet").stdout == ""
        assert _is_gone(second.folder)
        assert docker("images", "--quiet").stdout
        assert registry.answers()
    finally:
        docker("rmi", "first/image:1")


def test_labs_that_start_at_the_same_moment_do_not_meet():
    children = [_start_child() for _ in range(3)]
    try:
        started = [_folder_and_host(child) for child in children]
        assert len({folder for folder, _ in started}) == len({host for _, host in started}) == 3
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            child.communicate()
    assert all(_is_gone(folder) for folder, _ in started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_lab_that_is_ended_by_a_signal_leaves_nothing(number):
    child = _start_child()
    folder, _ = _folder_and_host(child)
    assert processes(folder)
    child.send_signal(number)
    child.communicate()
    assert child.returncode != 0
    assert _is_gone(folder)


def test_what_a_killed_lab_leaves_is_removed_by_the_next_and_a_living_one_is_not(session_lab, engine):
    child = _start_child()
    folder, _ = _folder_and_host(child)
    child.kill()
    child.communicate()
    assert processes(folder)
    assert mounts(folder)
    remove_dead()
    assert _is_gone(folder)
    assert session_lab.folder.exists()
    assert engine.answers()


def test_a_lab_that_fails_leaves_nothing():
    lab = Lab()

    def fail():
        with lab:
            lab.enter(Engine(lab.folder / "engine"))
            raise RuntimeError("of the test")

    with pytest.raises(RuntimeError, match="of the test"):
        fail()
    assert _is_gone(lab.folder)


def test_a_folder_taken_away_before_it_was_locked_is_made_again(monkeypatch):
    lock = os.open

    def open_and_lose(path, flags):
        monkeypatch.undo()
        descriptor = lock(path, flags)
        Path(path).rmdir()
        return descriptor

    monkeypatch.setattr("lab.folder.os.open", open_and_lose)
    folder, descriptor = new_folder()
    assert folder.is_dir()
    os.close(descriptor)
    remove_dead()
    assert not folder.exists()


def test_an_engine_that_does_not_start_says_why(session_lab):
    with pytest.raises(LabError, match="unknown flag: --no-such-option"):
        Engine(session_lab.folder / "broken", options=["--no-such-option"]).start()
    with pytest.raises(LabError, match="no-such-dockerd: No such file"):
        Engine(session_lab.folder / "missing", dockerd=["no-such-dockerd"]).start()
    with pytest.raises(LabError, match="too long for a socket"):
        Engine(session_lab.folder / ("long" * 25))


def test_a_failed_command_says_why(engine):
    with pytest.raises(LabError, match=r"docker inspect nothing exited with 1: .*No such object: nothing"):
        engine.docker("inspect", "nothing")


def test_an_engine_can_be_stopped_killed_and_paused(session_lab):
    with Engine(session_lab.folder / "second") as engine:
        engine.docker("import", "-", "kept/image:1", stdin=file_system("content"))
        image = engine.docker("images", "--quiet").stdout
        engine.stop()
        assert not engine.answers()
        with pytest.raises(LabError, match="does not run"):
            _ = engine.pid
        engine.start()
        engine.kill()
        assert not engine.answers()
        engine.start()
        engine.pause()
        with pytest.raises(subprocess.TimeoutExpired):
            engine.docker("version", seconds=0.5)
        engine.resume()
        assert engine.docker("images", "--quiet").stdout == image
        engine.pause()
    assert _is_gone(engine.folder)


def test_an_engine_inside_an_overlay_works(session_lab, tmp_path):
    """In a container, the lab's folder is on an overlay, on which there can't be another."""
    with Lab() as lab:
        layers = lab.folder / "layers"
        outer = lab.folder / "outer"
        for folder in (layers, outer):
            folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "layers", layers], check=True)
        for name in ("lower", "upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
        subprocess.run(["mount", "-t", "overlay", "outer", "-o", options, outer], check=True)
        engine = lab.enter(Engine(outer / "engine"))
        assert engine.docker("info", "--format={{.Driver}}").stdout.strip() != "overlay2"
        registry = lab.enter(Registry(outer / "registry"))
        _push(engine, f"{registry.host}/inside")
        assert engine.docker("pull", f"{registry.host}/inside").returncode == 0
    assert _is_gone(lab.folder)


def test_a_registry_keeps_its_port_and_what_was_pushed(engine, open_registry):
    image = f"{open_registry.host}/kept"
    _push(engine, image)
    open_registry.stop()
    assert not open_registry.answers()
    open_registry.start()
    engine.docker("pull", image)
    engine.docker("rmi", image)


def test_a_registry_forgets_a_tag_or_all(engine, open_registry):
    first, second = f"{open_registry.host}/first", f"{open_registry.host}/second"
    open_registry.wipe()
    _push(engine, first)
    _push(engine, second)
    open_registry.delete_tag("first", "latest")
    assert "manifest unknown" in engine.docker("pull", first, check=False).stderr
    engine.docker("pull", second)
    engine.docker("rmi", second)
    open_registry.wipe()
    assert "manifest unknown" in engine.docker("pull", second, check=False).stderr


def test_a_registry_can_refuse_writes(engine, open_registry):
    image = f"{open_registry.host}/refused"
    engine.docker("import", "-", image, stdin=file_system("content"))
    open_registry.readonly = True
    open_registry.stop()
    open_registry.start()
    assert engine.docker("push", image, check=False).returncode != 0
    assert open_registry.blobs_put() == []
    open_registry.readonly = False
    open_registry.stop()
    open_registry.start()
    engine.docker("push", image)
    engine.docker("rmi", image)


def test_a_registry_lets_other_users_in_at_once(engine, session_lab, tmp_path):
    def login(password):
        return engine.docker(
            "login", "--username=monitor", "--password-stdin", registry.host, stdin=password, check=False
        ).returncode

    with Registry(tmp_path / "registry", users={"monitor": "old"}) as registry:
        assert login(b"old") == 0
        registry.set_users({"monitor": "new"})
        assert login(b"old") != 0
        assert login(b"new") == 0
        engine.docker("logout", registry.host)


def test_a_registry_can_speak_tls_and_ask_for_tokens(session_lab, tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("127.0.0.1")
    tls = Tls(certificate, key=certificate)
    token = TokenAuth("https://tokens.example/token", "the lab", "its issuer", authority.certificate)
    with Registry(tmp_path / "registry", tls=tls, token=token) as registry:
        trusting = ssl.create_default_context(cafile=authority.certificate)
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"https://{registry.host}/v2/", context=trusting)
        with answer.value as refused:
            assert refused.code == 401
            assert refused.headers["WWW-Authenticate"] == (
                'Bearer realm="https://tokens.example/token",service="the lab"'
            )


def test_a_port_is_given_once_and_not_when_somebody_listens_there(monkeypatch):
    with Port() as first, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        taken = listening.getsockname()[1]
        free = first.number
        wanted = [first.number, taken]
        monkeypatch.setattr(lab.port.random, "sample", lambda population, size: wanted)
        with pytest.raises(LabError, match="no free port"):
            Port()
    wanted = [free]
    with Port() as again:
        assert again.number == free


def test_the_callers_settings_do_not_reach_into_the_lab(monkeypatch, tmp_path):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "https_proxy", "HTTP_PROXY", "REGISTRY_HTTP_ADDR", "UNDER_DOCKER"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PATH", "/bin")
    env = lab_environment(tmp_path)
    assert "x" not in env.values()
    assert env["PATH"].split(":") == ["/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]


def test_the_lab_must_be_run_as_root(monkeypatch):
    monkeypatch.setattr("lab.session.os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="must be run as root"):
        Lab().__enter__()


@pytest.mark.parametrize("target", ["missing", "file", "link"])
def test_what_only_looks_like_a_dead_lab_is_left_alone(target, tmp_path):
    path = Path(f"/tmp/registry-monitor-lab.test-{os.getpid()}")
    kept = tmp_path / "kept"
    kept.mkdir()
    match target:
        case "file":
            path.write_text("")
        case "link":
            path.symlink_to(kept)
        case "missing":
            path.symlink_to(tmp_path / "nowhere")
    try:
        remove_dead()
        assert os.path.lexists(path)
        assert kept.exists()
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
