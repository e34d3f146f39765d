"""`w2v2 eval --report`: the command, and its page in a browser."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from browsing.chromium import browser
from browsing.reading import EVIL, Reading
from calls import called

from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.locations import SHIPPED
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition.pages import reporting
from w2v2cli.recognition.pages.heard import HeardUtterance
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.results import Evaluation, Scored

CLIP = sorted((SHIPPED / "recordings").glob("*.flac"))[0]
IDS = [EVIL[0], "\x1b[31m" + EVIL[1], "a third"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report on three cuts of a clip, two with a recording, beside another system."""
    folder = tmp_path_factory.mktemp("report")
    samples = soundfile.read(CLIP, dtype="int16")[0][:96_000]
    lines, other = [], []
    for number, name in enumerate(IDS):
        path = folder / f"<b>{number}.flac"
        soundfile.write(path, samples[: 32_000 * (number + 1)], 16_000)
        said = " ".join(["</script><i>word"] * (3 - number) + ["a" * 60])
        lines.append({"id": name, "audio_filepath": str(path), "text": said})
        other.append({"id": name, "hypothesis": said + EVIL[2]})
    for path, rows in (("data.jsonl", lines), ("other.jsonl", other)):
        (folder / path).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    page = folder / "out" / "report.html"
    done = called(
        *("eval", "--data", folder / "data.jsonl", "--lm", "none", "--normalizer", "none"),
        *("--report", page, "--report-audio", 2, "--compare", folder / "other.jsonl", "--json"),
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(page=page, done=done, report=json.loads(done.stdout))


def test_the_page_has_what_the_command_printed(made):
    [result], [difference] = made.report["results"], made.report["differences"]
    read = Reading(made.page.read_text(encoding="utf-8"))
    rates = [row[3] for row in read.rows if row[0] == result["data"] and len(row) == 6]
    assert rates == [f"{result['wer'] * 100:.2f}"]
    [beside] = [row for row in read.rows if row[0] == result["data"] and len(row) == 7]
    assert beside[4] == f"{difference['difference'] * 100:+.2f}"
    assert beside[6] == f"{difference['p_value']:.4f}"
    assert f"The report is {made.page}." in made.done.stderr


def test_the_worst_two_have_sound_and_a_picture(made):
    read = Reading(made.page.read_text(encoding="utf-8"))
    tags = [tag for tag, _ in read.tags]
    assert (tags.count("article"), tags.count("audio"), tags.count("image")) == (3, 2, 2)
    assert tags.count("script") == 1 and "b" not in {t for t, a in read.tags if a.get("class")}
    assert "\x1b" not in made.page.read_text(encoding="utf-8")


def test_the_page_in_a_browser(made, tmp_path):
    with browser(tmp_path) as window:
        window.look(360, 740, dark=True)
        window.open(made.page)
        assert window.run("return document.documentElement.scrollWidth <= innerWidth")
        assert window.requests() == [made.page.as_uri()]
        durations = "return [...document.querySelectorAll('audio')].map(a => a.duration)"
        window.wait_for(f"{durations}.every(d => d > 0)")
        places = window.run(
            "return [...document.querySelectorAll('.utterance:has(audio)')]"
            ".map(one => Number(one.dataset.place))"
        )
        files = [made.page.parents[1] / f"<b>{place}.flac" for place in places]
        seconds = [soundfile.info(file).duration for file in files]
        assert window.run(durations) == pytest.approx(seconds, abs=0.01)

        window.run("document.querySelector('.scroll').focus()")
        playing = "return !document.querySelector('audio').paused"
        window.press(" ")
        window.wait_for(playing)
        window.wait_for("return document.querySelector('audio').currentTime > 0")
        window.press(" ")
        assert not window.run(playing)
        now = "return document.querySelector('audio').currentTime"
        window.press("\ue011")  # Home
        assert window.run(now) == 0
        starts = window.run(
            "return [...document.querySelector('.scroll').querySelectorAll('.word')]"
            ".map(word => Number(word.dataset.start))"
        )
        window.press("\ue014")  # right
        assert window.run(now) == pytest.approx(next(s for s in starts if s > 0.01), abs=0.01)

        first = "return document.querySelector('.utterance h4 bdi').textContent"
        window.run(
            "const s = document.querySelector('select'); s.value = 'place';"
            "s.dispatchEvent(new Event('change'))"
        )
        assert window.run(first) == IDS[0]
        window.run(
            "const i = document.querySelector('input'); i.value = 'A Third';"
            "i.dispatchEvent(new Event('input'))"
        )
        shown = "return [...document.querySelectorAll('.utterance')].filter(u => !u.hidden).length"
        assert window.run(shown) == 1
        assert window.complaints() == []


def heard(seconds: float) -> HeardUtterance:
    samples, emission = np.zeros(int(seconds * 16_000), np.float32), np.zeros((1, 2), np.float32)
    return HeardUtterance(samples, emission, ("<pad>", "A"), 0, None, (), (), 0.02)


def test_long_recordings_stay_out_and_so_does_what_exceeds_the_size(tmp_path, monkeypatch):
    def corpus(name: str, seconds: list[float]) -> tuple[CorpusSplit, Evaluation]:
        utterances = tuple(Utterance(f"u{n}", Path(f"{name}{n}"), "") for n in range(len(seconds)))
        scored = tuple(
            Scored(u.id, None, align("a b c", "a b c"[: 2 * n]), s)
            for n, (u, s) in enumerate(zip(utterances, seconds, strict=True))
        )
        return CorpusSplit(name, utterances), Evaluation(name, None, scored, (), 0.0, 0.0)

    asked = []

    def hear(options, recordings, on_progress):
        asked.extend(str(recording) for recording in recordings)
        return iter([heard(1.0), "It is silent.", heard(1.0)])

    parts = [corpus("x", [61.0, 3.0, 3.0]), corpus("y", [3.0])]
    corpora, results = zip(*parts, strict=True)
    one = reporting._told(reporting.Chosen("x", corpora[0].utterances[1]), heard(1.0), 0)[1]
    monkeypatch.setattr(reporting, "hear", hear)
    monkeypatch.setattr(reporting, "options_of", lambda options, ranks: options)
    monkeypatch.setattr(reporting, "settings_line", lambda options, normalizer: "settings")
    monkeypatch.setattr(reporting, "MOST_SOUND", one)
    pages = []
    monkeypatch.setattr(reporting, "write_file", lambda path, text: pages.append(text))
    options = SimpleNamespace(model=SimpleNamespace(title="m"))
    results = [Evaluation(**{**vars(r), "normalizer": "english"}) for r in results]
    reporting.write_report(tmp_path / "r.html", results, corpora, options, sounds=3)
    assert asked == ["x1", "y0", "x2"]  # the worst of each, then the second
    [page] = pages
    assert page.count("<audio") == 1 and page.count('class="picture"') == 2
    assert "A report holds no recording of more than 60 seconds." in page
    assert "It is silent." in page
    assert "MB of sound, and no more." in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--report-audio 3", "--report-audio goes with --report: name a file."),
        ("--report docs", "--report docs is a folder: name a file."),
        (
            "--report a.jsonl --output a.jsonl",
            "--report and --output both name a.jsonl: name two files.",
        ),
        ("--compare no.jsonl", "There is no file no.jsonl."),
        ("--compare README.md --report README.md", "--report README.md would overwrite README.md"),
        (
            "--protocol paper --report a.html",
            "--protocol paper decides on --report itself: leave it out.",
        ),
    ],
)
def test_wrong_calls(options, sentence):
    done = called("eval", "--split", "dev-other", "--lm", "none", *options.split())
    if "--protocol" in options:
        done = called("eval", "--lm", "none", *options.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: {sentence}")
