"""Drive Chromium in tests, which are skipped where it is not installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402 (after the skip)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="Chromium or its chromedriver is not installed"
)


@contextmanager
def open_browser(*arguments: str) -> Iterator[Any]:
    """Start a Chromium with an empty profile, in which sound needs a real click."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1200,1000", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait_until(page: Any, script: str, seconds: float = 10) -> None:
    """Wait until a JavaScript expression is true; fail after some seconds."""
    WebDriverWait(page, seconds).until(lambda x: x.execute_script(f"return {script}"), script)


def find(page: Any, selector: str) -> Any:
    """Return the first element of a CSS selector."""
    return page.find_element("css selector", selector)


def texts(page: Any, selector: str) -> list[str]:
    """Return the texts of all elements of a CSS selector."""
    return [element.text for element in page.find_elements("css selector", selector)]
