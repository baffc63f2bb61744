"""Somebody in front of the page: sees it, types, presses, scans and pays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import zxingcpp
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.browser.house import House

READY = "html[data-ready][data-line=open][data-world]"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
HARMLESS = "GPU stall due to ReadPixels"  # software WebGL, when a picture is taken
TITLE = "#panel-title"
PATIENCE_MS = 20_000

LISTEN = """(() => {
  window.heard = [];
  const hear = changes => changes.forEach(({target}) => {
    const region = (target.nodeType === 1 ? target : target.parentElement)?.closest?.('#live, #alert');
    if (region?.textContent) window.heard.push(region.textContent);
  });
  new MutationObserver(hear).observe(document, {subtree: true, childList: true, characterData: true});
})()"""

Picture = npt.NDArray[np.int64]

expect.set_options(timeout=PATIENCE_MS)


LOOKS, LOOK_EVERY_MS = 20, 300
QR_CODES = zxingcpp.barcode_formats_from_str("QRCode")
NEARNESSES = (1.0, 4.0, 0.75, 1.5)


class Visitor:
    def __init__(self, page: Page, house: House) -> None:
        self.page = page
        self.house = house
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(LISTEN)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"page: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and HARMLESS not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def forgive(self, *words: str) -> None:
        """Complaints that belong to the test: each with these words in it."""
        self.complaints = [complaint for complaint in self.complaints if not any(word in complaint for word in words)]

    # What is seen ---------------------------------------------------------------------------------------------

    def locator(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def sees(self, text: str, within: str = "#panel") -> None:
        expect(self.locator(within)).to_contain_text(text)

    def sees_title(self, title: str) -> None:
        expect(self.locator(TITLE)).to_have_text(title)

    def hears(self, text: str) -> None:
        """What a screen reader is told, now or since the page was opened."""
        self.page.wait_for_function("text => window.heard.some(said => said.includes(text))", arg=text)

    def focused(self) -> str:
        found: str = self.page.evaluate("() => document.activeElement.id || document.activeElement.textContent")
        return found.strip()

    def picture(self, selector: str | None = None) -> Picture:
        taken = self.locator(selector).screenshot() if selector else self.page.screenshot()
        return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB")).astype(np.int64)

    def scan(self) -> str:
        """The code on the screen, as a wallet's camera reads it: QR codes only, because one in 400 has a stripe that passes for a bar code,
        too; from nearer and farther, because the reader fails at one in some hundreds from any one place; and again, where the page was
        loading itself anew in that moment."""
        for _ in range(LOOKS):
            picture = Image.open(io.BytesIO(self.locator(".qr").screenshot()))
            for nearness in NEARNESSES:
                size = (round(picture.width * nearness), round(picture.height * nearness))
                found = zxingcpp.read_barcodes(picture.resize(size, Image.Resampling.LANCZOS), formats=QR_CODES)
                if len(found) == 1:
                    return str(found[0].text)
            self.page.wait_for_timeout(LOOK_EVERY_MS)
        raise AssertionError("one QR code can be read")

    def is_accessible(self, state: str) -> None:
        """axe-core (WCAG 2.2 AA and best practice) finds nothing."""
        results: Any = Axe().run(self.page, options={"resultTypes": ["violations"], "runOnly": list(RULES)}).response
        told = [f"{one['id']}: {[node['target'] for node in one['nodes']][:3]}" for one in results["violations"]]
        assert told == [], state

    def fits(self, width: float) -> None:
        """Every control lies within the device's own width: the page's grows with what hangs out of it."""
        out = []
        for one in self.locator("button, a, input, textarea, section, li, h1, h2").all():
            box = one.bounding_box() if one.is_visible() else None
            if box and box["width"] > 2 and (box["x"] < -1 or box["x"] + box["width"] > width + 1):
                out.append((one.evaluate("e => e.id || e.className || e.textContent"), box))
        assert out == [], out

    # What is done ---------------------------------------------------------------------------------------------

    def hire(self, request: str = "Write a spell for rain.") -> None:
        self.page.fill("#message", request)
        self.page.click("#hire-button")

    def pays(self) -> None:
        """With a wallet of their own, from what the camera reads."""
        scheme, _, invoice = self.scan().partition(":")
        assert scheme == "LIGHTNING"
        self.house.pay_as_a_wallet(invoice)

    def buys(self, request: str = "Write a spell for rain.") -> None:
        """From the order to the answer."""
        self.hire(request)
        self.sees_title("Pay the check fee")
        self.pays()
        self.sees_title("Timmy's price")
        self.pays()
        self.sees_title("Done")
