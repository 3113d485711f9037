"""A real Chromium without a window, as Debian packages it: what a page does in it, and what it asks the network for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT = 600.0  # seconds: a busy machine draws slowly, and only what hangs is given up


def missing() -> str:
    """Why there is no browser here; "" if there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed: apt-get install chromium chromium-driver" if absent else ""


class Page:
    """A page that is open in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Opens a file and waits until its script has run."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.wait("return document.documentElement.dataset.ready")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script gives."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str) -> Any:
        """Waits until a script gives something true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT, poll_frequency=0.05).until(lambda driver: driver.execute_script(script))

    def find(self, selector: str) -> Any:
        """The first element that a CSS selector chooses."""
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str) -> Any:
        """Clicks an element, which it brings into the middle of the window before; gives it."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'})", element)
        element.click()
        return element

    def draw(self, most: int = 1000) -> int:
        """Brings every plot, or the first ones, into view and waits until it is drawn; gives how many there are. Fails
        if one is not."""
        count = self.run("return document.querySelectorAll('.plot').length")
        for number in range(min(count, most)):
            own = f"document.querySelectorAll('.plot')[{number}]"
            self.run(
                f"{own}.closest('details')?.setAttribute('open', ''); {own}.scrollIntoView({{behavior: 'instant'}})"
            )
            drawn = self.wait(f"const drawn = {own}.dataset.drawn; return ['yes', 'no'].includes(drawn) && drawn")
            assert drawn == "yes", self.run(f"return {own}.textContent")
        return int(count)

    def errors(self) -> list[str]:
        """Errors and warnings in the console since the page was opened, but for those of the graphics driver, which a
        machine without a GPU has."""
        told = [one for one in self.driver.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]
        return [one["message"] for one in told if "GL Driver Message" not in one["message"]]

    def requests(self) -> list[str]:
        """What was asked of the network since the page was opened: all that is no file, nor in the page itself."""
        told = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


@contextmanager
def chromium() -> Iterator[Page]:
    """A browser for the block, which reaches no host by name. Skips the test where there is none."""
    if why := missing():
        pytest.skip(why)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1440,1000"),
        *(
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-background-networking",
            "--no-first-run",
        ),
        *("--disable-component-update", "--enable-unsafe-swiftshader"),
    ):
        options.add_argument(argument)
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(WAIT)
    try:
        yield Page(driver)
    finally:
        driver.quit()
