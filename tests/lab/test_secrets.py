"""A password is planted in the real service, and looked for wherever it could show, at every moment of its life."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import threading
from base64 import b64encode
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import pytest

from lab.credential_helper import CredentialHelper
from lab.daemon import await_true
from lab.misbehaviour import answer, plain
from lab.monitor import PROGRAM, QUICK, SOON, Monitor, once
from lab.port import Port, on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.small_world import DOCKER, SmallWorld
from lab.token_server import TokenServer

USER = "monitor"
#: Letters and digits: the part of the password that stays as it is in a URL, in JSON and between quotes. Random, so
#: that nothing else on this machine holds it.
CORE = f"planted{secrets.token_hex(6)}"
PASSWORD = f'pä&<s> "{CORE}"\\+/%41'

PATHS = ("/", "/status", "/status?format=json", "/status?target=nobody", "/health?format=json", "/metrics", "/nowhere")

GO = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
FORMS = {
    "raw": PASSWORD,
    "in a path": quote(PASSWORD, safe=""),
    "in a query": quote_plus(PASSWORD),
    "in JSON": json.dumps(PASSWORD),
    "in Go's JSON": json.dumps(PASSWORD, ensure_ascii=False).translate(GO),
    "in base64": b64encode(PASSWORD.encode()).decode(),
    "as a login": b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
}


def needles(core):
    """Return what of letters and digits is in every text that holds them, as they are or in base64."""
    # The same bytes become different letters at each place in a group of three.
    encoded = ((place, b64encode(bytes(place) + core.encode()).rstrip(b"=")) for place in range(3))
    return (core.encode(), *(letters[(4 * place + 2) // 3 : -1] for place, letters in encoded))


URL_USER = "URL's user"
#: By the kind of place that a secret is planted in, one that nothing else on this machine holds.
PLANTED = {
    kind: f"planted{number}{secrets.token_hex(6)}"
    for number, kind in enumerate(
        ("presigned URL", "bearer token", "basic login", URL_USER, "stored login", "login of a helper", "password")
    )
}
NEEDLES = tuple(needle for core in (CORE, *PLANTED.values()) for needle in needles(core))


def tells(content):
    """Return whether bytes, or a text, hold the password, or another planted secret, in any form."""
    content = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    return any(needle in content for needle in NEEDLES)


class Watch:
    """Looks, as fast as it can, at every process that begins meanwhile, and at every file below a folder.

    Attributes:
        found: where the password was and should not be.
        private: the files that may hold it and did: 0600, in folders that are 0700.
        verbs: what `docker` processes were seen doing.
    """

    def __init__(self, folder, spared=None):
        """Given the folder, and the words that the argv of processes has that were given the password by the test."""
        self.found, self.private, self.verbs = set(), set(), set()
        self._folder, self._spared = folder, spared
        self._before = set(Path("/proc").iterdir())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look_again_and_again(self):
        while not self._over.is_set():
            for process in set(Path("/proc").iterdir()) - self._before:
                with suppress(OSError):  # it has just ended
                    self._look_at_process(process)
            for folder, _, names in os.walk(self._folder):
                for name in names:
                    with suppress(OSError):  # it is gone
                        self._look_at_file(Path(folder, name))

    def _look_at_process(self, process):
        # In this order: a fork of the monitor has the monitor's own argv and environment until it is a docker.
        argv = (process / "cmdline").read_bytes()
        if not argv or (self._spared and self._spared in argv):
            return  # without an argv it is just being made, and is looked at again
        if tells(argv) or tells((process / "environ").read_bytes()):
            self.found.add(argv)
        program, *arguments = argv.split(b"\0")
        if program.rpartition(b"/")[2] == b"docker":
            self.verbs.add(arguments[0].decode())

    def _look_at_file(self, path):
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            told = tells(file.read(1024 * 1024))
        if told:
            folders = path.parents[: path.parents.index(self._folder)]
            is_private = mode == 0o600 and folders and all(stat.S_IMODE(one.stat().st_mode) == 0o700 for one in folders)
            (self.private if is_private else self.found).add(str(path))


def way_in(way, folder):
    """Return the options and the environment that give the monitor its password in one of the ways that there are."""
    file = folder / way
    file.touch(mode=0o600)
    if way == "flag":
        return (f"-password={PASSWORD}",), {}
    if way == "environment":
        return (), {"REGISTRY_MONITOR_PASSWORD": PASSWORD}
    if way == "file":
        file.write_text(f"{PASSWORD}\n")
        return (f"-password-file={file}",), {}
    file.write_text(f"password: {json.dumps(PASSWORD)}\n")
    return (f"-config={file}",), {}


def answers(monitor):
    """Return all that the monitor answers, headers and bodies, whole."""
    return b"".join(_answer(monitor, path) for path in PATHS)


def _answer(monitor, path):
    host, _, port = monitor.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=SOON) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read()


def contents(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def own_registry(session_lab):
    """A registry that lets USER in by PASSWORD, and that a test may stop."""
    with Registry(session_lab.folder / f"registry-{os.urandom(4).hex()}", users={USER: PASSWORD}) as registry:
        yield registry


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_the_password_in_every_form(form):
    """Whatever is around it."""
    assert tells(FORMS[form])
    assert tells(f"one {FORMS[form]} two".encode())


def programs(watch):
    """Return the commands of the processes that were found."""
    return {argv.split(b"\0")[0] for argv in list(watch.found)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["argv", "environment"])
def test_the_watch_sees_a_process_that_was_given_the_password(tmp_path, form, place):
    """One that the test plants, with the password in its argv or its environment, is found."""
    argv = ["cat", "--", "-", *([FORMS[form]] if place == "argv" else [])]
    env = {"PATH": os.environ["PATH"], **({"PLANTED": FORMS[form]} if place == "environment" else {})}
    with (
        Watch(tmp_path) as watch,
        subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as planted,
    ):
        await_true(lambda: b"cat" in programs(watch), SOON, "the watch to find it")
        planted.stdin.close()

    # Its arguments are read before its environment: in between, what was forked of this process can have become it.
    forked = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0]
    assert programs(watch) - {forked} == {b"cat"}


@pytest.mark.parametrize(
    ("mode", "folder_mode", "is_private"), [(0o600, 0o700, True), (0o640, 0o700, False), (0o600, 0o710, False)]
)
def test_the_watch_sees_a_file_that_others_may_read(tmp_path, mode, folder_mode, is_private):
    """A file with the password is private only with mode 0600, in a folder of mode 0700."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=folder_mode)
    with Watch(tmp_path) as watch:
        file = os.open(folder / "login", os.O_WRONLY | os.O_CREAT, mode)
        os.write(file, FORMS["as a login"].encode())
        os.close(file)
        await_true(lambda: watch.found or watch.private, SOON, "the watch to find it")

    assert (watch.private, watch.found)[not is_private] == {str(folder / "login")}


