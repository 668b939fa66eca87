"""Steps are run within their deadlines, noted as they end, and blamed on the right party."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.cycle.steps import ASK_SECONDS, StepFailed, Steps, upkeep_seconds
from lib.docker import Docker, DockerError
from lib.docker.answers import DockerAnswer
from lib.docker.keychain import HelperAnswer
from lib.failure import Failure, Reason, Scope
from lib.reference import Reference
from lib.result import Outcome, StepName
from lib.secret import Secret
from lib.target import Credentials, Target
from tests.unit.support import (
    CLIENT_VERSION,
    HOST,
    NO_DAEMON,
    REFERENCE,
    VERSION,
    Observed,
    Script,
    hangs,
    is_missing,
)

TARGET = Target("lab", REFERENCE, Credentials("me", Secret("secret")))
ANSWER = DockerAnswer(1.5, retries=2, output=("said",))


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def observed():
    return Observed()


@pytest.fixture
def steps(script, observed):
    return steps_of(TARGET, script, observed)


def steps_of(target, script, observed=None):
    return Steps(target, observed or Observed(), Docker(script.runner, "docker", {}, Path("/config")))


def fails(reason, *, deadline_passed=False, **more):
    """Return a docker command that fails for this reason."""

    def action(_):
        raise DockerError(Failure(reason, "docker's words", **more), ANSWER, deadline_passed=deadline_passed)

    return action


def passes_its_deadline(_):
    """Be a docker command that its deadline ends."""
    fails(Reason.TIMEOUT, deadline_passed=True)(_)


def failed(steps, *arguments):
    with pytest.raises(StepFailed):
        steps.run(*arguments)
    return steps.done[-1]


def test_a_step_that_works_is_noted(steps, observed):
    """Its time, its retries and what docker said are kept, and its answer is returned."""
    assert steps.run(StepName.PUSH, lambda _: ANSWER) is ANSWER

    (step,) = steps.done
    assert (step.name, step.outcome, step.seconds, step.retries, step.output) == (
        StepName.PUSH, Outcome.OK, 1.5, 2, ("said",),
    )  # fmt: skip
    assert (step.reason, step.scope, step.detail) == (None, None, None)
    assert observed.told == [("started", StepName.PUSH), ("finished", StepName.PUSH)]


def test_only_a_step_that_went_well_has_phases(steps):
    """One that was judged a failure says nothing about how long such a step takes."""
    answer = replace(ANSWER, phases=(0.5, 0.75, 0.25))
    steps.run(StepName.PULL, lambda _: answer)
    failed(steps, StepName.PULL_BACK, lambda _: answer, lambda _: Failure(Reason.WARM, "proves nothing"))

    assert [step.spent for step in steps.done] == [(0.5, 0.75, 0.25), None]


def test_a_step_that_fails_is_noted_with_its_reason(steps):
    """Why, whose fault, docker's words, and how far it came."""
    step = failed(steps, StepName.PUSH, fails(Reason.QUOTA))

    assert (step.outcome, step.reason, step.scope, step.detail) == (
        Outcome.FAILED, Reason.QUOTA, Scope.REGISTRY, "docker's words",
    )  # fmt: skip
    assert (step.seconds, step.retries, step.output) == (1.5, 2, ("said",))


def test_a_judge_may_fail_a_step_that_worked(steps):
    """A command that worked is a failed step if its answer is judged one; then it is noted once."""
    step = failed(steps, StepName.PULL_BACK, lambda _: ANSWER, lambda _: Failure(Reason.WARM, "proves nothing"))

    assert (step.reason, step.seconds, len(steps.done)) == (Reason.WARM, 1.5, 1)


def test_a_judge_that_gets_no_answer_fails_the_step(steps):
    """If docker refused what the judge had to ask, that is the step's failure."""
    step = failed(steps, StepName.RMI, lambda _: ANSWER, fails(Reason.IN_USE))

    assert step.reason is Reason.IN_USE


def test_an_accepted_failure_skips_the_step(steps, observed):
    """A skipped step has no reason, and its time."""
    found = steps.run_unless(lambda failure: failure.not_there, StepName.PULL, fails(Reason.NOT_FOUND, not_there=True))

    assert found is None
    assert (steps.done[0].outcome, steps.done[0].reason, steps.done[0].seconds) == (Outcome.SKIPPED, None, 1.5)
    assert observed.told[-1] == ("finished", StepName.PULL)


