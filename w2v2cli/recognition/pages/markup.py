"""Pages of HTML that need nothing beside themselves, and text made safe inside them."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

HERE = Path(__file__).parent
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python holds such bytes of a file's name
PICTURES, DELETE = 0x2400, "\u2421"  # Unicode's pictures of control characters


def shown(text: str) -> str:
    """Text as HTML shows it, in elements and in quoted attributes, whatever it holds.

    Control characters, those that begin a terminal's escapes among them, are shown by pictures of
    them, and bytes of a file's name that are not UTF-8 as \\udc.. .
    """
    plain = CONTROLS.sub(_pictured, text)
    plain = NOT_UTF8.sub(lambda match: f"\\u{ord(match[0]):04x}", plain)
    return html.escape(plain, quote=True)


def _pictured(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return " " if match[0] in "\t\n\r" else chr(PICTURES + code)
    return DELETE if code == 0x7F else "\N{REPLACEMENT CHARACTER}"


def page(title: str, body: str, script: str, media: str = "data:") -> str:
    """A whole page with the style of all pages.

    title: plain text. body: HTML. script: the name of a file of JavaScript in this folder.
    media: where sound may come from, as a content security policy writes it. The policy forbids
    everything else that is not in the page itself: it cannot load from the network.
    """
    style = (HERE / "page.css").read_text(encoding="utf-8")
    code = (HERE / script).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; media-src {media}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
<script>{code}</script>
</body>
</html>
"""
