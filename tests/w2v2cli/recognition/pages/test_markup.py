"""Text inside pages, whatever it holds."""

import pytest
from browsing.reading import EVIL, Reading

from w2v2cli.recognition.pages.markup import page, shown


@pytest.mark.parametrize("text", EVIL)
def test_text_is_the_same_in_an_element_and_in_an_attribute(text):
    read = Reading(f'<p title="{shown(text)}">{shown(text)}</p>')
    assert read.tags == [("p", {"title": text})]
    assert "".join(read.text) == text


def test_controls_are_shown_by_pictures_and_bytes_by_their_codes():
    assert shown("a\x1b[31mb\x00\x7f\x9b") == "a␛[31mb␀␡\N{REPLACEMENT CHARACTER}"
    assert shown("a\tb\r\nc") == "a b  c"
    assert shown("caf\udce9.wav") == "caf\\udce9.wav"
    assert shown("naïve 中文 שלום") == "naïve 中文 שלום"


@pytest.mark.parametrize("text", EVIL)
def test_a_title_adds_no_tags(text):
    tags = [tag for tag, _ in Reading(page("a", "", "evaluation.js")).tags]
    assert [tag for tag, _ in Reading(page(text, "", "evaluation.js")).tags] == tags
    assert tags.count("script") == 1


def test_a_page_may_load_nothing():
    held = Reading(page("a", "<p>b</p>", "evaluation.js"))
    [policy] = [
        dict(values)["content"]
        for tag, values in held.tags
        if tag == "meta" and "http-equiv" in values
    ]
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert "http" not in policy
