"""The page in a real browser: with and without scripts, by keyboard, on small screens, for screen readers."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from lab.browser import Browser
from lab.daemon import await_true
from lab.monitor import Monitor
from lab.past import DAEMON, SERVER_ERROR, a_target, many_targets, one_target
from lib.failure import Failure, Reason, Verdict
from lib.rested import Kind, RestedImage
from lib.target import StrangersMay

PATIENCE = 20.0

ONE, ALL, NOBODY, OPEN = "?target=gitlab-ams", "", "?target=nobody", "?target=open"


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium):
    """The browser, on a desktop, whose pages may run scripts and have had nothing to complain of."""
    chromium.set_screen(1280)
    chromium.set_colours("light")
    chromium.set_scripts(allowed=True)
    chromium.open("about:blank")
    chromium.console()
    yield chromium
    chromium.set_scripts(allowed=True)
    assert chromium.console() == []


@pytest.fixture(scope="module")
def past():
    """Many targets, three of which fail; one is exposed and lost a rested image, and one has yet to come to its first
    verdict.
    """
    past = many_targets(failing=True, number=12, days=0.05)
    exposed = a_target("open", "quay.io/acme/open", expect_private=True, cold_images=3)
    past.begin(a_target("later", "quay.io/acme/later"), exposed)
    past.live(exposed, 0.1)
    open_one, now = past.watch.targets[-1], datetime.fromtimestamp(past.now, UTC)
    open_one.record.strangers = StrangersMay(pull=True)
    digest = f"sha256:{64 * 'a'}"
    rested = RestedImage(1, "latest-cold-1", Kind.SINGLE, now, digest, now, now, now, Verdict.UP, is_lost=False)
    why = Failure(Reason.NOT_FOUND, f"the tag is gone, and the image is still there by its digest {digest}")
    lost = replace(rested, number=2, tag="latest-cold-2", verdict=Verdict.DOWN, failure=why, is_lost=True)
    unpushed = RestedImage(3, "latest-cold-3", Kind.SINGLE, now, verdict=Verdict.UNKNOWN, failure=why)
    open_one.rested.images = (rested, lost, unpushed)
    return past


@pytest.fixture(scope="module")
def url(past):
    with past.served() as url:
        yield url


def shown(browser):
    """The names of the targets that are shown, in their order."""
    return browser.run("return [...document.querySelectorAll('article h3 a, .targets th a')].map(a => a.textContent)")


def text(browser):
    return browser.run("return document.body.innerText")


def refresh(browser):
    """Have the page ask for itself again as it does when it comes back into view, and wait until it has."""
    browser.run("document.querySelector('footer time').textContent = 'before'")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    asked_again = "return document.querySelector('footer time').textContent !== 'before'"
    await_true(lambda: browser.run(asked_again), PATIENCE, "the page to have asked again")


# For whom sees, and for whom doesn't.


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("asked", [ALL, ONE, OPEN, "?target=later", NOBODY, "?name=nobody"])
def test_axe_finds_nothing(browser, url, asked, colours):
    browser.set_colours(colours)
    browser.command("Page.setBypassCSP", enabled=True)  # for axe itself, which is put into the page
    try:
        browser.open(url + asked)
        browser.run("[...document.querySelectorAll('details')].slice(0, 5).forEach(one => one.open = true)")
        violations = Axe().run(browser.driver)["violations"]
    finally:
        browser.command("Page.setBypassCSP", enabled=False)
    assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
    complaints = browser.console()
    assert len(complaints) == (asked == NOBODY)
    assert all("status of 404" in complaint for complaint in complaints)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("asked", [ALL, ONE, OPEN, "?target=later"])
def test_nothing_is_wider_than_the_screen(browser, url, asked, width):
    browser.set_screen(width, mobile=width < 1280)
    browser.open(url + asked)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run("return document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("asked", [ALL, ONE])
def test_all_that_can_be_followed_or_opened_is_reached_by_keyboard_and_shows_it(browser, url, asked):
    browser.open(url + asked)
    wanted = browser.run(
        "return [...document.querySelectorAll('a[href]:not([tabindex]), summary, input, select, button')]"
        ".filter(one => one.checkVisibility()).length"
    )
    browser.run("window.met = new Set()")
    for _ in range(wanted):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        browser.run("met.add(document.activeElement)")
        assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.run("return met.size") == wanted


def test_headings_and_landmarks_tell_what_is_where(browser, url):
    browser.open(url)
    outline = "return [...document.querySelectorAll('h1, h2')].map(one => one.innerText.trim())"
    assert browser.run(outline) == [
        "2 of 14 registries are down",
        "Needs attention",
        "Waiting for a first verdict",
        "Up",
    ]
    for landmark in ("header", "main", "footer", "[role=search]"):
        assert browser.run("return document.querySelectorAll(arguments[0]).length", landmark) == 1


# Without scripts.


def test_without_scripts_all_is_there_and_the_filter_works(browser, url):
    browser.set_scripts(allowed=False)
    browser.open(url)
    names = [one.text for one in browser.driver.find_elements("css selector", "article h3 a")]
    assert names == ["gitlab-ams", "docker-fra", "ecr-fra", "open"]
    assert browser.driver.title.startswith("2 of 14 registries are down")
    browser.driver.find_element("id", "name").send_keys("fra", Keys.ENTER)
    await_true(lambda: "name=fra" in browser.driver.current_url, PATIENCE, "the filtered page")
    assert "6 of 14 shown." in browser.driver.find_element("id", "filtered").text
    refresh_after = browser.driver.find_element("css selector", "meta[http-equiv=refresh]").get_attribute("content")
    assert refresh_after == "60"


def test_without_scripts_a_mark_leads_to_its_cycle_which_stands_open(browser, url):
    browser.set_scripts(allowed=False)
    browser.open(url)
    marks = browser.driver.find_elements("css selector", "article:first-of-type .strip a.down")
    cycle = marks[-2].get_attribute("href").partition("#")[2]
    marks[-2].click()
    await_true(lambda: cycle in browser.driver.current_url, PATIENCE, "the target's page")
    assert browser.driver.find_element("id", cycle).get_attribute("open") == "true"
    assert "503 Service Unavailable" in browser.driver.find_element("id", cycle).text


# With scripts.


def test_the_filter_works_as_one_types(browser, url):
    browser.open(url)
    assert len(shown(browser)) == 14
    field = browser.driver.find_element("id", "name")
    field.send_keys("quay-")
    await_true(lambda: len(shown(browser)) == 2, PATIENCE, "the filter")
    assert browser.driver.switch_to.active_element == field
    assert field.get_attribute("value") == "quay-"
    assert browser.driver.current_url.endswith("?name=quay-")
    field.clear()
    field.send_keys("a")
    browser.driver.find_element("id", "verdict").send_keys("unk")
    await_true(lambda: shown(browser) == ["ecr-fra"], PATIENCE, "the filter by verdict")


def test_a_refresh_changes_what_has_changed_and_nothing_else(browser):
    past = one_target(SERVER_ERROR, days=0.2)
    past.begin(a_target("other", "quay.io/acme/other"))
    past.live(past.targets[1], 0.01)
    with past.served() as url:
        browser.open(f"{url}?target=quay")
        cycle = browser.driver.find_element("css selector", "details.cycle summary")
        cycle.click()
        browser.driver.find_element("css selector", "#output summary").click()
        browser.run("arguments[0].focus(); scrollTo(0, 300); window.kept = document.activeElement", cycle)
        newest = browser.run("return document.querySelector('details.cycle').id")
        past.now += 120
        past.live(past.targets[0], 100 / 86400)

        def is_up():
            # What it showed is kept for a second.
            refresh(browser)
            return browser.run("return document.querySelector('h1').innerText.trim()") == "quay is up"

        await_true(is_up, PATIENCE, "the page to change")
        assert browser.driver.title.startswith("quay is up")
        assert browser.run("return document.querySelector('details.cycle').id") != newest
        assert browser.run("return document.getElementById(arguments[0]).open", newest)
        assert browser.run("return kept === document.activeElement && kept.isConnected")
        assert browser.run("return scrollY") > 0


def test_details_that_were_closed_stay_closed(browser, url):
    browser.open(url)
    browser.driver.find_element("css selector", "#o-gitlab-ams summary").click()
    refresh(browser)
    assert not browser.run("return document.getElementById('o-gitlab-ams').open")
    assert browser.run("return document.getElementById('o-docker-fra').open")


def test_a_monitor_that_is_gone_is_told_and_so_is_its_return(browser):
    past = one_target(days=0.2)
    with past.served() as url:
        browser.open(url)
        port = int(url.rsplit(":", 1)[1].strip("/"))
        assert "does not answer" not in text(browser)

    def is_told():
        # Again and again: a connection that the browser had opened beforehand is still answered.
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")
        return "The monitor does not answer." in text(browser)

    await_true(is_told, PATIENCE, "the page to say so")
    assert all("net::ERR_CONNECTION" in complaint for complaint in browser.console())
    with past.served(port):
        refresh(browser)
        assert "does not answer" not in text(browser)


def test_what_is_hostile_is_only_text(browser):
    hostile = "</pre><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    past = one_target(days=0.2)
    target = a_target(hostile, "quay.io/acme/hostile")
    past.begin(target)
    past.live(target, 0.01, replace(DAEMON, words=(hostile,)))
    past.faults.append(hostile)
    with past.served() as url:
        for asked in (ALL, f"?target={hostile}", f"?name={hostile}"):
            browser.open(url + asked)
            refresh(browser)
            assert browser.driver.title != "taken"
            assert hostile in text(browser)
            assert browser.run("return document.querySelectorAll('img, pre script').length") == 0


# The story, with real parts.


def test_the_page_tells_what_broke_and_that_it_was_repaired(browser, engine, registry, repository, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    options = (
        f"-repository={repository}",
        "-username=monitor",
        f"-password-file={password}",
        "-run-test-every=1s",
        "-retry-every=500ms",
    )
    with Monitor(tmp_path, engine, *options) as monitor:
        browser.open(f"{monitor.url}/")
        browser.run("setInterval(() => document.dispatchEvent(new Event('visibilitychange')), 500)")
        await_true(lambda: browser.driver.title.startswith(f"{repository} is up"), PATIENCE, "the page to turn green")
        registry.stop()
        try:
            # The cycle that was under way as the registry went may see a connection that is reset, or docker may try an
            # upload again for about a minute; the next is refused.
            red = r" is down: \w+ refused · registry-monitor$"
            await_true(lambda: re.search(red, browser.driver.title), PATIENCE + 120, "the page to turn red")
            said = text(browser)
            assert f"{Reason.REFUSED.words}. refused" in said
            assert "connect: connection refused" in said
            assert Reason.REFUSED.advice in said
        finally:
            registry.start()
        await_true(lambda: browser.driver.title.startswith(f"{repository} is up"), PATIENCE, "the page to turn green")
        assert re.search(r"The last one that was not up: \w+ refused", text(browser))
        browser.open("about:blank")  # before the monitor is gone
