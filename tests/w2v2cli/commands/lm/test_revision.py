"""`w2v2 lm build` with its options of size, `lm prune` and `lm mix`, as commands."""

import pytest
from typer.testing import CliRunner

from lm.ngram.arpa import read_counts, read_ngrams, read_unigrams
from w2v2cli.app import app


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("THE CAT SAT\nTHE CAT RAN ON\nA DOG SAT ON THE CAT\nON AND ON\n" * 2)
    return path


@pytest.fixture
def models(tmp_path, text):
    (tmp_path / "other.txt").write_text("A DOG RAN\nA DOG SAT\nTHE DOG RAN ON AND ON\n" * 2)
    made = []
    for name in ("text", "other"):
        made.append(tmp_path / f"{name}.arpa")
        assert (
            run("lm", "build", tmp_path / f"{name}.txt", "-o", made[-1], "--order", 3).exit_code
            == 0
        )
    return made


@pytest.mark.parametrize("listed", [False, True])
def test_the_vocabulary_is_limited(tmp_path, text, listed):
    (tmp_path / "words.txt").write_text("CAT THE\nON\nNOWHERE\n")
    limit = tmp_path / "words.txt" if listed else 3
    arpa, lexicon = tmp_path / "lm.arpa", tmp_path / "lexicon.txt"
    result = run("lm", "build", text, "-o", arpa, "--limit-vocab", limit, "--lexicon", lexicon)
    assert result.exit_code == 0, result.output
    assert sorted(read_unigrams(arpa)) == ["CAT", "ON", "THE"]
    assert [line.split("\t")[0] for line in lexicon.read_text().splitlines()] == [
        "CAT",
        "ON",
        "THE",
    ]
    assert f"{arpa}: 6 1-grams" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--memory", "much"], 2, "--memory takes an amount like 4GB or 500MB, got 'much'."),
        (["--memory", "0GB"], 2, "--memory takes an amount"),
        (["--memory", "1MB"], 1, "--memory 1MB is too little: give "),
        (["--tmp", "nowhere"], 2, "--tmp takes a folder, and there is none at nowhere."),
        (["--limit-vocab", "0"], 2, "--limit-vocab takes a number of words above 0"),
        (["--limit-vocab", "nowhere"], 2, "takes a number of words or a file of words"),
        (["--order", "16"], 1, "n-grams have 1 to 15 words, not 16"),
    ],
)
def test_impossible_settings_are_sentences(tmp_path, text, options, code, sentence):
    result = run("lm", "build", text, "-o", tmp_path / "lm.arpa", *options)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / "lm.arpa").exists()


def test_room_on_the_disk_is_told_before(tmp_path, text, monkeypatch):
    monkeypatch.setattr("lm.ngram.estimation.largest_files", lambda words, order: 1 << 50)
    result = run("lm", "build", text, "-o", tmp_path / "lm.arpa", "--tmp", tmp_path)
    assert result.exit_code == 0
    assert f"of memory goes to {tmp_path}, at most 1048576.0 GB; " in result.stderr
    assert "are free there." in result.stderr


def test_without_the_compiled_part_the_model_is_the_same(tmp_path, text, monkeypatch):
    paths = tmp_path / "a.arpa", tmp_path / "b.arpa"
    options = ["--order", 3, "--prune", 0, 0, 1, "--limit-vocab", 5]
    assert run("lm", "build", text, "-o", paths[0], *options).exit_code == 0
    monkeypatch.setattr("lm.native.library.is_built", lambda: False)
    result = run("lm", "build", text, "-o", paths[1], *options)
    assert result.exit_code == 0 and "counts are held in memory" in result.stderr
    ours, theirs = ({w: (p, b) for p, w, b in read_ngrams(path)} for path in paths)
    assert ours.keys() == theirs.keys()
    for gram, figures in theirs.items():
        assert ours[gram] == pytest.approx(figures, abs=1e-6)


