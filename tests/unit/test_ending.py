"""Exit codes: what scripts and service managers can trust, whatever is closed, full, taken or broken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lib.ending import NOT_NOW, USAGE, CantRun, NotNow, ended_by
from lib.options import OptionsError

PROGRAM = Path(__file__).resolve().parents[2] / "monitor.py"
SECONDS = 60

FULL = "No space left on device"
CLOSED = "Bad file descriptor"


@pytest.fixture
def command(tmp_path):
    """Given options, and what a shell is to make of the streams, return what runs the program; its docker fails."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)

    def command(*options, streams="", **env):
        argv = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, PROGRAM]
        argv += [f"-docker={docker}", "-repository=a.example/b", *options]
        return {"args": argv, "env": {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **env}}

    return command


@pytest.fixture
def run(command):
    """Given the same, run it to its end, and return the result."""

    def run(*options, **more):
        return subprocess.run(**command(*options, **more), capture_output=True, text=True, timeout=SECONDS, check=False)

    return run


@pytest.fixture
def manager(tmp_path):
    """A service manager, to which the program reports its state."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        yield manager


@pytest.mark.parametrize("asked", ["-version", "-help", "-check-config", "-once", "-once -output=json"])
@pytest.mark.parametrize(("streams", "why"), [(">/dev/full", FULL), (">&-", CLOSED)], ids=["full", "closed"])
def test_what_was_asked_for_and_cant_be_printed_is_4(run, asked, streams, why):
    done = run(*asked.split(), streams=streams)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("time=")]
    assert (done.returncode, lines) == (4, [f"registry-monitor: the output can't be written: {why}"])


@pytest.mark.parametrize(("options", "code"), [(["-once"], 3), (["-bogus"], 2), (["-version"], 0)])
@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_an_error_stream_that_takes_nothing_changes_no_exit_code(run, options, code, streams):
    assert run(*options, streams=streams).returncode == code


@pytest.mark.parametrize("streams", ["2>/dev/full", ">&- 2>&- <&-"])
def test_a_monitor_runs_and_ends_in_order_whatever_its_streams_are(command, manager, streams):
    with subprocess.Popen(
        **command("-listen=127.0.0.1:0", streams=streams, NOTIFY_SOCKET=manager.getsockname())
    ) as monitor:
        assert manager.recv(4096).startswith(b"READY=1")
        monitor.terminate()
        assert monitor.wait(SECONDS) == 0


def test_a_reader_that_is_gone_leaves_the_verdicts_exit_code(run):
    assert run("-once", streams="| true; exit 3").returncode == 3


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:{port}", "Address already in use"), ("192.0.2.1:8000", "Cannot assign requested")]
)
def test_an_address_that_cant_be_had_now_is_4(run, address, why):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = address.format(port=taken.getsockname()[1])
        done = run(f"-listen={address}")
    assert done.returncode == 4
    assert done.stderr.startswith(f"registry-monitor: can't listen on {address}: {why}")
    assert len(done.stderr.splitlines()) == 1


def test_why_it_cant_begin_is_told_to_the_service_manager_too(run, manager):
    run("-listen=192.0.2.1:8000", NOTIFY_SOCKET=manager.getsockname())
    told = manager.recv(4096).decode()
    assert told.startswith(
        "STATUS=exit code 4; this may pass, and systemd tries again: registry-monitor: can't listen on "
    )


def test_what_is_missing_in_the_program_itself_is_no_traceback(run, tmp_path):
    (tmp_path / "configargparse.py").write_text("raise ImportError('not installed')\n")
    done = run(PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (4, "registry-monitor: it can't run here now: not installed\n")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OptionsError(["one", "two"]), USAGE, "one\ntwo"),
        (CantRun("never"), USAGE, "never"),
        (NotNow("not now"), NOT_NOW, "registry-monitor: not now"),
        (OSError(28, FULL, "/tmp/x"), NOT_NOW, f"registry-monitor: it can't run here now: [Errno 28] {FULL}: '/tmp/x'"),
        (MemoryError(), NOT_NOW, "registry-monitor: it can't run here now: MemoryError"),
        (KeyboardInterrupt(), 128 + signal.SIGINT, ""),
        (
            RuntimeError("can't start new thread"),
            NOT_NOW,
            "registry-monitor: can't start new thread; raise the limit on processes of this user, service or container",
        ),
        (
            ValueError("hunter2"),
            NOT_NOW,
            "registry-monitor: this is a fault in the monitor itself: ValueError (nowhere)",
        ),
    ],
)
def test_each_kind_of_fault_has_its_code_and_words(error, code, words):
    assert ended_by(error) == (code, words)


def test_a_fault_of_its_own_says_where_and_never_what_it_was_about():
    with pytest.raises(KeyError) as raised:
        {}["hunter2"]
    code, words = ended_by(raised.value)
    assert code == 4
    assert words.startswith("registry-monitor: this is a fault in the monitor itself: KeyError (test_ending.py:")
