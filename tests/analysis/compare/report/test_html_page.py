"""The page in a real browser: it sorts, shows its pictures, fits a phone and says nothing on the console."""

import shutil
from collections.abc import Iterator

import pytest

from analysis.compare.judge.collect import collect
from analysis.compare.judge.verdicts import summarise
from analysis.compare.report.html_page import html

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def address(comparison) -> str:
    rows = collect(comparison)
    file = comparison / "index.html"
    file.write_text(html(summarise(rows), rows, "Comparison: exp"), encoding="utf-8")
    return file.as_uri()


def first_cells(page: object) -> list[str]:
    return page.locator("table").first.locator("tbody tr td:first-child").all_text_contents()


def test_sorting_pictures_and_a_quiet_console(browser, address) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    assert first_cells(page)[0] == "none"
    head = page.get_by_role("button", name="mAP50-95", exact=True)
    head.click()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    head.click()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert first_cells(page)[0].startswith("CBAM")
    page.get_by_role("button", name="difference, points").click()
    assert first_cells(page)[-1] == "none"  # it has no difference: last whichever way
    page.get_by_role("button", name="difference, points").click()
    assert first_cells(page)[0].startswith("CBAM")
    assert first_cells(page)[-1] == "none"
    widths = page.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(widths) > 4
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in requests)


def test_price_stands_beside_gain_without_scrolling_at_1280_px(browser, address) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.locator("details").first.evaluate("one => one.open = true")
    assert page.locator(".wide").evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
    assert page.locator(".answer").bounding_box()["y"] < 200
    page.get_by_label("what is latency?").click()
    assert page.locator("#term-latency").evaluate("one => one.matches(':target')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_in_both_schemes(browser, address, scheme) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 700}, color_scheme=scheme)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 24, 28)")
    shown = page.locator("picture img").first.evaluate("image => image.currentSrc")
    sources = page.locator("picture source").first.get_attribute("srcset")
    assert (shown == sources) == (scheme == "dark")
