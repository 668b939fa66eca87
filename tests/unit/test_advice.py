"""Advice: plainer cases have their own, all others the one of their reason."""

import pytest

from lib.failure import Failure, Reason

CASES = {
    "usermod": (Reason.DAEMON, "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock"),
    "sudo": (Reason.DAEMON, "dial unix /run/docker.sock: connect: permission denied"),
    "proxy before the docker socket": (Reason.DAEMON, "Error response from daemon: 403 Forbidden Request forbidden"),
    "authorization plugin": (Reason.DAEMON, "Error response from daemon: authorization denied by plugin opa: no"),
    "task workers": (Reason.RATE_LIMITED, "unsupported: Request was throttled."),
    "first push": (Reason.NOT_FOUND, "manifest unknown; quay, which this is a replica of, has not pushed yet"),
    "`replica-of`": (Reason.FOREIGN, "replica-of is quay, and this tag shows another monitor's image"),
    "set `expect-digest`": (Reason.INTEGRITY, "the registry gave sha256:b, and expect-digest is sha256:a"),
    "from another host": (Reason.WARM, "this host had the image already, and it stays as it was"),
    "Check that this file": (Reason.CREDENTIAL_HELPER, "the password file /run/p can't be read: not there"),
    "`chmod 640": (Reason.CREDENTIAL_HELPER, "the password file /etc/p can't be read: Permission denied"),
    "restart it": (Reason.CREDENTIAL_HELPER, "the password file $CREDENTIALS_DIRECTORY/p can't be read: not there"),
    "`docker login` writes it": (Reason.CREDENTIAL_HELPER, "the logins in /x can't be used: /x/c.json is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "case"), CASES.items())
def test_a_plain_case_has_its_own_advice(words, case):
    """If a remedy is known, it is given, not only where to look."""
    failure = Failure(*case)
    assert words in failure.advice
    assert failure.advice != failure.reason.advice


@pytest.mark.parametrize("reason", Reason)
def test_other_cases_have_the_advice_of_their_reason(reason):
    """Words of one reason's case are nothing to another."""
    assert Failure(reason, "words").advice == reason.advice
    assert all(
        Failure(reason, detail).advice == reason.advice for other, detail in CASES.values() if other is not reason
    )
