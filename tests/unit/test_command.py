"""A command is run as it is given, ends within its deadline with all that it started, and gives nothing away."""

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from itertools import count
from pathlib import Path

import pytest

from lib import command
from lib.command import Command, CommandError, Completed, Ending, ShRunner, Stopped
from lib.secret import Secret
from lib.tail import TAIL_BYTES
from tests.unit.support import PASSWORD

FAKE = Path(__file__).parent.parent / "fakes" / "docker"

#: Longer than any test may take: only a deadline or a stop can end it.
LONG = 60.0

#: Long enough for the fake docker to be under way on a busy machine.
DEADLINE = 0.7


class FakeDocker:
    """The fake docker of one test: its script, and what it was given."""

    def __init__(self, state):
        self.state = state
        self.env = {"PATH": f"{state}:{os.environ['PATH']}", "FAKE_DOCKER": str(state)}
        self.script({})
        # Under the very interpreter of the tests, and without its site packages: it starts fast and adds nothing.
        _, _, text = FAKE.read_text().partition("\n")
        (state / "docker").write_text(f"#!{sys.executable} -SI\n{text}")
        (state / "docker").chmod(0o755)

    def script(self, runs):
        (self.state / "script.json").write_text(json.dumps(runs))

    def acts(self, *acts):
        """Script what every call does."""
        self.script({"*": [list(acts)]})

    def command(self, *arguments, deadline=LONG, **more):
        return Command(("docker", *(arguments or ("pull", "image"))), self.env, deadline, **more)

    @property
    def calls(self):
        return [json.loads(path.read_text()) for path in sorted(self.state.glob("call-*.json"))]

    @property
    def child(self):
        return int((self.state / "child").read_text())

    def wait_for(self, name):
        give_up = time.monotonic() + LONG
        while not (self.state / name).exists():
            assert time.monotonic() < give_up, f"{name} never came"
            time.sleep(0.01)


@pytest.fixture
def docker(tmp_path):
    return FakeDocker(tmp_path)


@pytest.fixture
def run():
    return ShRunner()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def is_gone(pid):
    """Given a process, return whether it ends soon: a kill takes the kernel a moment."""
    give_up = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    return not is_alive(pid)


def descriptors():
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def is_inheritable(descriptor):
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # it was the one that read the folder
        return False


def prints(text, to="stdout", times=1):
    return {"act": "print", "text": text, "to": to, "times": times}


READY = {"act": "ready"}
SLEEP = {"act": "sleep", "seconds": LONG}


# What goes in.


def test_a_command_gets_its_arguments_and_environment_and_nothing_else(docker, run, monkeypatch):
    """The child's environment is the given one, whatever is in the monitor's own."""
    monkeypatch.setenv("REGISTRY_MONITOR_PASSWORD", PASSWORD)
    arguments = ("push", "a b", "*", "$HOME", "", "'\"", "é")

    run(docker.command(*arguments))

    (call,) = docker.calls
    assert call["argv"] == list(arguments)
    python_adds = {"LC_CTYPE"}  # PEP 538, in the fake itself
    assert {name: value for name, value in call["env"].items() if name not in python_adds} == docker.env


def test_standard_input_is_exactly_the_password_and_then_closed(docker, run):
    """What the child reads up to the end is the password, without a line end, on no argv and in no environment."""
    docker.acts({"act": "read"})
    password = f'{PASSWORD} $`\\" é'

    completed = run(docker.command("login", "--password-stdin", "host", stdin=Secret(password)))

    (call,) = docker.calls
    assert bytes.fromhex(call["stdin"]).decode() == password
    assert completed.ok
    assert PASSWORD not in json.dumps([call["argv"], call["env"]])


def test_standard_input_is_empty_where_none_is_given(docker, run):
    """A command that reads its input meets the end at once, and never the monitor's own input."""
    docker.acts({"act": "read"})

    run(docker.command())

    assert docker.calls[0]["stdin"] == ""


