"""The browser: a real Chromium without a window, with a profile of its own, that reaches only this machine."""

from __future__ import annotations

import base64
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from lab.closing import Holding
from lab.daemon import LabError
from lab.port import Port

_ANSWER_SECONDS = 30.0

_SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-lcd-text",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser(Holding):
    """A Chromium. A context manager: it runs from entry to exit, and its profile is gone then.

    Attributes:
        driver: what selenium gives to drive it.
    """

    driver: webdriver.Chrome

    def prepare(self, held: ExitStack) -> None:
        """Start it. Raise LabError if it is not installed."""
        chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or chromedriver is None:
            raise LabError("chromium or chromedriver is missing. `sh lab/setup.sh --tests` installs them.")
        profile = held.enter_context(TemporaryDirectory(prefix="registry-monitor-browser-"))
        port = held.enter_context(Port())
        options = Options()
        options.binary_location = chromium
        for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium has none for root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(chromedriver, port=port.number, env={**os.environ, "HOME": profile})
        self.driver = webdriver.Chrome(options=options, service=service)
        held.callback(self.driver.quit)
        self.driver.set_page_load_timeout(_ANSWER_SECONDS)
        self.driver.set_script_timeout(_ANSWER_SECONDS)

    def open(self, url: str) -> None:
        """Given a URL, show what is there."""
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Given the body of a function in JavaScript, and its arguments, run it in the page and return its value."""
        return cast("Any", self.driver.execute_script(script, *arguments))

    def command(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Given a command of the DevTools protocol, and its parameters, return its result."""
        return cast("dict[str, Any]", self.driver.execute_cdp_cmd(name, parameters))

    def set_screen(self, width: int, height: int = 900, *, mobile: bool = False) -> None:
        """Given a screen's width and height in CSS pixels, and whether it is a phone's, show pages on that."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def set_colours(self, scheme: str) -> None:
        """Given what the reader prefers, `light` or `dark`, let pages know."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def set_scripts(self, *, allowed: bool) -> None:
        """Given whether pages may run scripts, apply that from the next page on."""
        self.command("Emulation.setScriptExecutionDisabled", value=not allowed)

    def console(self) -> list[str]:
        """Return what was written to the console since this was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def picture(self, file: Path, most_height: int = 2000) -> None:
        """Given a file, write what the page looks like to it as PNG: its width is the screen's, its height its own.

        Given also how many CSS pixels of the height at most.
        """
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most_height), "scale": 1}
        taken = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(taken["data"]))
