"""Take the pictures of the pages into docs/pictures: every page and state, and tower-walk.webp, a walk through the tower.

    python scripts/pictures.py            all of them; needs what the tests need, Chromium included
    python scripts/pictures.py job phone  only these of the functions below

Nothing is staged: a real server with the built-in wallet, and a browser that does what visitors do.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import chromium  # noqa: E402
from tests.browser.house import House, at_home  # noqa: E402
from tests.browser.visitor import READY, Visitor  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DESK = {"width": 1280, "height": 720}
NIGHT = "/tower?still&hour=21"
BYTES_MAX = 150_000
QUALITIES = (88, 80, 70, 60)
WALK_BYTES_MAX = 3_000_000
WALK_SIZE = (720, 405)
FRAME_MS = 250
TOKEN = "a-token-for-the-operators-desk-of-the-pictures"

Take = Callable[[Visitor], None]


@contextmanager
def visiting(browser: Browser, house: House, path: str | None, **wishes: Any) -> Iterator[Visitor]:
    context = browser.new_context(**{"viewport": DESK, "base_url": house.url, **wishes})
    visitor = Visitor(context.new_page(), house)
    visitor.page.set_default_timeout(90_000)
    if path is not None:
        visitor.page.goto(path)
        if path.startswith("/tower"):
            visitor.page.wait_for_selector(READY)
            settled(visitor.page)
    yield visitor
    context.close()


def settled(page: Page) -> None:
    """Until what is new has been drawn; with software WebGL a picture takes its time."""
    page.wait_for_function(
        "() => new Promise(seen => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => seen(true), 900))))"
    )


def keep(name: str, page: Page, *, is_still: bool = False) -> None:
    """As good as fits into the limit. `is_still`: a page without script has drawn all it will."""
    if not is_still:
        settled(page)
    picture = Image.open(io.BytesIO(page.screenshot(timeout=120_000))).convert("RGB")
    if picture.width > DESK["width"]:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    for quality in QUALITIES:
        packed = io.BytesIO()
        picture.save(packed, "WEBP", quality=quality, method=6)
        if packed.tell() <= BYTES_MAX:
            break
    (PICTURES / name).write_bytes(packed.getvalue())
    sys.stdout.write(f"{name}: {packed.tell() // 1000} kB\n")


def landing(browser: Browser, house: House) -> None:
    with visiting(browser, house, "/") as visitor:
        visitor.page.wait_for_selector(".status[data-open=yes]")
        keep("landing.webp", visitor.page)
        visitor.page.fill("#question", "What can you do?")
        visitor.page.get_by_role("button", name="Ask").click()
        visitor.page.wait_for_selector("#free .said")
        keep("landing-free-answer.webp", visitor.page)


def hours(browser: Browser, house: House) -> None:
    for name, hour in (("night", 21), ("dawn", 6.4), ("day", 12)):
        with visiting(browser, house, f"/tower?still&hour={hour}") as visitor:
            keep(f"tower-{name}.webp", visitor.page)


def talk(browser: Browser, house: House) -> None:
    with visiting(browser, house, NIGHT) as visitor:
        visitor.page.fill("#message", "Good evening, wizard! What is in your ball?")
        visitor.page.keyboard.press("Enter")
        visitor.page.wait_for_selector("#bubble:not([hidden])")
        keep("tower-talk.webp", visitor.page)


def job(browser: Browser, house: House) -> None:
    with visiting(browser, house, NIGHT) as visitor:
        visitor.page.fill("#message", "Write a spell for rain, in three verses.")
        visitor.sees("Hiring: 10 sats to check, then", "#price")
        keep("tower-price-line.webp", visitor.page)
        visitor.page.click("#hire-button")
        visitor.sees_title("Pay the check fee")
        keep("tower-pay.webp", visitor.page)
        visitor.pays()
        visitor.sees_title("Timmy's price")
        visitor.page.get_by_text("How this price came about").click()
        keep("tower-price.webp", visitor.page)
        visitor.pays()
        visitor.sees_title("Done")
        keep("tower-done.webp", visitor.page)
        visitor.locator(".payout").scroll_into_view_if_needed()
        keep("tower-refund.webp", visitor.page)
        visitor.locator("#test-refund").click()
        visitor.sees("went back to you")
        keep("tower-refunded.webp", visitor.page)


def troubles(browser: Browser, house: House) -> None:
    for name, request, title in (("refused", "please reject this", "Timmy said no"), ("failed", "please fail", "It did not work")):
        with visiting(browser, house, NIGHT) as visitor:
            visitor.hire(request)
            visitor.sees_title("Pay the check fee")
            visitor.pays()
            if name == "failed":
                visitor.sees_title("Timmy's price")
                visitor.pays()
            visitor.sees_title(title)
            keep(f"tower-{name}.webp", visitor.page)
    with visiting(browser, house, NIGHT) as visitor:
        visitor.hire("What is late?")
        visitor.sees_title("Pay the check fee")
        old = visitor.scan().partition(":")[2]
        house.clock.advance(seconds=700)
        visitor.sees_title("The time to pay is over")
        keep("tower-expired.webp", visitor.page)
        house.pay_as_a_wallet(old)
        visitor.sees("are yours to take back")
        keep("tower-paid-late.webp", visitor.page)


def balance(browser: Browser, house: House) -> None:
    with visiting(browser, house, NIGHT) as visitor:
        visitor.page.click("#purse")
        visitor.sees_title("Balance")
        keep("tower-balance-new.webp", visitor.page)
        visitor.button("Put in 2,000").click()
        visitor.sees("To fill your balance")
        visitor.pays()
        visitor.page.wait_for_selector(".key")
        keep("tower-balance.webp", visitor.page)
        visitor.hire("Write a haiku about rain.")
        visitor.sees_title("Done")
        keep("tower-balance-answer.webp", visitor.page)
        visitor.button("Balance").click()
        visitor.button("Close and take the rest").click()
        keep("tower-balance-close.webp", visitor.page)


def people(browser: Browser, house: House) -> None:
    from tests.browser.test_identity_and_pool import extension

    with visiting(browser, house, None) as visitor:
        extension(0)(visitor.page)
        visitor.page.goto(NIGHT)
        visitor.page.wait_for_selector(READY)
        visitor.page.click("#who")
        visitor.sees_title("You")
        keep("tower-signed-in.webp", visitor.page)
        visitor.page.click("#pool")
        visitor.sees("Why somebody pays the full price")
        keep("tower-pool.webp", visitor.page)
    with visiting(browser, house, NIGHT) as visitor:
        visitor.page.click("#who")
        visitor.sees("No Nostr extension")
        keep("tower-no-extension.webp", visitor.page)


def plain(browser: Browser, house: House) -> None:
    with visiting(browser, house, "/tower?no3d") as visitor:
        keep("tower-without-3d.webp", visitor.page)
    with visiting(browser, house, NIGHT) as visitor:
        visitor.page.route_web_socket("**/api/ws", lambda line: line.close())
        visitor.page.reload()
        visitor.page.wait_for_selector("html[data-line=lost][data-world]")
        keep("tower-not-connected.webp", visitor.page)


def phone(browser: Browser, house: House) -> None:
    pixel = {"viewport": {"width": 393, "height": 727}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    with visiting(browser, house, "/", **pixel) as visitor:
        visitor.page.wait_for_selector(".status[data-open=yes]")
        keep("phone-landing.webp", visitor.page)
        visitor.page.goto(NIGHT)
        visitor.page.wait_for_selector(READY)
        keep("phone-tower.webp", visitor.page)
        visitor.hire()
        visitor.sees_title("Pay the check fee")
        keep("phone-pay.webp", visitor.page)
        visitor.pays()
        visitor.sees_title("Timmy's price")
        visitor.pays()
        visitor.sees_title("Done")
        keep("phone-done.webp", visitor.page)


class Walk:
    """Pictures at even steps of the scene's own time: each frame is drawn when it is asked for, however long that takes."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []

    def go(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            self.page.evaluate("step => __scene.step(step)", FRAME_MS / 1000)
            taken = Image.open(io.BytesIO(self.page.screenshot(timeout=120_000, type="jpeg", quality=92)))
            self.frames.append(taken.convert("RGB"))

    def keep(self, path: Path) -> None:
        for quality in (60, 45, 32, 22, 14):
            packed = io.BytesIO()
            self.frames[0].save(
                packed,
                "WEBP",
                save_all=True,
                append_images=self.frames[1:],
                duration=FRAME_MS,
                loop=0,
                quality=quality,
                method=4,
                minimize_size=False,
            )
            if packed.tell() <= WALK_BYTES_MAX:
                break
        path.write_bytes(packed.getvalue())
        sys.stdout.write(f"{path.name}: {packed.tell() // 1000} kB, {len(self.frames)} frames, quality {quality}\n")


def way_back(browser: Browser, house: House) -> None:
    with visiting(browser, house, NIGHT) as visitor:
        for request in ("Write a spell for rain.", "Write a spell for snow."):
            visitor.hire(request)
            visitor.sees_title("Pay the check fee")
            visitor.page.keyboard.press("Escape")
        visitor.page.click("#own")
        visitor.sees_title("Your jobs")
        keep("tower-your-jobs.webp", visitor.page)


def without_script(browser: Browser, house: House) -> None:
    """The plain page, as it is with JavaScript off."""
    with visiting(browser, house, "/api/ui", java_script_enabled=False) as visitor:
        page = visitor.page
        keep("plain.webp", page, is_still=True)
        page.fill("textarea", "Write a spell for rain.")
        page.get_by_role("button", name="Hire Timmy").click()
        for name in ("plain-pay.webp", "plain-price.webp"):
            page.wait_for_selector(".qr")
            keep(name, page, is_still=True)
            invoice = re.search(r"lnbcrt[0-9a-z]{50,}", page.content())
            assert invoice is not None
            house.pay_as_a_wallet(invoice[0])
            page.wait_for_selector("h1:text('The price of the work'), h1:text('Done')")
        page.wait_for_selector("h1:text('Done')")
        keep("plain-done.webp", page, is_still=True)


def desk(browser: Browser, house: House) -> None:
    with visiting(browser, house, "/admin", java_script_enabled=False, viewport={"width": 1280, "height": 1000}) as visitor:
        keep("desk-sign-in.webp", visitor.page, is_still=True)
        visitor.page.locator("input[type=password]").fill(TOKEN)
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.page.wait_for_selector(".tiles")
        keep("desk.webp", visitor.page, is_still=True)
        visitor.page.goto("/api/admin/node-status/html")
        keep("desk-node.webp", visitor.page, is_still=True)


def walk(browser: Browser, house: House) -> None:
    with visiting(browser, house, "/tower?still&hour=19.6", viewport=DESK, device_scale_factor=WALK_SIZE[0] / DESK["width"]) as visitor:
        page, film = visitor.page, Walk(visitor.page)
        film.go(5)
        page.type("#message", "Hello Timmy!")
        film.go(1.5)
        page.keyboard.press("Enter")
        page.wait_for_selector("#bubble:not([hidden])")
        film.go(7.5)
        page.fill("#message", "Write a spell for rain.")
        visitor.sees("Hiring: 10 sats to check", "#price")
        film.go(4)
        page.click("#hire-button")
        visitor.sees_title("Pay the check fee")
        film.go(6.5)
        visitor.pays()
        visitor.sees_title("Timmy's price")
        film.go(7.5)
        visitor.pays()
        visitor.sees_title("Done")
        film.go(11.5)
        visitor.locator("#test-refund").scroll_into_view_if_needed()
        film.go(3)
        visitor.locator("#test-refund").click()
        visitor.sees("went back to you")
        film.go(8)
        page.keyboard.press("Escape")
        film.go(5.5)
        film.keep(PICTURES / "tower-walk.webp")


SCENES = (
    landing,
    hours,
    talk,
    job,
    way_back,
    balance,
    people,
    plain,
    without_script,
    desk,
    phone,
    walk,
    troubles,
)  # the last puts the clock forward


def served(folder: str) -> AbstractContextManager[House]:
    return at_home(Path(folder), CHAT_PER_MINUTE="1000", ADMIN_TOKEN=TOKEN)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, served(folder) as house, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.executable(), args=list(chromium.ARGUMENTS))
        for scene in SCENES:
            if not wanted or scene.__name__ in wanted:
                scene(browser, house)
        browser.close()


if __name__ == "__main__":
    main()