def test_a_command_need_not_read_its_input(docker, run):
    """A docker that fails before it reads the password is a failed command, not a broken pipe."""
    docker.acts(prints("Cannot connect\n", "stderr"), {"act": "exit", "code": 1})

    completed = run(docker.command("login", stdin=Secret("p" * 65536)))

    assert (completed.exit_code, completed.stderr) == (1, "Cannot connect\n")


def test_a_command_has_a_session_of_its_own_and_no_terminal_and_no_descriptor_of_ours(docker, run, tmp_path):
    """A signal to the monitor's group does not reach it, docker draws no bars, and no open file leaks into it."""
    with (tmp_path / "open").open("w"):
        inherited = {number for number in descriptors() if is_inheritable(number)}
        run(docker.command())

    (call,) = docker.calls
    assert call["session"] == call["group"] == call["pid"] != os.getpid()
    assert call["terminals"] == []
    assert set(call["descriptors"]) == inherited | {0, 1, 2}  # those that somebody gave to the tests themselves


# What comes out.


def test_both_outputs_and_the_exit_code_are_kept_apart(docker, run):
    """A failed command gives its code and both of its outputs, and is not ok."""
    docker.acts(prints("progress\n"), prints("denied\n", "stderr"), {"act": "exit", "code": 125})

    completed = run(docker.command())

    assert (completed.exit_code, completed.stdout, completed.stderr) == (125, "progress\n", "denied\n")
    assert completed.ending is Ending.ITSELF
    assert not completed.ok


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_of_megabytes_of_output_the_end_is_kept(docker, run, stream):
    """Unbounded output takes bounded memory, in whole lines, and its end, which has the error, is intact."""
    docker.acts(prints("0123456789abcde\n", stream, times=250_000), prints("the error\n", stream))

    completed = run(docker.command())

    kept = getattr(completed, stream)
    assert TAIL_BYTES - len("0123456789abcde\n") <= len(kept) <= TAIL_BYTES
    assert kept.startswith("0123456789abcde\n")
    assert kept.endswith("0123456789abcde\nthe error\n")
    assert completed.ok
    assert [list(arrivals.lines()) for arrivals in completed.arrivals] == [[], []]


def test_of_one_endless_line_the_end_is_kept(docker, run):
    """A line without an end is bounded as well. It is cut by half, since a secret can be where it was torn off."""
    docker.acts(prints("x" * 1000, times=4000), prints("the end"))

    completed = run(docker.command())

    assert len(completed.stdout) == TAIL_BYTES // 2
    assert completed.stdout.endswith("xthe end")


def test_output_that_is_no_utf_8_is_replaced_sign_by_sign(docker, run):
    """Bytes that are not text never raise, and leave the text around them intact."""
    docker.acts({"act": "bytes", "hex": b"before \xff\xc3( after\n".hex()})

    assert run(docker.command()).stdout == "before \ufffd\ufffd( after\n"


def test_a_letter_is_whole_wherever_the_output_is_cut_for_reading(docker, run):
    """Letters of several bytes survive, however they fall onto the buffers that output is read in."""
    docker.acts(prints("a"), prints("é" * 50_000))

    assert run(docker.command()).stdout == "a" + "é" * 50_000


def test_a_crash_is_its_signal(docker, run):
    """If somebody else's signal ends docker, the exit code is minus that signal, and it ended by itself."""
    docker.acts({"act": "die", "signal": signal.SIGKILL})

    completed = run(docker.command())

    assert (completed.exit_code, completed.ending, completed.ok) == (-signal.SIGKILL, Ending.ITSELF, False)