def test_a_failure_that_is_not_accepted_fails_the_step(steps):
    """Only what is accepted skips a step."""
    with pytest.raises(StepFailed):
        steps.run_unless(lambda failure: failure.not_there, StepName.PULL, fails(Reason.DENIED))

    assert steps.done[0].outcome is Outcome.FAILED


# Whose fault it is.

OUTSIDE = [reason for reason in Reason if reason.scope in (Scope.REGISTRY, Scope.NETWORK, Scope.CREDENTIALS)]
DOUBTED = [Reason.TIMEOUT, Reason.RESET, Reason.REFUSED, Reason.UNCLASSIFIED]
ANSWERS = {"out": "28.2.2 20.10.24\n"}
IS_GONE = {"err": NO_DAEMON, "code": 1}
HANGS = {"does": hangs}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("name", [StepName.PULL, StepName.PUSH, StepName.PULL_BACK])
def test_the_daemon_is_asked_only_where_it_may_be_to_blame(steps, script, name, reason):
    """A deadline, a broken connection and unknown words can be a sick daemon's; the rest speaks for itself."""
    script.on(*VERSION, **ANSWERS)

    step = failed(steps, name, fails(reason))

    assert (step.reason, step.detail) == (reason, "docker's words")
    assert script.ran == ([VERSION] if reason in DOUBTED else [])
    assert all(command.deadline == ASK_SECONDS for command in script.runner.commands)


@pytest.mark.parametrize("reason", OUTSIDE)
def test_a_failed_login_always_asks_the_daemon(steps, script, reason):
    """Without a daemon newer CLIs log in by themselves, and may say anything: tls, dns, unauthorized, whatever."""
    script.on(*VERSION, **ANSWERS)
    script.on(*VERSION, **IS_GONE)

    answered, gone = (failed(steps, StepName.LOGIN, fails(reason)) for _ in range(2))

    assert (answered.reason, answered.detail) == (reason, "docker's words")
    assert (gone.reason, gone.scope) == (Reason.DAEMON, Scope.HOST)
    assert script.ran == [VERSION, VERSION]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.scope is Scope.HOST])
def test_a_login_that_the_host_failed_asks_nobody(steps, script, reason):
    """What is the host's already needs no question."""
    assert failed(steps, StepName.LOGIN, fails(reason)).reason is reason
    assert script.ran == []


@pytest.mark.parametrize("reason", DOUBTED)
def test_a_daemon_that_is_gone_gets_the_blame(steps, script, reason):
    """Both what docker said and why there is no daemon are reported."""
    script.on(*VERSION, **IS_GONE)

    step = failed(steps, StepName.PUSH, fails(reason))

    assert (step.reason, step.scope) == (Reason.DAEMON, Scope.HOST)
    assert step.detail.startswith(
        "docker's words; and docker itself does not work: Cannot connect to the Docker daemon"
    )


@pytest.mark.parametrize("reason", DOUBTED)
def test_a_daemon_that_hangs_gets_the_blame_where_the_cli_does_not(steps, script, reason):
    """If `docker version` is not answered in time, the CLI is asked about itself: it answers, so the daemon hangs."""
    script.on(*VERSION, **HANGS)
    script.on(*CLIENT_VERSION, out="Docker version 28.2.2, build e6534b4\n")

    step = failed(steps, StepName.PUSH, fails(reason))

    assert (step.reason, step.scope) == (Reason.DAEMON, Scope.HOST)
    assert step.detail == "docker's words; and the docker daemon does not answer"
    assert script.ran == [VERSION, CLIENT_VERSION]
    assert script.runner.commands[-1].deadline < ASK_SECONDS


@pytest.mark.parametrize("answer", [HANGS, {"code": -9}, {"does": is_missing}, {"err": "flag needed\n", "code": 125}])
def test_a_cli_that_can_t_even_name_its_version_gets_the_blame(steps, script, answer):
    """`docker --version` needs no daemon: if that fails, too, the CLI is broken."""
    script.on(*VERSION, **HANGS)
    script.on(*CLIENT_VERSION, **answer)

    step = failed(steps, StepName.PUSH, passes_its_deadline)

    assert (step.reason, step.scope) == (Reason.CLI, Scope.HOST)
    assert step.detail.startswith("docker's words; and docker itself does not work: ")


@pytest.mark.parametrize("answer", [{"does": is_missing}, {"code": -9}])
def test_a_cli_that_is_gone_gets_the_blame_before_the_daemon(steps, script, answer):
    """If the docker program itself can no longer be run, or is killed, that is the reason, and everything is known."""
    script.on(*VERSION, **answer)

    assert failed(steps, StepName.PUSH, fails(Reason.RESET)).reason is Reason.CLI
    assert script.ran == [VERSION]


