"""One headless Chromium for many pages: each is opened once, in its own size, and asked in
JavaScript.
"""

import asyncio
import json
import os
import time
from pathlib import Path

from browser import HARMLESS
from devtools import _address, opened
from tornado.websocket import websocket_connect

ROOT = Path(__file__).resolve().parent.parent
AXE = Path(os.environ.get("ENTRACK_AXE", ROOT / "tests" / "vendor" / "axe.min.js"))
"""Where axe-core is looked for; CONTRIBUTING.md says how to get it."""

# What a page still does after its load event: mathematics is set, live figures are drawn.
SETTLED = """(async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  if (window.MathJax && MathJax.startup && MathJax.startup.promise) await MathJax.startup.promise;
  for (let i = 0; i < 100; i += 1) {
    const figures = document.querySelectorAll(".live-figure").length;
    if (document.querySelectorAll(".live-canvas .plot-container").length === figures) break;
    await pause(50);
  }
  await document.fonts.ready;
})()"""


class Tabs:
    """A browser with one tab, to be used in a `with` block.

    Attributes:
        console: what the page that is open has logged, without what is no complaint."""

    def __init__(self, scratch: Path):
        self.scratch, self.console, self._number, self._loaded = scratch, [], 0, True

    def __enter__(self):
        profile = self.scratch / "tabs"
        start = self.scratch / "start.html"
        start.write_text("<!doctype html><title>start</title>")
        self.browser = opened(start, profile)
        try:
            address = _address(profile / "DevToolsActivePort")
            self.loop = asyncio.new_event_loop()
            self.socket = self._run(self._connect(address))
            for domain in ("Page", "Runtime", "Log"):
                self.send(f"{domain}.enable")
            still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
            self.send("Emulation.setEmulatedMedia", features=still)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.browser.kill()
        self.browser.wait()

    def send(self, method: str, **params) -> dict:
        """The answer to a command of the protocol."""
        return self._run(self._send(method, params))

    def open(self, page: Path, *, width: int) -> float:
        """Open a page and wait until it is drawn; returns the seconds until its load event."""
        self.resize(width)
        self.console = []
        started = time.monotonic()
        self._run(self._navigate(page.as_uri()))
        seconds = time.monotonic() - started
        self.ask(SETTLED)
        return seconds

    def resize(self, width: int, height: int = 900) -> None:
        """The size of the page in CSS pixels; a page that is open lays itself out anew."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def wait(self, milliseconds: int) -> None:
        """Until scripts that act on a change late, or in the next frame, have done so."""
        self.ask(
            f"new Promise((done) => setTimeout(() => requestAnimationFrame(done), {milliseconds}))"
        )

    def theme(self, name: str) -> None:
        """Light or dark, as the theme's own button sets it; live figures are drawn again."""
        self.ask(f"void (document.documentElement.dataset.theme = '{name}')")
        self.wait(50)

    def ask(self, expression: str):
        """What an expression of the page gives, awaited where it is a promise."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def _run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    async def _connect(self, address):
        # a picture of a long page is larger than tornado's default of 10 MB
        return await websocket_connect(address, max_message_size=2**28)

    async def _send(self, method, params):
        self._number += 1
        await self.socket.write_message(
            json.dumps({"id": self._number, "method": method, "params": params})
        )
        while True:
            told = await self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told["error"]
                return told["result"]

    async def _navigate(self, address):
        self._loaded = False
        await self._send("Page.navigate", {"url": address})
        while not self._loaded:
            await self._read()

    async def _read(self):
        told = json.loads(await asyncio.wait_for(self.socket.read_message(), 60))
        name, params = told.get("method"), told.get("params", {})
        if name == "Page.loadEventFired":
            self._loaded = True
        if name == "Runtime.exceptionThrown":
            self._log(params["exceptionDetails"].get("exception", {}).get("description", "?"))
        if name == "Log.entryAdded":
            self._log(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self._log(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        return told

    def _log(self, line):
        if not any(harmless in line for harmless in HARMLESS):
            self.console.append(line)
