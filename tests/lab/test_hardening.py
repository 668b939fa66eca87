"""Hardening: what an attacker, or an unlucky moment, tries on the monitor as a program."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from lab.daemon import await_true
from lab.monitor import PROGRAM, SOON, Monitor, once
from lab.small_world import DOCKER, SmallWorld
from lab.target import PASSWORD, USER, login

ONE = "repository: registry.example/hardening/one\nrun-test-every: 500ms\n"


@pytest.fixture
def world(tmp_path):
    return SmallWorld(tmp_path / "world")


@pytest.mark.parametrize(
    "text",
    [
        # As many as a thousand million values, were the aliases followed.
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)),
        "targets: " + "[" * 200_000,
        "targets: " + "{a: " * 100_000,
        "? " * 300_000,
        "x" * 3_000_000,
    ],
    ids=["anchors", "lists", "mappings", "keys", "long"],
)
@pytest.mark.parametrize("option", ["config", pytest.param("web-config", marks=pytest.mark.everything)])
def test_yaml_that_is_made_to_take_all_memory_is_refused_in_a_sentence(tmp_path, option, text):
    path = tmp_path / "bomb.yml"
    path.write_text(text)
    argv = (*PROGRAM, "-check-config", f"-{option}={path}", *(["-repository=q.io/r"] if option != "config" else []))
    limit = 400 * 2**20
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("thread", [0, 1])
def test_sigterm_ends_a_reload_that_never_ends(tmp_path, world, thread):
    """The new configuration is a pipe into which nobody writes. The kernel can hand a signal to any thread."""
    config = tmp_path / "config.yml"
    config.write_text(ONE)
    with Monitor(tmp_path, world, f"-config={config}", f"-docker={DOCKER}") as monitor:
        monitor.await_status(200)
        config.unlink()
        os.mkfifo(config)
        os.kill(monitor.pid, signal.SIGHUP)
        opened = []

        def is_being_read():
            with suppress(OSError):
                opened.append(os.open(config, os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        await_true(is_being_read, SOON, "the reload to read")
        assert monitor.get("/status")[0] == 200
        threads = sorted(int(task.name) for task in Path(f"/proc/{monitor.pid}/task").iterdir())
        assert ctypes.CDLL(None).tgkill(monitor.pid, threads[thread], signal.SIGTERM) == 0
        state = Path(f"/proc/{monitor.pid}/stat")
        await_true(lambda: state.read_text().rpartition(") ")[2].startswith("Z"), SOON, "it to end")
        code = monitor.stop()
        os.close(opened[0])
    assert code == 0
    assert "stopping" in monitor.log.read_text()
    assert not [path for path in world.folder.iterdir() if path.name.startswith("registry-monitor-")]


def test_no_core_is_dumped_whatever_the_limit_it_is_started_with(tmp_path, world):
    """It would hold passwords."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        with (tmp_path / "log").open("wb") as log:
            process = world.start(log, "-repository=registry.example/hardening/one")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    await_true(lambda: "watching" in (tmp_path / "log").read_text(), SOON, "the monitor")
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == -signal.SIGABRT
    assert not os.WCOREDUMP(status)


def test_links_that_others_planted_lead_nowhere(tmp_path, world):
    """In a state-dir and a folder for metrics to which somebody else can write, and among temporary files."""
    state, textfiles, theirs = tmp_path / "state", tmp_path / "textfiles", tmp_path / "theirs"
    for folder in (state, textfiles, theirs):
        folder.mkdir(mode=0o777)
    victim = theirs / "victim"
    victim.write_text("precious")
    links = [state / name for name in ("history.sqlite3", "history.sqlite3-wal", "lock")]
    links += [textfiles / "m.prom", world.folder / f"registry-monitor-{'0' * 32}"]
    for number, link in enumerate(links):
        link.symlink_to(victim if number > 1 else theirs / f"new-{number}")
    options = ("-repository=registry.example/hardening/one", f"-docker={DOCKER}", "-run-test-every=500ms")
    files = (f"-state-dir={state}", f"-metrics-file={textfiles / 'm.prom'}")
    with Monitor(tmp_path, world, *options, *files) as monitor:
        monitor.await_status(200)
        await_true(lambda: not links[3].is_symlink(), SOON, "the metrics")
    assert victim.read_text() == "precious"
    assert [path.name for path in theirs.iterdir()] == ["victim"]
    assert stat.S_ISREG((textfiles / "m.prom").lstat().st_mode)
    assert "the history can't be written" in monitor.log.read_text()


