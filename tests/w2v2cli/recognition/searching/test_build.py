"""Searches built of files: every engine takes and refuses the same ARPA files."""

import pytest
from small_words import BIGRAMS

from lm.decoding import DecodingWeights
from lm.native.library import is_built
from lm.ngram.arpa import ArpaError
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.spec import SearchSpec

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled part was not built")


@pytest.mark.parametrize("engine", ["compiled", "batched", "flashlight"])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [  # KenLM takes all of these
        ("\tAB A\n", "\tA BA\n", "twice"),
        ("\tA BA\n", "\tA\t\tBA\n", "promises 5 2-grams"),
    ],
)
def test_lines_that_are_none(engine, old, new, reason, tmp_path):
    if engine == "flashlight":
        pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    assert old in BIGRAMS
    (tmp_path / "a.arpa").write_text(BIGRAMS.replace(old, new))
    (tmp_path / "words.txt").write_text("A\tA |\nAB\tA B |\nBA\tB A |\n")
    spec = SearchSpec(
        ("<pad>", "|", "A", "B"),
        engine,
        tmp_path / "a.arpa",
        tmp_path / "words.txt",
        cache=tmp_path / "cache",
        weights=DecodingWeights(1.0, 0.0),
    )
    with pytest.raises(ArpaError, match=f"a[.]arpa .*{reason}"):
        build_search(spec, print)