def test_prune(tmp_path, models):
    small = tmp_path / "small.arpa.gz"
    result = run("lm", "prune", models[0], "--entropy", "0.01", "-o", small)
    assert result.exit_code == 0, result.output
    before, after = read_counts(models[0]), read_counts(small)
    assert after[0] == before[0] and 0 < after[1] < before[1] and after[2] < before[2]
    assert result.stderr == (
        f"{small}: {after[0]} of {before[0]} 1-grams, {after[1]} of {before[1]} 2-grams, "
        f"{after[2]} of {before[2]} 3-grams.\n"
    )


def test_mix(tmp_path, models):
    (tmp_path / "held-out.txt").write_text("A CAT SAT\nTHE DOG RAN ON\n")
    mixed = tmp_path / "mixed.arpa"
    result = run("lm", "mix", *models, "--on", tmp_path / "held-out.txt", "-o", mixed)
    assert result.exit_code == 0, result.output
    assert "weight 0." in result.stderr and "Weighted sum: perplexity " in result.stderr
    words = [set(read_unigrams(path)) for path in (*models, mixed)]
    assert words[2] == words[0] | words[1]
    assert "another" not in result.stderr and "case" not in result.stderr
    lacking = [f"{path}: " for path in models if not {"DOG", "CAT"} <= set(read_unigrams(path))]
    for line in result.stderr.splitlines():
        if line.startswith(tuple(map(str, models))):
            assert line.endswith("alone, as it lacks some of the words.") == ("inf" in line)
            assert ("inf" in line) == line.startswith(tuple(lacking)), (line, lacking)
    again = run("lm", "mix", "--weights", 1, 0, "-o", mixed, "--", *models)
    assert again.exit_code == 0 and read_counts(mixed) == read_counts(models[0])


def test_a_text_in_another_case_than_the_models_is_told(tmp_path, models):
    text = tmp_path / "lower.txt"
    text.write_text("a cat sat on\nthe dog zyzzyva\n")
    result = run("lm", "mix", *models, "--on", text, "-o", tmp_path / "mixed.arpa")
    assert result.exit_code == 1 and not (tmp_path / "mixed.arpa").exists()
    assert "No model has a word of the text that weights are to be fitted on" in result.stderr
    assert (
        f"Warning: 6 of the 7 words of {text} that no model has, a for example, are known in "
        "upper case: --normalizer none --case upper.\n"
    ) in result.stderr
    how = "--normalizer", "none", "--case", "upper"
    right = run("lm", "mix", *models, "--on", text, "-o", tmp_path / "mixed.arpa", *how)
    assert right.exit_code == 0 and "Warning" not in right.stderr


def test_mistakes_of_mix_and_prune_are_sentences(tmp_path, models, text):
    out = ["-o", tmp_path / "out.arpa"]
    (tmp_path / "empty.txt").write_text("\n")
    for args, code, sentence in [
        (("prune", models[0], "--entropy", "-1", *out), 2, "--entropy must be 0 or more, got -1."),
        (("prune", models[0], "--entropy", "1", "-o", models[0]), 2, "--output"),
        (("prune", text, "--entropy", "1", *out), 2, "does not have the name of an ARPA file"),
        (("mix", models[0], "--weights", "1", *out), 2, "two models or more, got 1."),
        (("mix", *models, *out), 2, "Give either --weights, one for each model, or --on"),
        (("mix", *models, "--weights", "1", *out), 2, "2 models need 2 weights, got 1."),
        (("mix", *models, "--weights", "0", "0", *out), 2, "--weights are 0 or more and not all 0"),
        (("mix", *models, "--on", "nowhere", *out), 2, "There is no text at nowhere."),
        (("mix", *models, "--on", tmp_path / "empty.txt", *out), 1, "holds no sentence."),
        (("mix", models[0], "gone.arpa", "--weights", "1", "1", *out), 2, "no language model at"),
    ]:
        result = run("lm", *args)
        assert (result.exit_code, sentence in result.stderr) == (code, True), result.output
    assert not (tmp_path / "out.arpa").exists()