@pytest.mark.parametrize(
    ("way", "log_format"),
    [
        pytest.param("flag", "text", marks=pytest.mark.everything),
        pytest.param("environment", "json", marks=pytest.mark.everything),
        ("file", "text"),
        pytest.param("configuration", "json", marks=pytest.mark.everything),
    ],
)
def test_a_password_shows_nowhere(engine, own_registry, tmp_path, way, log_format):
    """Not while all is well, nor with a wrong password, without a registry, after a reload, or after the end."""
    temporary, state = tmp_path / "temporary", tmp_path / "state"
    temporary.mkdir()
    given, env = way_in(way, tmp_path)
    surroundings = SimpleNamespace(env=engine.env | env | {"TMPDIR": str(temporary)})
    repository = f"-repository={own_registry.host}/tests/secrets"
    options = (repository, f"-username={USER}", *given, *QUICK, f"-state-dir={state}")
    spared = PROGRAM[-1].encode() if env or way == "flag" else None
    told = b""
    with (
        Watch(temporary, spared) as watch,
        Monitor(tmp_path, surroundings, *options, "-loglevel=debug", f"-log-format={log_format}") as monitor,
    ):
        for change, awaited in (
            (lambda: None, (200, "up", None)),
            (lambda: own_registry.set_users({USER: "another"}), (503, "down", "unauthorized")),
            (own_registry.stop, (503, "down", "refused")),
            (lambda: (own_registry.set_users({USER: PASSWORD}), own_registry.start()), (200, "up", None)),
        ):
            change()
            await_true(lambda awaited=awaited: monitor.verdict() == awaited, SOON, f"{awaited}")
            told += answers(monitor) + contents(state)
        os.kill(monitor.pid, signal.SIGHUP)
        await_true(lambda: "the configuration was reloaded" in monitor.log.read_text(), SOON, "the reload")
        told += answers(monitor) + contents(state)
        assert monitor.stop() == 0

    assert not tells(told + contents(state) + monitor.log.read_bytes())
    assert "Traceback" not in monitor.log.read_text()
    assert watch.found == set()
    assert watch.verbs >= {"login", "pull", "build", "push", "rmi", "image"}
    assert {Path(path).name.rstrip("0123456789") for path in watch.private} == {"config.json"}
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "code"),
    [("login", 0), ("push", 1), *(pytest.param(verb, 1, marks=pytest.mark.everything) for verb in ("login", "pull"))],
)
def test_what_docker_repeats_of_it_is_blanked(tmp_path, verb, code):
    """A docker that prints its input, in every form, gives nothing away: neither by a service nor by `once`."""
    world, state, said = SmallWorld(tmp_path / "world"), tmp_path / "state", tmp_path / "said"
    said.write_text("".join(f"docker said {form}: {text}\n" for form, text in FORMS.items()))
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = {verb} ] && cat {said} - >&2 && exit {code}\nexec {DOCKER} "$@"\n')
    docker.chmod(0o700)
    given, _ = way_in("file", tmp_path)
    options = (f"-docker={docker}", "-repository=127.0.0.1:5/small/world", f"-username={USER}", *given)
    with Monitor(tmp_path, world, *options, *QUICK, f"-state-dir={state}", "-loglevel=debug") as monitor:
        await_true(lambda: monitor.verdict()[1] is not None, SOON, "a verdict")
        told = answers(monitor)
        monitor.stop()
    _, (cycle,), stderr = once(world, *options)
    text = subprocess.run([*PROGRAM, "-once", *options], env=world.env, capture_output=True, check=False).stdout

    assert (cycle["step"] == verb) == bool(code)
    assert ("<secret>" in json.dumps(cycle)) == bool(code)
    assert [line for line in told.splitlines() if tells(line)] == []
    assert not tells(contents(state) + monitor.log.read_bytes())
    assert not tells(json.dumps(cycle) + stderr)
    assert not tells(text)