@pytest.mark.parametrize(("name", "wanted"), [(StepName.BUILD, Reason.BUILD), (StepName.RMI, Reason.DAEMON)])
def test_a_local_step_that_takes_too_long_is_the_hosts_fault(steps, script, name, wanted):
    """Neither build nor rmi talks to a registry: a slow host is one, even if docker answers."""
    script.on(*VERSION, **ANSWERS)

    step = failed(steps, name, passes_its_deadline)

    assert (step.reason, step.scope, step.detail) == (wanted, Scope.HOST, "docker's words")
    assert script.ran == [VERSION]


@pytest.mark.parametrize("name", [StepName.BUILD, StepName.RMI])
@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ({VERSION: IS_GONE}, Reason.DAEMON),
        ({VERSION: HANGS, CLIENT_VERSION: {}}, Reason.DAEMON),
        ({VERSION: HANGS, CLIENT_VERSION: HANGS}, Reason.CLI),
    ],
)
def test_a_local_step_that_takes_too_long_asks_docker_as_others_do(steps, script, name, answers, wanted):
    """If docker itself does not work, that comes before a slow host."""
    for argv, answer in answers.items():
        script.on(*argv, **answer)

    step = failed(steps, name, passes_its_deadline)

    assert step.reason is wanted
    assert step.detail.startswith("docker's words; and ")


@pytest.mark.parametrize("reason", Reason)
def test_a_question_of_a_judge_never_blames_those_outside(steps, script, reason):
    """Questions beside a step never leave the host: whatever docker says then, no registry or network said it."""
    script.on(*VERSION, **ANSWERS)

    step = failed(steps, StepName.PULL, lambda _: ANSWER, fails(reason))

    assert step.reason is (Reason.DAEMON if reason in OUTSIDE else reason)
    assert script.ran == ([VERSION] if reason in OUTSIDE else [])


@pytest.mark.parametrize("reason", Reason)
def test_what_prepares_a_step_never_blames_those_outside(steps, script, reason):
    """Neither does what is asked before a step."""
    script.on(*VERSION, **ANSWERS)

    with pytest.raises(StepFailed) as raised, steps.preparing(StepName.PULL):
        fails(reason)(5)

    assert steps.done[-1].reason is raised.value.failure.reason is (Reason.DAEMON if reason in OUTSIDE else reason)
    assert script.ran == ([VERSION] if reason in OUTSIDE else [])


def test_a_local_question_without_an_answer_asks_docker_itself(steps, script):
    """A judge's question that passes its deadline is the daemon's fault only if the CLI still works."""
    script.on(*VERSION, **HANGS)
    script.on(*CLIENT_VERSION, **HANGS)

    assert failed(steps, StepName.PULL, lambda _: ANSWER, passes_its_deadline).reason is Reason.CLI


@pytest.mark.parametrize("reason", Reason)
def test_another_registrys_fault_is_the_dependencys(script, reason):
    """The base's failures by its registry, network or login are the dependency's; the host's stay the host's."""
    script.on(*VERSION, out="28.2.2 20.10.24\n")
    target = Target("lab", REFERENCE, base_image=Reference("docker.io", "library/alpine"))

    step = failed(steps_of(target, script), StepName.BASE, fails(reason))

    theirs = reason.scope in (Scope.REGISTRY, Scope.NETWORK, Scope.CREDENTIALS)
    assert step.reason is (Reason.BASE_IMAGE if theirs else reason)
    assert step.detail == "docker's words"


def test_a_base_from_the_monitored_host_keeps_its_reason(script):
    """Then its failure is that registry's own."""
    target = Target("lab", REFERENCE, base_image=Reference(HOST, "lab/base"))

    assert failed(steps_of(target, script), StepName.BASE, fails(Reason.QUOTA)).reason is Reason.QUOTA


STOOD_STILL = "the host did not run"


@pytest.fixture
def still(steps, monkeypatch):
    """Steps of a cycle in which the host stood still."""
    monkeypatch.setattr(steps.pulse, "why_starved", lambda _: STOOD_STILL)
    return steps


