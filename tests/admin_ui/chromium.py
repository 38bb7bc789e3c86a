"""A headless Chromium with a fresh profile, driven by selenium."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.support.processes import scratch_directory
from tests.support.programs import require_program

OFFICE = "192.168.77.7"  # leads to this machine in this browser: an address as phones in an office can reach it
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1280,900", f"--host-resolver-rules=MAP {OFFICE} 127.0.0.1",
)
SECONDS = 20


class Browser:
    """What a person does at the screen, in short words. ``stop()`` ends it and removes its profile."""

    def __init__(self, *, language: str = "en") -> None:
        chromium = require_program("chromium", "chromium chromium-driver")
        driver = require_program("chromedriver", "chromium chromium-driver")
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.profile = scratch_directory("chromium")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={self.profile}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(SECONDS)

    def stop(self) -> None:
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def go(self, address: str) -> None:
        self.driver.get(address)

    def find(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements("css selector", selector)]

    def fill(self, name: str, text: str) -> None:
        field = self.find(f"[name={name}]")
        field.clear()
        field.send_keys(text)

    def press(self, text: str) -> None:
        """Click the button or link that reads ``text``."""
        quoted = f'"{text}"'
        found = self.driver.find_elements(
            "xpath", f"//main//*[self::a or self::button][normalize-space()={quoted}] | //main//input[@value={quoted}]"
        )
        assert found, f"nothing to press reads {text!r} on {self.driver.current_url}"
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
        found[0].click()

    def turn_to_new_tab(self) -> None:
        """Go on in the tab that a link opened; the page that it left is closed."""
        self.wait(lambda: len(self.driver.window_handles) > 1, "the new tab")
        old = self.driver.current_window_handle
        self.driver.close()
        self.driver.switch_to.window(next(handle for handle in self.driver.window_handles if handle != old))

    def wait(self, condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Until ``condition()`` is true; an element that the page replaced meanwhile counts as not yet."""
        from selenium.common.exceptions import TimeoutException, WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            WebDriverWait(
                self.driver, seconds, poll_frequency=0.1, ignored_exceptions=[WebDriverException]
            ).until(lambda _driver: condition())
        except TimeoutException:
            raise AssertionError(f"{what}: not within {seconds} s; the page reads:\n{self.find('body').text}") from None

    def complaints(self) -> list[str]:
        """What the browser itself found wrong: broken scripts, missing files, what the security policy blocked. Not
        that it ignores Cross-Origin-Opener-Policy, as it says of every page by plain HTTP that is not at localhost."""
        entries = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [entry for entry in entries if "Cross-Origin-Opener-Policy header has been ignored" not in entry]
