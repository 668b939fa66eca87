"""The metrics as a file: complete at any moment, readable for node_exporter, and no cycle waits for it."""

from __future__ import annotations

import logging
import os
import stat
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from lab.daemon import await_true
from lib.metrics import file as module
from lib.metrics.file import MetricsFile
from lib.options import OptionsError, parse_options
from tests.unit.examples import a_lost_image, a_target, an_up_cycle
from tests.unit.watching import metrics_of

SOON = 30


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry-monitor.prom"


def test_it_can_be_read_by_everybody_whatever_the_umask_and_nothing_lies_beside_it(path):
    before = os.umask(0o077)
    try:
        assert MetricsFile(path, lambda: b"x 1\n").write()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"x 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_it_is_in_prometheus_text_format_without_timestamps_and_without_what_node_exporter_says_of_itself(path):
    MetricsFile(path, metrics_of(a_target("lab")).own.text).write()
    families = list(parse_text(path.read_text()))
    names = {family.name for family in families}
    assert {"registry_monitor_cycles", "monitor_success", "registry_monitor_targets"} <= names
    assert not [name for name in names if name.startswith(("process_", "python_"))]
    assert {sample.timestamp for family in families for sample in family.samples} == {None}


def test_whoever_reads_finds_the_old_or_the_new_and_never_a_part(path):
    contents = {bytes([letter]) * 300_000 for letter in b"abc"}
    over = threading.Event()

    def write():
        while not over.is_set():
            for content in contents:
                MetricsFile(path, lambda content=content: content).write()

    writer = threading.Thread(target=write)
    writer.start()
    await_true(path.exists, SOON, "the file to be there")
    found = {path.read_bytes() for _ in range(200)}
    over.set()
    writer.join()
    assert found <= contents


def test_it_is_written_at_the_start_and_after_each_cycle(path, monkeypatch):
    monkeypatch.setattr(module, "_LEAST_PAUSE_SECONDS", 0.0)
    numbers = iter(range(1000))
    file = MetricsFile(path, lambda: str(next(numbers)).encode())
    file.start()
    await_true(lambda: path.exists() and path.read_text() == "0", SOON, "the first")
    file.cycle_finished(an_up_cycle())
    await_true(lambda: path.read_text() == "1", SOON, "that of a cycle")
    file.rested_finished(a_target(), a_lost_image())
    await_true(lambda: path.read_text() == "2", SOON, "that of a rested image")
    file.stop()
    file._thread.join()


def test_without_a_path_nothing_is_begun():
    file = MetricsFile(None, lambda: b"")
    file.start()
    file.cycle_finished(an_up_cycle())
    assert not file._thread.is_alive()
    file.stop()


def test_what_cannot_be_written_is_logged_once_and_tried_again(path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    tried = []
    folder = path.parent / "folder"
    file = MetricsFile(folder / path.name, lambda: tried.append(1) or b"x 1\n")
    file.start()
    await_true(lambda: len(tried) > 3, SOON, "some tries")
    folder.mkdir()
    await_true((folder / path.name).exists, SOON, "the file to be there")
    file.stop()
    file._thread.join()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the metrics can't be written; the monitor continues, and tries again"),
        ("INFO", "the metrics can be written again"),
    ]
    assert caplog.records[0].detail == "No such file or directory"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(path, monkeypatch):
    MetricsFile(path, lambda: b"old").write()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fchmod", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert not MetricsFile(path, lambda: b"new").write()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_that_somebody_planted_beside_it_leads_nowhere(path, tmp_path):
    """Its name can be guessed, and a folder of several exporters is written by others, too."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path.parent.mkdir(exist_ok=True)
    (path.parent / f".{path.name}.{os.getpid()}.tmp").symlink_to(victim)
    assert MetricsFile(path, lambda: b"metrics").write()
    assert (victim.read_bytes(), path.read_bytes()) == (b"precious", b"metrics")
    assert not path.is_symlink()


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_configuration(tmp_path):
    def fault(path):
        with pytest.raises(OptionsError) as raised:
            parse_options([f"-metrics-file={path}", "-repository=q.io/r"], {})
        return str(raised.value)

    assert fault(tmp_path) == f"-metrics-file: {tmp_path} is a folder: name a file in it, such as registry-monitor.prom"
    for folder, why in ((tmp_path / "none", "No such file or directory"), ("/proc/self/fd/0", "Not a directory")):
        assert fault(f"{folder}/x.prom") == f"-metrics-file: {folder} can't be written into: {why}"
    assert fault("/proc/x.prom").startswith("-metrics-file: /proc can't be written into: ")
    assert parse_options([f"-metrics-file={tmp_path / 'x.prom'}", "-repository=q.io/r"], {}).metrics_file
    assert list(tmp_path.iterdir()) == []