@pytest.mark.parametrize("reason", Reason)
def test_what_lost_time_can_bring_about_is_starved(still, script, reason):
    """Whatever ran into a deadline or lost its connection while nobody here ran; an answer remains an answer."""
    script.on(*VERSION, **ANSWERS)
    in_doubt = {Reason.TIMEOUT, Reason.RESET, Reason.DNS, Reason.UNREACHABLE}

    step = failed(still, StepName.PUSH, fails(reason))

    assert step.reason is (Reason.STARVED if reason in in_doubt else reason)
    assert step.detail == ("docker's words" + f"; {STOOD_STILL}" * (reason in in_doubt))


@pytest.mark.parametrize("name", [StepName.BUILD, StepName.RMI])
def test_a_local_step_too_is_starved_by_a_host_that_stood_still(still, script, name):
    """Neither the builder nor the daemon was slow."""
    script.on(*VERSION, **ANSWERS)

    assert failed(still, name, passes_its_deadline).reason is Reason.STARVED


@pytest.mark.parametrize("name", [StepName.BUILD, StepName.PUSH])
def test_a_daemon_that_does_not_answer_comes_before_lost_time(still, script, name):
    """It may be what stands still now."""
    script.on(*VERSION, **IS_GONE)

    assert failed(still, name, passes_its_deadline).reason is Reason.DAEMON


def test_a_push_that_the_build_left_too_little_time_is_starved(script, monkeypatch):
    """Had the build taken nothing, the push would have had its whole deadline."""
    now = [0.0]
    monkeypatch.setattr("lib.cycle.steps.time.monotonic", lambda: now[0])
    steps = steps_of(Target("lab", REFERENCE, step_timeout=6.0, cycle_timeout=7.0), script)

    def builds(_):
        now[0] += 5
        return DockerAnswer(5.0)

    steps.run(StepName.BUILD, builds)
    script.on(*VERSION, **ANSWERS)
    step = failed(steps, StepName.PUSH, passes_its_deadline)

    assert (step.reason, step.scope) == (Reason.STARVED, Scope.HOST)
    assert step.detail.startswith("docker's words; it had 2.0 s instead of 6.0 s")


def test_a_push_that_waited_for_others_is_starved(steps, script, monkeypatch):
    """The transfers of all targets are asked, with what is known of this step."""
    asked = []

    def why_waited(*arguments):
        asked.append(arguments)
        return "others took the slots"

    monkeypatch.setattr(steps._transfers, "why_waited", why_waited)
    script.on(*VERSION, **ANSWERS)

    assert failed(steps, StepName.PUSH, passes_its_deadline).reason is Reason.STARVED
    assert [arguments[:2] for arguments in asked] == [(StepName.PUSH, HOST)]


def test_each_step_has_the_nearer_deadline(script, monkeypatch):
    """A step has its own deadline or what is left of the cycle's, whichever is less; past that nothing is begun."""
    now = [0.0]
    monkeypatch.setattr("lib.cycle.steps.time.monotonic", lambda: now[0])
    steps = steps_of(Target("lab", REFERENCE, step_timeout=10.0, cycle_timeout=25.0), script)
    given = []

    def takes_nine(deadline):
        given.append(deadline)
        now[0] += 9
        return ANSWER

    for _ in range(3):
        steps.run(StepName.PUSH, takes_nine)
    step = failed(steps, StepName.PULL_BACK, takes_nine)

    assert given == [10, 10, 7]
    # Had the network taken it all, a step before would have passed its own deadline.
    assert (step.reason, step.seconds) == (Reason.STARVED, 0)
    assert step.detail.startswith("the cycle's deadline of 25 s passed before docker pull_back began")


def test_what_prepares_a_step_and_fails_fails_that_step(steps, observed):
    """It is noted as its step's failure, with its time, and the step's beginning was also reported."""
    with pytest.raises(StepFailed), steps.preparing(StepName.LOGIN):
        fails(Reason.DAEMON)(5)

    assert [(step.name, step.reason, step.seconds) for step in steps.done] == [(StepName.LOGIN, Reason.DAEMON, 1.5)]
    assert observed.told == [("started", StepName.LOGIN), ("finished", StepName.LOGIN)]


def test_what_prepares_a_step_and_works_is_no_step(steps, observed):
    """Nothing is noted or reported of it."""
    with steps.preparing(StepName.BASE):
        pass

    assert steps.done == []
    assert observed.told == []


