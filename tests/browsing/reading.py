"""Pages read by html.parser, and texts that would harm one that is not careful."""

from html.parser import HTMLParser

EVIL = [
    "<script>alert(1)</script>",
    "\"' onload='alert(1)",
    "</style></title></script><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp;",
    "]]>--><!--",
]


class Reading(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        """The text of each cell of each row of a table."""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data