def test_seconds_are_those_of_the_command(docker, run, monkeypatch):
    """What it takes to start the program is not its time."""
    docker.acts({"act": "sleep", "seconds": 0.3})
    monkeypatch.setattr(command, "_die_with_monitor", lambda: time.sleep(0.5))

    begun = time.monotonic()
    seconds = run(docker.command()).seconds

    assert 0.3 <= seconds <= time.monotonic() - begun - 0.5


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_each_line_is_noted_when_it_comes(docker, run, stream):
    """Even the first of a command that prints at once, in pieces: none is kept back until there is more to read."""
    pause = {"act": "sleep", "seconds": 1.0}
    docker.acts(prints("a: ", stream), prints("begun\n", stream), pause, prints("é\nend\nno end", stream))

    completed = run(docker.command())

    of_stdout, of_stderr = (list(arrivals.lines()) for arrivals in completed.arrivals)
    begun, ended, last = of_stdout or of_stderr
    assert not (of_stdout and of_stderr)
    assert (begun[1], ended[1], last[1]) == ("a: begun", "é", "end")
    assert 0 < begun[0] < ended[0] - 0.5
    assert ended[0] == last[0] < completed.seconds + 0.5


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_is_set_while_a_command_starts_hardly_changes_its_seconds(docker, run, monkeypatch, step):
    docker.acts({"act": "sleep", "seconds": 0.3})
    times = count(time.time(), step)
    monkeypatch.setattr(time, "time", lambda: next(times))

    begun = time.monotonic()
    seconds = run(docker.command()).seconds

    assert 0.3 <= seconds <= time.monotonic() - begun


# What can't be started.


def test_a_missing_program_is_named(run, tmp_path):
    """A missing program is reported by name, and by where it was looked for."""
    with pytest.raises(CommandError, match=r"^docker: not found on PATH \(.*\)$"):
        run(Command(("docker", "login", PASSWORD), {"PATH": str(tmp_path)}, LONG))
    with pytest.raises(CommandError, match=r"^/nowhere/docker: not found$"):
        run(Command(("/nowhere/docker",), {"PATH": str(tmp_path)}, LONG))


def test_the_program_is_looked_for_on_the_childs_path_alone(run):
    """Without a PATH in the child's environment the monitor's own one does not count."""
    with pytest.raises(CommandError, match="not found"):
        run(Command(("true",), {}, LONG))


def test_a_program_that_may_not_be_run_is_named(run, tmp_path):
    """A program without the right to be run is a different fault than a missing one."""
    (tmp_path / "docker").write_text("#!/bin/sh\n")

    with pytest.raises(CommandError, match=r"^docker: not executable by this user$"):
        run(Command(("docker",), {"PATH": str(tmp_path)}, LONG))


@pytest.mark.parametrize(
    ("content", "words"), [(b"\x00\x01junk", "Exec format error"), (b"#!/no/such/shell\n", "No such file")]
)
def test_a_program_that_the_kernel_refuses_gives_its_words_and_no_argument(run, tmp_path, content, words):
    """A broken program is a CommandError that says why; nothing of it, nor of what it came from, holds an argument."""
    (tmp_path / "docker").write_bytes(content)
    (tmp_path / "docker").chmod(0o755)

    with pytest.raises(CommandError, match=words) as raised:
        run(Command(("docker", PASSWORD), {"PATH": str(tmp_path)}, LONG))

    shown = "".join(traceback.format_exception(raised.value))
    assert PASSWORD not in shown
    assert raised.value.__suppress_context__


# How it ends.


@pytest.mark.parametrize("code", [0, 130, 143, None])
def test_a_command_is_ended_at_its_deadline_whatever_it_then_exits_with(docker, run, code):
    """Docker exits 0, 130 or 143 on our signal, or by the signal itself: each is an end by deadline, none a success."""
    docker.acts(prints("7 of 9 MB\n"), *([{"act": "on_term", "exit": code}] if code is not None else []), READY, SLEEP)

    completed = run(docker.command(deadline=DEADLINE))

    assert completed.ending is Ending.DEADLINE
    assert completed.exit_code == (-signal.SIGTERM if code is None else code)
    assert completed.stdout == "7 of 9 MB\n"
    assert not completed.ok
    assert DEADLINE <= completed.seconds < 10


def test_a_command_that_ignores_sigterm_is_killed(docker, run):
    """SIGKILL follows if SIGTERM is not enough."""
    docker.acts({"act": "on_term"}, SLEEP)

    completed = run(docker.command(deadline=DEADLINE))

    assert (completed.exit_code, completed.ending) == (-signal.SIGKILL, Ending.DEADLINE)
    assert completed.seconds < 10