@pytest.fixture
def way(own_registry):
    """A proxy in front of the registry that can answer in its place."""
    with Proxy(on_loopback, address(own_registry.host), plain) as proxy:
        yield proxy


def address(host):
    name, _, port = host.rpartition(":")
    return name, int(port)


def refusing(*words):
    """Return what refuses a request in words, those of the distribution project's errors."""
    errors = [{"code": "DENIED", "message": f"not you: {said}"} for said in words]
    return answer(403, json.dumps({"errors": errors}).encode())


def repeating(exchange):
    """Refuse a request, and say who asked."""
    refusing(exchange.headers["Authorization"])(exchange)


@contextmanager
def presigned(way, folder, _):
    """The registry sends docker for a manifest to a store, by a URL that lets anybody in, and the store is down."""
    with Port() as port:
        query = f"X-Amz-Credential=AKIA&X-Amz-Signature={PLANTED['presigned URL']}&token={PLANTED['presigned URL']}"
        location = {"Location": f"http://127.0.0.1:{port.number}/b/data?{query}"}
        with way.rule(answer(307, headers=location), "GET|HEAD", "/manifests/"):
            yield (*login(way), *given(folder)), {}


@contextmanager
def bearer(_, folder, __):
    """The registry's token server puts a token into its errors."""
    with ExitStack() as held:
        server = held.enter_context(TokenServer(folder / "tokens", USER, PASSWORD))
        tokens = held.enter_context(Proxy(on_loopback, server.address, plain))
        auth = server.auth(f"http://{tokens.host}/token")
        registry = held.enter_context(Registry(folder / "with-tokens", token=auth))
        held.enter_context(tokens.rule(refusing(f"Bearer {PLANTED['bearer token']} is of yesterday")))
        yield (f"-repository={registry.host}/tests/planted", f"-username={USER}", *given(folder)), {}