def test_a_private_folder_that_another_user_put_in_the_place_of_ours_is_not_used(tmp_path, world):
    """A cleaner of temporary files removed ours, whose name was known. Into theirs, the next login would be written."""
    options = (
        "-repository=registry.example/hardening/one",
        f"-docker={DOCKER}",
        "-username=u",
        f"-password={PASSWORD}",
    )
    with Monitor(tmp_path, world, *options, "-run-test-every=500ms", "-retry-every=500ms") as monitor:
        monitor.await_status(200)
        monitor.pause()
        (ours,) = world.folder.glob("registry-monitor-*")
        inside = [path.relative_to(ours) for path in ours.rglob("*") if path.is_dir()]
        shutil.rmtree(ours)
        for path in (ours, *(ours / name for name in inside)):
            path.mkdir(mode=0o777)
            shutil.chown(path, 65534)
        monitor.resume()
        await_true(lambda: monitor.verdict()[:2] == (503, "unknown"), SOON, "the monitor to refuse it")
        seen = [path for path in ours.rglob("*") if path.is_file()]
        told = monitor.get("/status")[1]
        shutil.rmtree(ours)
        monitor.await_status(200)
    assert seen == []
    assert "belongs to another user" in told


def test_what_an_image_tells_strangers_is_what_tells_it_from_others(engine, repository):
    """Neither this host's name nor its users, folders or environment; of the target, only its name."""
    (cycle,) = once(engine, *login(repository))[1]
    engine.docker("login", f"--username={USER}", "--password-stdin", repository.split("/")[0], stdin=PASSWORD.encode())
    engine.docker("pull", repository)
    try:
        (image,) = json.loads(engine.docker("image", "inspect", repository).stdout)
        pushed = {key: image.get(key) for key in ("Config", "ContainerConfig", "Comment", "Author")}
        text = json.dumps(pushed) + engine.docker("history", "--no-trunc", repository).stdout
    finally:
        engine.docker("rmi", repository)
        engine.docker("logout", repository.split("/")[0])
    assert cycle["verdict"] == "up"
    labels = image["Config"]["Labels"]
    assert labels.keys() == {f"registry-monitor.{name}" for name in ("target", "instance", "token", "created")}
    for secret in (PASSWORD, os.fspath(engine.env["DOCKER_CONFIG"]), "/tmp/"):
        assert secret not in text
    assert not image["Author"]
    assert image["Config"]["Hostname"] in ("", None)


@pytest.mark.everything
def test_a_cli_that_is_replaced_while_it_runs_is_nobody_elses_fault(engine, repository, tmp_path):
    """Being written, cut short, not yet executable, gone: `unknown`, `cli`, never `down`; and up once it is back."""
    binary = shutil.which("docker", path=engine.env["PATH"])
    cli, new = tmp_path / "docker", tmp_path / "new"
    shutil.copy(binary, cli)
    options = (*login(repository), "-run-test-every=200ms", "-retry-every=200ms", f"-docker={cli}")
    with Monitor(tmp_path, engine, *options, "-log-format=json", "-loglevel=debug") as monitor:

        def replace(content, mode=0o755):
            new.write_bytes(content)
            new.chmod(mode)
            new.rename(cli)

        def await_verdict(code, verdict, reason):
            await_true(lambda: monitor.verdict() == (code, verdict, reason), SOON, f"{verdict}, {reason}")

        whole = (tmp_path / "docker").read_bytes()
        monitor.await_status(200)
        replace(whole)
        begun = monitor.successes()
        await_true(lambda: monitor.successes() > begun + 2, SOON, "cycles with the new one")
        for content, mode in ((b"", 0o755), (whole[: len(whole) // 10], 0o755), (whole, 0o644)):
            replace(content, mode)
            await_verdict(503, "unknown", "cli")
            replace(whole)
            await_verdict(200, "up", None)
        with (tmp_path / "new").open("wb") as file:
            # As `cp` does it: while it is written, nobody can run it.
            file.write(whole)
            new.chmod(0o755)
            new.rename(cli)
            await_verdict(503, "unknown", "cli")
        await_verdict(200, "up", None)
        cli.unlink()
        await_verdict(503, "unknown", "cli")
        # With it, it also leaves nothing behind.
        replace(whole)
        await_verdict(200, "up", None)
    assert '"verdict":"down"' not in monitor.log.read_text().replace(" ", "")
