"""The report is one file that opens anywhere."""

import re
from html.parser import HTMLParser

import plotly.graph_objects as go

from src.reporting.page import write_report


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside in ("td", "th"):
            self.cells.append(data)

    def handle_endtag(self, tag):
        self.inside = None


def page(path, figures=2):
    pictures = [
        (f"Picture {i}", "what <it> shows", go.Figure(go.Scatter(y=[1, 2], name="</script>"))) for i in range(figures)
    ]
    rows = [{"network": "a<b", "MACs": "41.2 M\n(-39 %)"}, {"network": "c", "seconds": 1.5}]
    write_report(path, "CONet & co", {"data": "digits"}, [("Final", rows), ("Empty", [])], pictures)
    return path.read_text(encoding="utf-8")


def test_page_needs_nothing_from_outside(tmp_path):
    text = page(tmp_path / "report.html")
    tags = Reader(text).tags
    assert not [
        (tag, attrs) for tag, attrs in tags if {"src", "srcset", "data"} & set(attrs) or tag in ("link", "iframe")
    ]
    assert all(attrs["href"].startswith("#") for tag, attrs in tags if tag == "a")
    assert '"showSendToCloud": false' in text  # plotly's tool bar would offer to send the chart away


def test_plotly_is_inside_once_and_only_where_it_is_needed(tmp_path):
    scripts = [len(s) for s in re.findall(r"<script>(.*?)</script>", page(tmp_path / "two.html"), re.DOTALL)]
    assert len([size for size in scripts if size > 1_000_000]) == 1
    assert len(scripts) == 3
    assert len(page(tmp_path / "none.html", figures=0)) < 10_000


def test_text_is_escaped_and_tables_keep_their_cells(tmp_path):
    text = page(tmp_path / "report.html", figures=0)
    assert Reader(text).cells == ["network", "MACs", "seconds", "a<b", "41.2 M\n(-39 %)", "-", "c", "-", "1.5"]
    assert "<title>CONet &amp; co</title>" in text
    assert "Empty" not in text
    assert "what &lt;it&gt; shows" in page(tmp_path / "with.html")
