"""The lines that `eval --output` writes and `--skip-existing` reads."""

import json

import pytest

from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.rows import ScoredRow, kept_rows
from w2v2cli.recognition.sharing.rank_files import RankFile

LINE = (
    '{"data": "dev", "id": "a", "reference": "SHE IS", "hypothesis": "HE IS", "unit": "words", '
    '"words": {"reference": 2, "substitutions": 1, "deletions": 0, "insertions": 0}, '
    '"characters": {"reference": 6, "substitutions": 0, "deletions": 1, "insertions": 0}, '
    '"audio_seconds": 1.5, "wall_seconds": 0.25, "settings": "greedy"}'
)
ROW = ScoredRow("dev", "a", align("she is", "he is"), "greedy", 1.5, 0.25)
FAILED = ScoredRow("dev", "b", None, "greedy", 0.0, 0.25, error="b.wav is not audio.")


def test_the_format_of_a_line_stays():
    """Files of earlier versions must remain readable."""
    assert json.dumps(ROW.to_json()) == LINE
    assert ScoredRow.from_json(json.loads(LINE)) == ROW


def test_failures_and_phones_come_back():
    phones = ScoredRow("timit", "c", align("sh iy", "sh"), "greedy", 1.0, 0.5, "phones")
    assert "words" not in phones.to_json() and "phones" in phones.to_json()
    for row in (FAILED, phones):
        assert ScoredRow.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_rows_that_a_killed_run_left_are_kept_and_its_failures_are_not(tmp_path):
    (tmp_path / "parts").mkdir()
    part = RankFile.begin(tmp_path / "parts" / "run-00000.jsonl")
    for index, row in enumerate((ROW, FAILED)):
        part.write({"index": index, **row.to_json()})
    part.close()
    found = kept_rows(tmp_path / "kept.jsonl", tmp_path / "parts", "greedy")
    assert found == {("dev", "a"): ROW}
    assert kept_rows(tmp_path / "kept.jsonl", tmp_path / "parts", "beam") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a line of text\n", "was not written by w2v2 eval"),
        ("[1]\n", "was not written by w2v2 eval"),
        (LINE.replace('"unit": "words", ', "") + "\n", "was not written by w2v2 eval"),
        (json.dumps(FAILED.to_json()) + "\n", "was not written by w2v2 eval"),
        (LINE.replace("greedy", "beam 50") + "\n", r"other settings \(beam 50 instead of greedy\)"),
    ],
)
def test_another_file_is_a_sentence(tmp_path, content, message):
    (tmp_path / "kept.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        kept_rows(tmp_path / "kept.jsonl", tmp_path / "parts", "greedy")
