"""Pictures of pages as people see them: light and dark, on a wide screen and on a telephone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from tests.admin_ui.chromium import Browser

WIDE, NARROW = 1280, 360
DIRECTORY = "PBX_SCREENSHOTS"
"""The environment variable that names where they are saved; without it none are."""


class Camera:
    def __init__(self, browser: Browser) -> None:
        self._driver = browser.driver
        self._directory = os.environ.get(DIRECTORY, "")
        self.too_wide: list[str] = []
        """Pages that had to be moved sideways, and at which width."""

    def take(self, name: str) -> None:
        """Four pictures of the page of now, which is left as it was."""
        for width in (WIDE, NARROW):
            self._cdp("Emulation.setDeviceMetricsOverride", width=width, height=900 if width == WIDE else 740,
                      deviceScaleFactor=1, mobile=width == NARROW)
            for theme in ("light", "dark"):
                self._cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
                # Colours that fade from one theme to the other would be caught half-way.
                self._driver.execute_script(
                    "document.body.offsetHeight; document.getAnimations().forEach(one => one.finish())"
                )
                if self._directory:
                    shot = self._cdp("Page.captureScreenshot", captureBeyondViewport=True)
                    path = Path(self._directory)
                    path.mkdir(parents=True, exist_ok=True)
                    (path / f"{name}-{width}-{theme}.png").write_bytes(base64.b64decode(shot["data"]))
            needed = self._driver.execute_script("return document.documentElement.scrollWidth")
            if needed > width:
                self.too_wide.append(f"{name}: {needed} pixels at {width}")
        self._cdp("Emulation.clearDeviceMetricsOverride")
        self._cdp("Emulation.setEmulatedMedia", features=[])

    def _cdp(self, command: str, **arguments: object) -> dict:
        return self._driver.execute_cdp_cmd(command, arguments)