@contextmanager
def basic(way, folder, registry):
    """The registry repeats the header with which docker logs in."""
    registry.set_users({USER: PLANTED["basic login"]})
    file = folder / "basic"
    file.write_text(PLANTED["basic login"])
    with way.rule(repeating, "GET|HEAD|PUT", "/manifests/|/uploads/"):
        yield (*login(way), f"-password-file={file}"), {}


@contextmanager
def user_of_url(way, folder, _):
    """The registry names a mirror of its, with a login in its URL."""
    mirror = f"https://robot:{PLANTED[URL_USER]}@mirror.example/v2/"
    with way.rule(refusing(f"see {mirror}"), "GET|HEAD", "/manifests/"):
        yield (*login(way), *given(folder)), {}


@contextmanager
def stored(way, folder, _):
    """The registry repeats logins that the copied Docker configuration has for other hosts."""
    core = PLANTED["stored login"]
    auths = {
        way.host: {"auth": b64encode(f"{USER}:{PASSWORD}".encode()).decode()},
        "other.example": {
            "auth": b64encode(f"robot:{core}/auth".encode()).decode(),
            "identitytoken": f"{core}=identity",
        },
        "third.example": {"username": "robot", "password": f"{core} password", "registrytoken": f"{core}+registry"},
    }
    said = (f"{core}/auth", f"{core}=identity", quote_plus(f"{core} password"), quote(f"{core}+registry"))
    with way.rule(refusing(*said, auths["other.example"]["auth"]), "GET", "/manifests/"):
        yield docker_config(way, folder, {"auths": auths}), {}


@contextmanager
def helpers(way, folder, _):
    """A credential helper prints the login, and fails."""
    helper = CredentialHelper.make(folder / "keychain")
    helper.keep(way.host, "robot", PLANTED["login of a helper"])
    helper.break_down()
    env = {"PATH": os.pathsep.join((str(helper.folder), os.environ["PATH"]))}
    yield docker_config(way, folder, {"credsStore": helper.name}), env


@contextmanager
def repeated(way, folder, registry):
    """The registry repeats the password, in some of the forms that it can have."""
    password = f"{PLANTED['password']} & more"
    registry.set_users({USER: password})
    file = folder / "password"
    file.write_text(password)
    said = (password, quote(password, safe=""), b64encode(password.encode()).decode())
    with way.rule(refusing(*said), "GET|PUT", "/manifests/"):
        yield (*login(way), f"-password-file={file}"), {}


def login(way):
    return f"-repository={way.host}/tests/planted", f"-username={USER}"


def given(folder):
    return way_in("file", folder)[0]


def docker_config(way, folder, shape):
    (folder / "docker-config").mkdir(mode=0o700)
    (folder / "docker-config" / "config.json").write_text(json.dumps(shape))
    return f"-repository={way.host}/tests/planted", f"-docker-config={folder / 'docker-config'}"


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (presigned, "/b/data?<secret>"),
        (stored, "not you: <secret>"),
        # What is blanked by its form is covered by unit tests, form by form; the first is one for all of them here.
        *(
            pytest.param(plant, words, marks=pytest.mark.everything)
            for plant, words in (
                (bearer, "Bearer <secret> is of yesterday"),
                (basic, "Basic <secret>"),
                (user_of_url, "https://<secret>@mirror.example/v2/"),
                (helpers, "out: `<secret>`"),
                (repeated, "not you: <secret>"),
            )
        ),
    ],
)
def test_a_secret_that_others_say_shows_nowhere(engine, own_registry, way, tmp_path, plant, words):
    """Not on the page, in an answer, the log, the state-dir, or in what `once` prints; a placeholder is there."""
    temporary, state = tmp_path / "temporary", tmp_path / "state"
    temporary.mkdir()
    with plant(way, tmp_path, own_registry) as (where, env):
        surroundings = SimpleNamespace(env=engine.env | {"TMPDIR": str(temporary)} | env)
        options = (*where, "-payload-size=64KiB", "-step-timeout=8s")
        with (
            Watch(temporary) as watch,
            Monitor(tmp_path, surroundings, *options, *QUICK, f"-state-dir={state}", "-loglevel=debug") as monitor,
        ):
            await_true(lambda: monitor.verdict()[1] is not None, SOON, "a verdict")
            told = answers(monitor)
            assert monitor.stop() == 0
        _, (cycle,), stderr = once(surroundings, *options)
        text = subprocess.run([*PROGRAM, "-once", *options], env=surroundings.env, capture_output=True, check=False)

    assert cycle["verdict"] != "up"
    assert words in cycle["detail"]
    assert [line for line in told.splitlines() if tells(line)] == []
    assert not tells(contents(state) + monitor.log.read_bytes())
    assert not tells(json.dumps(cycle) + stderr)
    assert not tells(text.stdout + text.stderr)
    assert watch.found == set()


