"""A real browser that opens pages from a disk, and notes whatever it complains of and asks for."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Browser:
    """A browser and what it noted. `complaints` are console messages and errors, `requests` all URLs asked for."""

    play: Playwright
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @contextmanager
    def opened(self, path: Path, *, width: int = 1440, height: int = 900, dark: bool = False) -> Iterator[Page]:
        """A page from the disk, in a window of that size."""
        self.complaints.clear()
        self.requests.clear()
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script("localStorage.clear()")
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light")
        try:
            page.goto(path.as_uri())
            yield page
        finally:
            page.close()

    @contextmanager
    def without_scripts(self) -> Iterator["Browser"]:
        """Another browser, which runs none."""
        with _context(self.play, scripts=False) as context:
            yield Browser(self.play, context)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser; the test is skipped where Debian's chromium is not installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as play, _context(play) as context:
        yield Browser(play, context)


@contextmanager
def _context(play: Playwright, *, scripts: bool = True) -> Iterator[BrowserContext]:
    """A browser with an empty profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        context = play.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=FLAGS, java_script_enabled=scripts
        )
        try:
            yield context
        finally:
            context.close()