@pytest.mark.parametrize(
    ("script", "was_paused"),
    [
        pytest.param("kill -STOP $$", True, id="stopped"),
        pytest.param("(sleep 0.1; kill -CONT $$) & kill -STOP $$; sleep 60", True, id="went on"),
        pytest.param("sleep 60", False, id="ran"),
    ],
)
def test_a_command_that_somebody_stopped_is_known(run, script, was_paused):
    """Whether it still stood still at its deadline, or had gone on."""
    completed = run(Command(("sh", "-c", script), {"PATH": os.defpath}, DEADLINE))

    assert (completed.ending, completed.was_paused) == (Ending.DEADLINE, was_paused)


@pytest.mark.parametrize("holds_output", [True, False])
@pytest.mark.parametrize("ignores_term", [True, False])
def test_a_deadline_ends_the_whole_group(docker, run, monkeypatch, holds_output, ignores_term):
    """When an ended command is reported, nothing that it started is left, even if deaf or holding its output."""
    monkeypatch.setattr("lib.command.GRACE_SECONDS", LONG)  # the command itself obeys, so no grace is needed
    docker.acts({"act": "child", "seconds": LONG, "holds_output": holds_output, "ignores_term": ignores_term}, SLEEP)

    completed = run(docker.command(deadline=DEADLINE))

    assert completed.ending is Ending.DEADLINE
    assert is_gone(docker.child)


@pytest.mark.parametrize("holds_output", [True, False])
def test_nothing_of_a_command_outlives_it(docker, run, holds_output):
    """A command that ended by itself leaves no child in its group, and is not waited for because of one."""
    docker.acts(prints("done\n"), {"act": "child", "seconds": LONG, "holds_output": holds_output})
    begun = time.monotonic()

    completed = run(docker.command())

    assert (completed.stdout, completed.ok) == ("done\n", True)
    assert time.monotonic() - begun < LONG / 2
    assert is_gone(docker.child)


def test_a_group_that_has_ended_is_signalled_no_more(docker, run, monkeypatch):
    """Once a command is reported its number may be another group's: no late SIGKILL goes there."""
    monkeypatch.setattr("lib.command.GRACE_SECONDS", 0.3)
    docker.acts(SLEEP)
    run(docker.command(deadline=0.2))
    late = []
    monkeypatch.setattr("lib.command.os.killpg", lambda *signalled: late.append(signalled))

    time.sleep(0.5)

    assert late == []


def test_an_exit_code_0_after_an_end_of_ours_is_no_success():
    """Ok is for commands that ended by themselves."""
    assert Completed(0, "", "", 1.0).ok
    assert not Completed(0, "", "", 1.0, Ending.DEADLINE).ok
    assert not Completed(1, "", "", 1.0).ok


# How the monitor stops.


def in_thread(work):
    """Run it in a thread; return the thread, and where its result or exception lands."""
    landed = []

    def caught():
        try:
            landed.append(work())
        except Exception as error:  # noqa: BLE001  whatever it is, the test looks at it
            landed.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    return thread, landed


@pytest.mark.parametrize("code", [0, 143])
def test_stop_ends_a_command_under_way(docker, run, code):
    """A command under way ends soon after stop(), as Stopped, whatever it exited with."""
    docker.acts({"act": "on_term", "exit": code}, READY, SLEEP)
    thread, landed = in_thread(lambda: run(docker.command()))
    docker.wait_for("ready")

    run.stop()
    thread.join(LONG)

    assert isinstance(landed[0], Stopped)
    assert landed[0].was_cut_off
    assert is_gone(docker.calls[0]["pid"])


def test_stop_leaves_nothing_of_a_group_that_is_deaf(docker, run, monkeypatch):
    """When Stopped is raised, a child that ignores SIGTERM is gone as well: the monitor may exit at once after it."""
    monkeypatch.setattr("lib.command.GRACE_SECONDS", LONG)  # in which the monitor may have exited
    docker.acts({"act": "child", "seconds": LONG, "ignores_term": True}, SLEEP)
    thread, landed = in_thread(lambda: run(docker.command()))
    docker.wait_for("ready")

    run.stop()
    thread.join(LONG)

    assert isinstance(landed[0], Stopped)
    assert is_gone(docker.child)