QUOTED = json.dumps(PASSWORD)
#: By what is wrong with them: the names of the tests must not change with the password.
CONFIGURATIONS = {
    "a list": f"password: [{QUOTED}]\n",
    "a mapping": f"password: {{{QUOTED}: 1}}\n",
    "twice": f"password: {QUOTED}\npassword: {QUOTED}\n",
    "mistyped": f"pasword: {QUOTED}\n",
    "mistyped in a target": f"targets:\n  - {{repository: a.example/b, username: u, passwort: {QUOTED}}}\n",
    "without username": f"targets:\n  - {{repository: a.example/b, password: {QUOTED}}}\n",
    "quote left open": f"password: {QUOTED[:-1]}\n",
    "not quoted": f"password: {PASSWORD}: {PASSWORD}\n",
    "a number": f"password: !!int {QUOTED}\n",
    "an anchor": f"password: &anchor {QUOTED}\nlisten: *anchor\n",
    "with a line end": f'username: u\npassword: "{CORE}\\nsecond line\\n"\n',
    "a null byte": f'password: "{CORE}\\0"\n',
    "a tab": f"password:\n  {CORE}\n\t{CORE}\n",
    "a block": f"password: |\n  {CORE}\n  {CORE}\n",
}
COMMAND_LINES = {
    "mistyped": (f"-pasword={PASSWORD}",),
    "mistyped, apart": ("-pasword", PASSWORD),
    "no such flag": (f"--password-={PASSWORD}",),
    "with a line end": (f"-password={CORE}\n{CORE}\n", "-username=u"),
    "without username": (f"-password={PASSWORD}",),
    "and a file": (f"-password={PASSWORD}", "-password-file=/nowhere", "-username=u"),
    "once too often": ("-password", PASSWORD, PASSWORD),
    "in the URL of a base image": ("-base-image", f"https://robot:{CORE}@mirror.example/base"),
    "in the URL of a repository": (f"-repository=https://robot:{CORE}@quay.io/a/b",),
    "for another host": ("-username=u", f"-password={PASSWORD}", "-registry-host=other.example"),
}


@pytest.mark.parametrize("fault", CONFIGURATIONS)
def test_a_configuration_that_is_refused_does_not_quote_it(tmp_path, fault):
    """Whatever is wrong with it, or near it, its value is not in the message."""
    file = tmp_path / "config.yml"
    file.write_text(CONFIGURATIONS[fault])
    assert_refused(f"-config={file}", "-repository=a.example/b")


@pytest.mark.parametrize("fault", COMMAND_LINES)
def test_a_command_line_that_is_refused_does_not_quote_it(fault):
    """Neither a mistyped flag nor a bad value, nor one in the wrong place, has the password in its message."""
    assert_refused("-repository=a.example/b", *COMMAND_LINES[fault])


def assert_refused(*options):
    done = subprocess.run([*PROGRAM, "-check-config", *options], capture_output=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr
    assert not tells(done.stdout + done.stderr), done.stderr.decode()
    assert b"Traceback" not in done.stderr
