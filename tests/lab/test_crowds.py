"""Crowds: the monitor as a program, and real clients, very many of them at once."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from lab.daemon import await_true
from lab.monitor import SOON, Monitor
from lab.readers import Readers, read_at_once
from lab.small_world import DOCKER, SmallWorld

#: As Prometheus has it by default.
SCRAPE_TIMEOUT_SECONDS = 10.0

OPTIONS = ("-repository=registry.example/crowds/one", "-run-test-every=500ms", f"-docker={DOCKER}")


class Guarded(Monitor):
    """A monitor that asks for a name and a password."""

    def answers(self):
        """Return whether it answers, as it does to anybody: that it wants a login."""
        try:
            return self.get("/health")[0] == 401
        except OSError:
            return False


def basic(name, password):
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def scrape(monitor, header, source="127.0.0.1"):
    """Scrape it from an address. Return the status, and how many seconds that took."""
    name, _, value = header.partition(": ")
    host, port = monitor.url.removeprefix("http://").split(":")
    begun = time.monotonic()
    connection = HTTPConnection(host, int(port), timeout=60, source_address=(source, 0))
    try:
        connection.request("GET", "/metrics", headers={name: value})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer.status, time.monotonic() - begun


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_scrapes_at_once_all_get_all_metrics(tmp_path):
    with Monitor(tmp_path, SmallWorld(tmp_path / "world"), *OPTIONS) as monitor:
        monitor.await_status(200)
        before = resident_bytes(monitor.pid)
        reads = read_at_once(f"{monitor.url}/metrics", [("Accept-Encoding: gzip",)] * 1000)
        grown = resident_bytes(monitor.pid) - before

    assert {read.status for read in reads} == {200}
    assert all(gzip.decompress(read.body).endswith(b"\n") for read in reads)
    assert grown < 100 * 2**20


def test_four_hundred_wrong_logins_at_once_refuse_no_honest_scrape(tmp_path):
    """Neither one that was let in before, from their address, nor one from another that comes for the first time."""
    made = subprocess.run(
        ("htpasswd", "-nbBC", "10", "prometheus", "right"), capture_output=True, text=True, check=True
    )
    hashed = made.stdout.strip().partition(":")[2]
    web_config = tmp_path / "web.yml"
    web_config.write_text(f"basic_auth_users: {{prometheus: {hashed}, another: {hashed}}}\n")
    known, first = basic("prometheus", "right"), basic("another", "right")
    options = (*OPTIONS, f"-web-config={web_config}")
    with Guarded(tmp_path, SmallWorld(tmp_path / "world"), *options) as monitor, ThreadPoolExecutor() as pool:
        assert scrape(monitor, known)[0] == 200
        guesses = [(basic("prometheus", f"guess {number}"),) for number in range(400)]
        guessing = pool.submit(read_at_once, f"{monitor.url}/metrics", guesses)
        time.sleep(0.05)
        scrapes = [scrape(monitor, known), scrape(monitor, first, "127.0.0.2")]
        while not guessing.done():
            scrapes.append(scrape(monitor, known))
        codes = [read.status for read in guessing.result()]

    assert {status for status, _ in scrapes} == {200}
    assert max(seconds for _, seconds in scrapes) < SCRAPE_TIMEOUT_SECONDS
    assert set(codes) <= {401, 429, 503}
    assert codes.count(401) < 40, "most were refused without a check"


def test_readers_that_never_pause_are_all_answered_mostly_with_what_they_have(tmp_path):
    with Monitor(tmp_path, SmallWorld(tmp_path / "world"), *OPTIONS) as monitor:
        monitor.await_status(200)
        with Readers(monitor.url) as readers:
            begun = monitor.successes()
            await_true(lambda: monitor.successes() > begun + 3, SOON, "cycles beside the readers")
            answers = readers.stop()

    assert set(answers) == {200, 304}
    assert answers[304] > 0
