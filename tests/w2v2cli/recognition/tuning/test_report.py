"""What is printed, written and drawn of a tuning and of the paper's protocol."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lm.decoding import BeamOptions, DecodingWeights
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UsageError
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.results import Evaluation, Scored
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.protocol import ProtocolRow, language_models, protocol_settings
from w2v2cli.recognition.tuning.protocol_report import print_protocol, protocol_json
from w2v2cli.recognition.tuning.report import json_report, print_report, write_report
from w2v2cli.recognition.tuning.session import TuningResult, untuned
from w2v2cli.recognition.tuning.trials import Outcome, Trial

SETTINGS = RecognitionOptions(
    ModelLocation("mine", Path("m"), None),
    LmLocation("4gram", Path("lm.arpa"), None),
    beam=BeamOptions(50),
)
CORPUS = CorpusSplit("dev", (Utterance("a", Path("a.wav"), "ONE TWO"),), "the short one")
TRIALS = (
    Trial(0, (2.0, -1.0), "exact", 0.25, 4),
    Trial(1, (1.0, 1.0), "exact", 0.125, 4),
    Trial(2, (3.5, 0.0), "stopped", 0.5, 2),
    Trial(3, (0.5, 2.0), "predicted", 0.375, 0),
)


def result(trials, folder) -> TuningResult:
    weights = DecodingWeights(*trials[1].point[:2])
    outcome = Outcome(trials, trials[1], weights, (0.1, 0.2), 4, 10)
    return TuningResult(SETTINGS, CORPUS, "wer", outcome, folder, folder / "tuned.json")


def test_the_table_has_the_best_first_and_the_sentence_counts_the_work(tmp_path, capsys):
    print_report(result(TRIALS, tmp_path))
    shown = capsys.readouterr().out
    rates = re.findall(r"│ +(\d+\.\d\d) │ (exact|stopped|predicted)", shown)
    assert rates == [
        ("12.50", "exact"),
        ("25.00", "exact"),
        ("37.50", "predicted"),
        ("50.00", "stopped"),
    ]
    assert "mine, LM 4gram, dev, beam 50" in shown
    assert "LM weight 1, word score 1: WER 12.50% (95%: 10.0 to 20.0)" in shown
    assert "2 trials exact, 1 stopped, 1 predicted: 62.5% of the searches" in shown  # 10 of 4 × 4


def test_json_has_the_weights_the_rates_and_every_trial(tmp_path):
    found = json_report(result(TRIALS, tmp_path))
    assert (found["lm_weight"], found["word_score"], found["rate"]) == (1.0, 1.0, 0.125)
    assert (found["data"], found["note"], found["beam"]) == ("dev", "the short one", 50)
    assert (found["trials"], found["exact"], found["searched"]) == (4, 2, 10)
    assert [trial["point"] for trial in found["list"]] == [list(t.point) for t in TRIALS]
    assert found["tuned"] == str(tmp_path / "tuned.json") and "sil_score" not in found


@pytest.mark.parametrize("coordinates", [2, 3])
def test_the_page_holds_the_drawing_and_a_row_for_each_trial(tmp_path, coordinates):
    pytest.importorskip("matplotlib")
    trials = tuple(replace(t, point=(*t.point, 0.5)[:coordinates]) for t in TRIALS)
    written = write_report(result(trials, tmp_path))
    assert [path.name for path in written] == ["surface.png", "surface.html"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    page = written[1].read_text()
    assert page.count("<tr") == 1 + len(TRIALS) and page.count("class=best") == 1
    assert "data:image/png;base64," in page and "http" not in page


def test_without_matplotlib_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    [page] = write_report(result(TRIALS, tmp_path))
    assert "matplotlib was not installed" in page.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["surface.html"]


def test_the_protocols_table_has_a_row_for_each_language_model(tmp_path, capsys):
    scored = (Scored("a", None, align("ONE TWO", "ONE")),)
    results = [Evaluation(name, "a note", scored, (), 1.0, 1.0) for name in ("clean", "other")]
    none = replace(SETTINGS, lm=LmLocation("none", None, None))
    tuned = replace(SETTINGS, beam=BeamOptions(1500), weights=DecodingWeights(1.5, -0.25))
    rows = [
        ProtocolRow(none, None, results),
        ProtocolRow(tuned, result(TRIALS, tmp_path), results),
    ]
    print_protocol(rows)
    shown = capsys.readouterr().out
    assert re.search(r"none +│ +│ +│ +│ +50\.00 │ +50\.00", shown)
    assert re.search(r"4gram +│ +1500 │ +1\.50 │ +-0\.25 │ +50\.00 │ +50\.00", shown)
    assert shown.count("* a note") == 1
    found = protocol_json(rows, 4, 0)
    assert [row["tuned_wer"] for row in found["rows"]] == [None, 0.125]
    assert [row["results"][0]["wer"] for row in found["rows"]] == [0.5, 0.5]


def test_the_rows_of_the_protocol_lead_up_to_the_language_model_named():
    assert language_models("none") == ["none"]
    assert language_models("transformer") == ["none", "4gram", "transformer"]
    assert language_models("my.arpa") == ["none", "my.arpa"]


@pytest.mark.parametrize(
    ("given", "flag"), [({"beam": 5}, "--beam"), ({"word_score": 0.0}, "--word-score")]
)
def test_the_protocol_decides_on_beams_and_weights(given, flag):
    with pytest.raises(UsageError, match=f"--protocol paper decides on {flag} itself"):
        protocol_settings(DecodingOptions(lm="4gram", **given), TuningOptions())


def test_what_cannot_be_tuned_is_a_sentence():
    with pytest.raises(UsageError, match="--lm none leaves nothing to tune"):
        untuned(DecodingOptions(), TuningOptions())
    second = DecodingOptions(lm="4gram", rescore="transformer")
    with pytest.raises(UsageError, match="with --rescore it is not tuned"):
        untuned(second, TuningOptions(sil_score=(-1.0, 1.0)))
    first = untuned(DecodingOptions(lm="4gram"), TuningOptions())
    assert (first.lm_weight, first.word_score, first.sil_score) == (0.0, 0.0, 0.0)
    assert untuned(second, TuningOptions()).lm_weight is None  # the first pass keeps its own


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"seed": -1}, "--seed cannot be negative, got -1"),
        ({"lm_weight": (5.0, 0.0)}, "takes the lower bound, then the upper: got 5 0"),
    ],
)
def test_wrong_tuning_options_are_a_sentence(given, message):
    with pytest.raises(UsageError, match=message):
        TuningOptions(**given)
