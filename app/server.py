"""Puts the tabs together, a page for each language, and serves them without asking anything of another machine."""

from __future__ import annotations

import os
import threading
from argparse import Namespace
from tempfile import TemporaryDirectory

import gradio as gr
from gradio.components import Navbar
from gradio.themes import Default

from app import compare_tab, data_tab, detect_tab, insert_tab, train_tab
from app.command_line import is_loopback
from app.folders import Folders
from app.page import Models, Page
from app.words import LANGUAGES, Words
from engine.runtime.console import note, say

_TABS = (
    ("detect_tab", detect_tab),
    ("insert_tab", insert_tab),
    ("train_tab", train_tab),
    ("compare_tab", compare_tab),
    ("data_tab", data_tab),
)
_WAITING = 32  # requests in the queue at most; one more is told that it is full
_UPLOAD = "200mb"  # a file at most
_KEPT_S = 3600  # how long uploads and results are kept
_FONTS = ("system-ui", "Segoe UI", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "sans-serif")
# The browser's language, unless the other one was chosen.
_LANGUAGE = """<script>
const chinese = /\\/zh\\/?$/.test(location.pathname);
document.documentElement.lang = chinese ? "zh-CN" : "en";
addEventListener("click", event => {
  const link = event.target.closest?.(".nav-holder a");
  if (link) localStorage.setItem("language", /\\/zh\\/?$/.test(link.pathname) ? "zh" : "en");
});
if (!chinese && (localStorage.getItem("language") ?? navigator.language.slice(0, 2)) === "zh")
  location.replace(location.pathname.replace(/\\/?$/, "/zh"));
</script>"""
_CSS = """
.gradio-container .prose h1 { margin: 0; font-size: 1.3rem; }
.nav-holder nav a { color: var(--body-text-color); }
:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
"""


def build(folders: Folders) -> gr.Blocks:
    """The page, in English at / and in Chinese at /zh."""
    models = Models()
    blocks = gr.Blocks(analytics_enabled=False, title=Words("en")("title"), delete_cache=(_KEPT_S, _KEPT_S))
    for language in LANGUAGES:
        words = Words(language)
        place = blocks if language == LANGUAGES[0] else blocks.route(words("language"), f"/{language}")
        with place:
            Navbar(main_page_name=Words(LANGUAGES[0])("language"))
            _build_page(Page(words, folders, models))
    return blocks.queue(max_size=_WAITING, default_concurrency_limit=4)


def _build_page(page: Page) -> None:
    gr.Markdown(f"# {page.say('title')}")
    with gr.Tabs():
        for name, tab in _TABS:
            with gr.Tab(page.say(name), id=name):
                tab.build(page)


def launch(opt: Namespace) -> gr.Blocks:
    """Serve in threads of their own; returns when the page answers.

    Raises:
        ValueError: If the address cannot be had.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    blocks = build(Folders(opt.folder))
    try:
        blocks.launch(
            server_name=opt.host,
            server_port=opt.port,
            auth=opt.auth,
            inbrowser=not opt.no_browser,
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=_UPLOAD,
            footer_links=[],
            theme=Default(font=_FONTS, font_mono=("ui-monospace", "monospace")),
            css=_CSS,
            head=_LANGUAGE,
        )
    except OSError as error:
        raise ValueError(f"--host {opt.host} --port {opt.port}: cannot be served at: {error}") from error
    return blocks


def serve(opt: Namespace) -> int:
    """Serve until Ctrl-C."""
    with TemporaryDirectory(prefix="yolov5-page-") as kept:  # uploads and results go when the server does
        os.environ["GRADIO_TEMP_DIR"] = kept
        return _serve(opt)


def _serve(opt: Namespace) -> int:
    blocks = launch(opt)
    if not is_loopback(opt.host):
        note(f"--host {opt.host}: whoever reaches it and knows the password can use this machine by the page")
    say(f"The page is at {blocks.local_url}; Ctrl-C ends it")
    try:
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)
    return 0
