"""If `sh` can't start a program, nothing is left of the try: no descriptor, no child, and garbage is collected."""

import errno
import gc
import os
import threading
import time
from itertools import count, islice
from pathlib import Path

import pytest
import sh

from lib import sh_leaks
from lib.command import Command, CommandError, ShRunner
from lib.secret import Secret
from tests.unit.served import files_at_most

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def garbage(tmp_path):
    """A command that can be found and not executed."""
    path = tmp_path / "garbage"
    path.write_bytes(b"\x00junk")
    path.chmod(0o755)
    return Command((str(path),), ENV, 60.0)


def descriptors():
    """Return the open ones, without the one that reads the folder."""
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()}


def free_at_most(free):
    """Leave so many free descriptors, some perhaps below others that are open."""
    unused = (number for number in count() if number not in descriptors())
    return files_at_most(next(islice(unused, free, None)))


def has_child():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def test_the_installed_version_is_the_one_that_is_known():
    """For another one: read what its OProc.__init__ leaves open when it raises, see what the other tests say."""
    assert sh.__version__ == sh_leaks.KNOWN_VERSION


def test_a_program_that_cannot_be_executed_leaves_nothing(garbage):
    before = descriptors()
    with pytest.raises(CommandError, match="could not be started"):
        ShRunner()(garbage)
    assert descriptors() == before
    assert not has_child()


@pytest.mark.parametrize("free", range(14))
def test_however_few_descriptors_there_are_all_are_given_back(free):
    """The file and the pipes of a child are twelve together: the last of these runs has room for it."""
    run, ended, before = ShRunner(), [], descriptors()
    with free_at_most(free):
        try:
            ended.append(run(Command(("true",), ENV, 60.0)).ok)
        except CommandError as error:
            ended.append(str(error))
    assert ended == [True] if free == 13 else ended in ([True], ["true: could not be started: Too many open files"])
    assert descriptors() == before
    assert gc.isenabled()
    assert not has_child()


def test_without_processes_all_descriptors_are_given_back(monkeypatch):
    """The kernel bounds no user that root is: fork(2) itself says it here."""

    def no_process():
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    before = descriptors()
    monkeypatch.setattr(os, "fork", no_process)
    with pytest.raises(CommandError, match="true: could not be started: Resource temporarily unavailable"):
        ShRunner()(Command(("true",), ENV, 60.0))
    assert descriptors() == before
    assert gc.isenabled()


@pytest.mark.parametrize("stdin", [None, Secret("hunter2")], ids=["empty", "written"])
@pytest.mark.parametrize("free", range(5))
def test_without_threads_the_program_is_ended_and_nothing_is_left(monkeypatch, free, stdin):
    """`sh` starts two for a program that runs already, three if something is written to it; the last one is ours.

    The kernel bounds no user that root is: `threading` itself says it here, as it does then.
    """
    start, left, before = threading.Thread.start, [free], descriptors()

    def start_few(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    run = ShRunner()
    monkeypatch.setattr(threading.Thread, "start", start_few)
    begun = time.monotonic()
    if free >= (3 if stdin is None else 4):
        assert run(Command(("echo", "all"), ENV, 60.0, stdin)).stdout == "all\n"
    else:
        with pytest.raises(CommandError, match="sleep: could not be started: can't start new thread"):
            run(Command(("sleep", "60"), ENV, 60.0, stdin))
    assert time.monotonic() - begun < 10.0
    assert descriptors() == before
    assert not has_child()
    assert gc.isenabled()


def test_of_another_version_nothing_is_closed(garbage, monkeypatch):
    """What it leaves then is a leak; what we closed could be somebody else's."""
    monkeypatch.setattr(sh_leaks, "KNOWN_VERSION", "another")
    before = descriptors()
    with pytest.raises(CommandError, match="could not be started"):
        ShRunner()(garbage)
    left = descriptors() - before
    for descriptor in left:
        os.close(descriptor)
    os.waitpid(-1, 0)  # fails if there is no child
    assert len(left) == 4