def test_a_step_that_can_t_begin_is_told_and_noted(steps, observed):
    """If no command was run, the step failed in no time, and says why; the end of the cycle knows the failure."""
    failure = Failure(Reason.CREDENTIAL_HELPER, "no password", not_there=True)
    with pytest.raises(StepFailed) as raised:
        steps.fail(StepName.LOGIN, failure)

    (step,) = steps.done
    assert raised.value.failure == failure
    assert (step.outcome, step.reason, step.scope, step.detail, step.seconds) == (
        Outcome.FAILED, Reason.CREDENTIAL_HELPER, Scope.CONFIG, "no password", 0,
    )  # fmt: skip
    assert observed.told == [("started", StepName.LOGIN), ("finished", StepName.LOGIN)]


DOCKERS = [Reason.DAEMON, Reason.CLI]
BROKEN = [IS_GONE, HANGS, {"does": is_missing}, {"code": -9}]


@pytest.mark.parametrize("reason", DOCKERS)
@pytest.mark.parametrize(("answer", "works"), [(ANSWERS, True), *((broken, False) for broken in BROKEN)])
def test_docker_is_asked_whether_it_works_where_a_step_says_that_it_does_not(steps, script, reason, answer, works):
    """What came back meanwhile can remove things; also while the monitor is being stopped, and within a short time."""
    script.on(*VERSION, **answer)
    failed(steps, StepName.PUSH, fails(reason))

    assert steps.docker_answers() is works
    (command,) = script.runner.commands
    assert (command.argv[1:], command.deadline, command.cleanup) == (VERSION, ASK_SECONDS, True)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in DOCKERS])
def test_docker_is_not_asked_whether_it_works_where_another_has_the_blame(steps, script, reason):
    """Whoever else failed, docker was there to report it."""
    with pytest.raises(StepFailed):
        steps.fail(StepName.PUSH, Failure(reason, "docker's words"))

    assert steps.docker_answers()
    assert script.ran == []


def test_docker_is_not_asked_whether_it_works_where_nothing_failed(steps, script):
    """Neither before the first step nor after one that worked, or was skipped."""
    assert steps.docker_answers()
    steps.run(StepName.PUSH, lambda _: ANSWER)
    assert steps.docker_answers()
    steps.run_unless(lambda _: True, StepName.PULL, fails(Reason.DAEMON))

    assert steps.docker_answers()
    assert script.ran == []


@pytest.mark.parametrize(("step_timeout", "wanted"), [(120.0, 20.0), (4.0, 4.0)])
def test_upkeep_never_takes_longer_than_a_step(script, step_timeout, wanted):
    """What is not a step has a short deadline, or the step's own if that is shorter."""
    target = Target("lab", REFERENCE, step_timeout=step_timeout)

    assert steps_of(target, script).upkeep_seconds == upkeep_seconds(target) == wanted


@pytest.mark.parametrize(
    ("stored", "reason", "expected"),
    [
        (True, Reason.UNAUTHORIZED, Reason.CREDENTIAL_HELPER),
        (True, Reason.DENIED, Reason.CREDENTIAL_HELPER),
        (True, Reason.SERVER_ERROR, Reason.SERVER_ERROR),
        (False, Reason.UNAUTHORIZED, Reason.UNAUTHORIZED),
    ],
)
def test_a_refusal_for_want_of_a_login_is_the_credential_helpers(monkeypatch, tmp_path, stored, reason, expected):
    """Docker hides that a helper failed. With a login of our own, and for other failures, none is asked."""
    monkeypatch.setattr("lib.cycle.steps.ask_helper", lambda *_: HelperAnswer("the keychain is locked"))
    target = replace(TARGET, credentials=None, docker_config=tmp_path) if stored else TARGET
    steps = Steps(target, Observed(), Docker(lambda _: None, "docker", {}, tmp_path))

    step = failed(steps, StepName.PULL, fails(reason))

    assert step.reason is expected
    assert step.detail == ("docker's words; the keychain is locked" if expected is not reason else "docker's words")


def test_what_a_helper_gave_is_blanked_where_it_comes_back(monkeypatch, tmp_path):
    """In the detail and in the last lines of a step that failed: the helper is asked what it gives."""
    login = HelperAnswer(secrets=(Secret("words"), Secret("planted line")))
    monkeypatch.setattr("lib.cycle.steps.ask_helper", lambda *_: login)
    steps = Steps(
        Target("lab", REFERENCE, docker_config=tmp_path), Observed(), Docker(lambda _: None, "docker", {}, tmp_path)
    )

    def fail(_):
        raise DockerError(
            Failure(Reason.REJECTED, "docker's words"), DockerAnswer(1.0, output=("planted", "line", "end"))
        )

    step = failed(steps, StepName.PULL, fail)

    assert (step.detail, step.output) == ("docker's <secret>", ("<secret>", "end"))