def test_after_stop_only_what_cleans_up_is_run(docker, run):
    """A command after stop() is not run at all, except one that removes the monitor's images."""
    run.stop()

    with pytest.raises(Stopped) as stopped:
        run(docker.command("push", "image"))
    assert not stopped.value.was_cut_off
    assert run(docker.command("rmi", "image", cleanup=True)).ok
    assert [call["verb"] for call in docker.calls] == ["rmi"]


def test_stop_lets_a_command_that_cleans_up_come_to_its_end(docker, run):
    """What removes the monitor's images is not ended by stop()."""
    docker.acts(READY, {"act": "sleep", "seconds": 0.5}, prints("Deleted\n"))
    thread, landed = in_thread(lambda: run(docker.command("rmi", "image", cleanup=True)))
    docker.wait_for("ready")

    run.stop()
    thread.join(LONG)

    assert (landed[0].stdout, landed[0].ok) == ("Deleted\n", True)


def test_stop_has_patience_with_what_comes_to_its_end(docker, run):
    """A cut-off command can still take effect after the clean-up; one that ends by itself can't."""
    docker.acts(READY, {"act": "sleep", "seconds": 0.5}, prints("pulled\n"))
    thread, landed = in_thread(lambda: run(docker.command()))
    docker.wait_for("ready")

    run.stop(LONG)
    thread.join(LONG)

    assert (landed[0].stdout, landed[0].ok) == ("pulled\n", True)


def test_stop_ends_all_that_run_side_by_side(docker, run):
    """However many commands are under way, stop() ends each."""
    docker.acts(SLEEP)
    threads = [in_thread(lambda: run(docker.command())) for _ in range(5)]
    docker.wait_for("call-004.json")

    run.stop(0.1)

    for thread, landed in threads:
        thread.join(LONG)
        assert isinstance(landed[0], Stopped)


# What it leaves.


def test_a_hundred_commands_leave_no_thread_and_no_descriptor(run, tmp_path):
    """Commands that work, fail or can't be started leave nothing open behind."""
    (tmp_path / "garbage").write_bytes(b"\x00junk")
    (tmp_path / "garbage").chmod(0o755)
    env = {"PATH": os.environ["PATH"]}

    def once():
        run(Command(("true",), env, LONG))
        run(Command(("sh", "-c", "exit 3"), env, LONG, stdin=Secret("x")))
        with pytest.raises(CommandError):
            run(Command((str(tmp_path / "garbage"),), env, LONG))
        with pytest.raises(CommandError):
            run(Command((str(tmp_path / "none"),), env, LONG))

    def open_now():
        gc.collect()
        return len(descriptors()), threading.active_count()

    once()
    before = open_now()
    for _ in range(25):
        once()

    after = open_now()
    assert after[0] == before[0]
    assert after[1] <= before[1]  # timers of earlier tests may end meanwhile
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_commands_side_by_side_keep_their_outputs_apart(run):
    """Each of many commands at once gets its own output and exit code."""
    env = {"PATH": os.environ["PATH"]}
    started = [
        (number, *in_thread(lambda n=number: run(Command(("sh", "-c", f"echo {n}; exit {n}"), env, LONG))))
        for number in range(20)
    ]
    for number, thread, landed in started:
        thread.join(LONG)
        assert (landed[0].stdout, landed[0].exit_code) == (f"{number}\n", number)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_nothing_of_a_command_is_logged(docker, run, caplog, level):
    """However talkative the monitor's own log is, `sh` writes neither arguments nor input nor output into it."""
    caplog.set_level(level)
    docker.acts({"act": "read"}, prints(PASSWORD), {"act": "exit", "code": 1})

    run(docker.command("login", "an-argument", stdin=Secret(PASSWORD)))

    assert caplog.records == []
