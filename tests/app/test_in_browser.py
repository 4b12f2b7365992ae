"""The page in a real browser: both languages, nothing asked of another machine, a quiet console, the camera."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.app.conftest import CHROMIUM

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *_CAMERA])
        yield found
        found.close()


@contextlib.contextmanager
def opened(
    browser, address: str, locale: str, width: int = 1280, height: int = 800, *, left: bool = False
) -> Iterator[object]:
    """The page in a language; whatever it asks for must be of its own server, and its console free of errors."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": height}, permissions=["camera"])
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.get_by_role("tab").first.wait_for()
    yield page
    context.close()
    if left:  # a page that is left while it loads says that its connections ended
        said = [text for text in said if "AbortError" not in text and "Connection errored out" not in text]
    here = urlsplit(address).netloc
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:", "about:"))} == {here}
    assert said == []


def test_the_browsers_language_the_switch_and_an_image(browser, address, root) -> None:
    with opened(browser, address, "zh-CN", left=True) as page:
        page.wait_for_url("**/zh")
        page.get_by_role("tab", name="检测").wait_for()
        page.get_by_role("link", name="English").click()
        page.get_by_role("tab", name="Detect").wait_for()
        page.reload()  # the choice is kept
        page.get_by_role("tab", name="Detect").wait_for()
        assert page.evaluate("document.documentElement.lang") == "en"
        page.set_input_files("input[type=file][accept*=image]", root / "data/images/crossroads.jpg")
        page.get_by_text("ms network").wait_for()
        page.get_by_text("traffic light", exact=True).filter(visible=True).first.wait_for()


@pytest.mark.slow
@pytest.mark.parametrize(("locale", "none"), [("en-US", "Give an image first."), ("zh-CN", "请先选择图像。")])
def test_a_phone_labels_keyboard_and_messages(browser, address, locale, none) -> None:
    with opened(browser, address, locale, 390, 844) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        unnamed = "input:not([type=file]):not([aria-label]), textarea:not([aria-label])"
        labelled = "element => !element.labels?.length && element.offsetParent !== null"
        assert page.locator(unnamed).evaluate_all(f"all => all.filter({labelled}).map(e => e.outerHTML)") == []
        page.get_by_role("tab").first.focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.role") == "tab"
        page.get_by_role("button", name="检测" if locale == "zh-CN" else "Detect").click()
        page.get_by_text(none).wait_for()


@pytest.mark.slow
def test_the_camera(browser, address) -> None:
    with opened(browser, address, "en-US") as page:
        page.get_by_role("tab", name="Camera").click()
        page.get_by_text("Click to Access Webcam").click()
        page.get_by_role("button", name="capture photo").click()
        frame = page.locator("img[src^='data:image/jpeg']")
        frame.wait_for()
        first = frame.get_attribute("src")
        page.wait_for_function(
            "first => document.querySelector(\"img[src^='data:image/jpeg']\").src !== first", arg=first
        )
