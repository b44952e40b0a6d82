"""Real key presses in headless Chromium, over its debugging protocol: what a script in the page
cannot send.
"""

import asyncio
import json
import subprocess
import time
import urllib.request
from pathlib import Path

from browser import _FLAGS, CHROMIUM
from tornado.websocket import websocket_connect

CODES = {"Tab": 9, "Enter": 13, "Space": 32, "ArrowUp": 38}
TEXTS = {"Enter": "\r", "Space": " "}


def opened(page: Path, profile: Path, *flags: str) -> subprocess.Popen:
    """A headless browser that shows `page` and listens to a debugger."""
    return subprocess.Popen(
        [
            CHROMIUM,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            *flags,
            page.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def keys_pressed(page: Path, keys: list[str], scratch: Path, *, read: str):
    """Open `page`, press `keys` one after the other, and give what the expression `read` gives."""
    browser = opened(page, scratch / "keys", "--window-size=1000,1400")
    try:
        return asyncio.run(_press(_address(scratch / "keys" / "DevToolsActivePort"), keys, read))
    finally:
        browser.kill()
        browser.wait()


def _address(file: Path) -> str:
    """Where the page's debugger listens, once the browser has said on which port."""
    for _ in range(300):
        if file.is_file() and file.read_text().strip():
            port = file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                for target in json.load(answer):
                    if target["type"] == "page" and target["url"].startswith("file:"):
                        return target["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise AssertionError("Chromium opened no debugger in 30 s")


async def _press(address: str, keys: list[str], read: str):
    socket = await websocket_connect(address)

    async def send(number: int, method: str, **params):
        await socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await asyncio.wait_for(socket.read_message(), 30))
            if answer.get("id") == number:
                return answer["result"]

    await asyncio.sleep(1)
    for number, key in enumerate(keys):
        name = " " if key == "Space" else key
        press = {"key": name, "code": key, "windowsVirtualKeyCode": CODES[key]}
        text = {"text": TEXTS[key]} if key in TEXTS else {}
        await send(2 * number, "Input.dispatchKeyEvent", type="keyDown", **press, **text)
        await send(2 * number + 1, "Input.dispatchKeyEvent", type="keyUp", **press)
    found = await send(10_000, "Runtime.evaluate", expression=read, returnByValue=True)
    socket.close()
    return found["result"]["value"]
