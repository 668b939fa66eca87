"""Those without a Prometheus that scrapes the monitor: node_exporter serves its file, a service gets its heartbeats."""

from __future__ import annotations

from lab.heartbeats import Heartbeats
from lab.monitor import once
from lab.prometheus import NodeExporter
from lab.target import PASSWORD, login


def test_once_tells_whoever_is_to_know(engine, repository, session_lab, tmp_path):
    """One that is up, one that is down: the file is served with what it says, and nobody hears the service's secret."""
    files = tmp_path / "textfile"
    files.mkdir()
    file = files / "registry-monitor.prom"
    with Heartbeats() as service, NodeExporter(session_lab.folder / "node-exporter", files) as exporter:
        told = []
        for password, expected, verdict in ((PASSWORD, 0, "up"), (PASSWORD[::-1], 1, "down")):
            options = (*login(repository), f"-password={password}", f"-metrics-file={file}")
            more = (f"-heartbeat-url={service.url}/planted?create=1", "-loglevel=debug")
            code, (cycle,), log = once(engine, *options, *more)
            assert (code, cycle["verdict"]) == (expected, verdict), cycle["detail"]
            served = exporter.get("/metrics")[1]
            assert f'registry_monitor_verdict{{target="{cycle["target"]}",verdict="{verdict}"}} 1' in served
            assert f'registry_monitor_heartbeats_total{{outcome="ok",target="{cycle["target"]}"}} 1' in served
            assert ("registry_monitor_healthy 1" in served, "node_textfile_scrape_error 0" in served) == (True, True)
            told += [log, file.read_text()]
        assert service.paths == ["/planted?create=1", "/planted/fail?create=1"]
    assert [path.name for path in files.iterdir()] == [file.name]
    assert not [text for text in told if "planted" in text]
