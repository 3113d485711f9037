"""Questions with a wrong word are refused, with the nearest right one; the forms that README teaches are answered."""

import ast
from pathlib import Path

import pytest
from example_rows import begin, end, eval_row, go, outcome_row, when

import gen
from gen import results
from gen.engine import nearest
from gen.on_ray import replay
from gen.pictures import KINDS
from gen.results import Ledger, confirmation, forget
from gen.results.questions import EVENTS, PICTURES
from gen.search.samplers import PROPOSAL

local = pytest.mark.parametrize("place", ["local"], indirect=True)

WRONG = {
    "metric": ("leaderboard", {"metric": "nonsense"}, "metric 'nonsense' is not known; nearest valid: code_nats"),
    "no metric": ("leaderboard", {"metric": ""}, "metric '' is not known"),
    "split": ("leaderboard", {"split": "tset"}, "split='tset' is not known in evals; nearest valid: test"),
    "subject": (
        "leaderboard",
        {"subject": "fkes"},
        "frechet_classifier/fkes was measured of no run of e .*; measured: frechet_classifier/fakes",
    ),
    "column": ("leaderboard", {"column": "imag"}, "frechet_classifier/imag was measured of no run"),
    "two subjects": (
        "leaderboard",
        {"metric": "frechet/fakes", "subject": "images"},
        "metric='frechet/fakes' and subject='images' say different things; say one of them",
    ),
    "parts": ("leaderboard", {"metric": "mse/fakes/a/b"}, "is no name of a figure; allowed: NAME, NAME/SUBJECT"),
    "half": ("evals", {"metric": "mse/"}, "is no name of a figure"),
    "compare": ("compare", {"by": "seed", "metric": "nonsense"}, "metric 'nonsense' is not known"),
    "compare split": ("compare", {"by": "seed", "split": "tests"}, "split='tests' is not known .* nearest valid: test"),
    "compare by": ("compare", {"by": "seeed"}, "by='seeed' is no setting of these runs; nearest valid: seed"),
    "evals metric": ("evals", {"metric": "presicion"}, "metric='presicion' is not known in evals; nearest valid: prec"),
    "evals features": ("evals", {"metric": "frechet_clasifier"}, "nearest valid: frechet_classifier"),
    "evals scope": ("evals", {"scope": "full"}, "scope='full' is not known in evals; nearest valid: best, tick"),
    "evals split": ("evals", {"split": "val"}, "nearest valid: validation"),
    "evals subject": ("evals", {"subject": "fake"}, "nearest valid: fakes"),
    "evals column": ("evals", {"column": "c"}, "column='c' is not known in evals; nearest valid: a, b, image, unlab"),
    "evals run": ("evals", {"run": "rum"}, "no run 'rum' in experiment e; there are: run"),
    "metrics name": ("metrics", {"name": "autoencoder/rates"}, "nearest valid: autoencoder/rate"),
    "samples kind": ("samples", {"kind": "fake"}, "kind='fake' is not known in samples; nearest valid: fakes"),
    "events kind": ("events", {"kind": "colapse"}, "kind='colapse' is not known in events; nearest valid: collapse"),
    "curves": ("curves", {"names": "autoencoder/rates"}, "no metric 'autoencoder/rates' .*nearest: autoencoder/rate"),
    "curves run": ("curves", {"names": "rate", "run": "rum"}, "no run 'rum' in experiment e; there are: run"),
}


@pytest.fixture
def measured(storage):
    """An experiment "e" of one run, whose fakes and reconstructions were measured."""
    ledger = Ledger(storage, "e", "run", "a1")
    begin(ledger, settings=[("entry", None, "vaegan"), ("seed", 0.0, "0")])
    for tick in range(4):
        go(ledger, tick)
    end(ledger, 3, 1.0, metric="frechet_classifier/fakes")
    for scope, number in (("tick", 3.0), ("best", 2.0)):
        ledger.add("evals", 3, **eval_row(3, number, scope, subject="fakes"))
        ledger.add("evals", 3, **eval_row(3, number, scope, subject="fakes", split="test", protocol="p2"))
    ledger.close(3)


@local
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_is_refused_with_the_nearest(case, measured, place):
    query, words, expected = WRONG[case]
    with pytest.raises(ValueError, match=expected) as caught:
        getattr(results, query)(place, "e", **words)
    assert "\n" not in str(caught.value)


@local
def test_a_known_word_of_which_nothing_was_measured_is_an_empty_table(measured, place):
    for words in ({"metric": "kid"}, {"metric": "fid/fakes"}, {"subject": "translations"}, {"column": "b"}):
        assert results.evals(place, "e", **words).empty
    assert results.events(place, "e", kind="collapse").empty
    assert results.samples(place, "e", kind="translations").empty
    assert results.metrics(place, "e", name=results.schema.LATER_SECONDS).empty


@local
@pytest.mark.parametrize("name", ["frechet/fakes", "frechet/fakes/image", "frechet_classifier/fakes"])
def test_the_frechet_distance_is_asked_for_whatever_the_features(name, measured, place):
    board = results.leaderboard(place, "e", name)
    assert board["value"].to_list() == [2.0]
    assert board.attrs["protocol"]["metric"] == "frechet_classifier"
    assert results.leaderboard(place, "e", subject="fakes").to_csv() == board.to_csv()
    assert results.compare(place, "e", "entry", name)["mean"].to_list() == [2.0]
    assert set(results.evals(place, "e", name)["subject"]) == {"fakes"}
    assert len(results.evals(place, "e", name, scope="tick", split="validation")) == 1


@local
def test_several_features_are_not_taken_for_one_another(measured, storage, place):
    slot = results.Slot(storage, "e", "fid", kind="evaluated")
    row = eval_row(3, 9.0, "best", metric="fid", subject="fakes", features="inception", protocol="p9")
    slot.extend({"evals": [{"experiment": "e", "run": "run", "attempt": "a9", "tick": 3, **row}]})
    with pytest.raises(
        ValueError, match=r"2 protocols .*metric: fid, frechet_classifier|metric: frechet_classifier, fid"
    ):
        results.leaderboard(place, "e", "frechet/fakes")
    assert results.leaderboard(place, "e", "frechet/fakes", features="inception")["value"].to_list() == [9.0]
    assert results.leaderboard(place, "e", "fid")["value"].to_list() == [9.0]


@local
def test_curves_take_one_name_and_the_short_form(measured, place):
    assert set(results.curves(place, "e", "rate")["name"]) == {"autoencoder/rate"}
    assert set(results.curves(place, "e", "frechet/fakes")["name"]) == {"frechet_classifier/fakes"}
    both = {"frechet_classifier/fakes", "frechet_classifier/reconstructions"}
    assert set(results.curves(place, "e", ["frechet"])["name"]) == both


@local
def test_a_comparison_of_no_experiment_and_of_a_wrong_one(measured, place):
    with pytest.raises(ValueError, match="experiments= names none"):
        results.compare(place, [])
    with pytest.raises(ValueError, match=r"no experiment 'f' in .*; there are: e"):
        results.compare(place, ["e", "f"])


@local
def test_what_has_not_begun_is_not_refused(storage, place):
    ledger = Ledger(storage, "e", "run", "a1")
    begin(ledger)
    ledger.flush(0)
    assert results.metrics(place, "e", name="autoencoder/rate").empty
    assert results.leaderboard(place, "e", "frechet/fakes").empty
    ledger = Ledger(storage, "e", "run", "a1", first=1)
    ledger.add("metrics", 1, **when(1), seconds=1.0, name="x", value=1.0)
    ledger.add("outcomes", 1, **outcome_row(1))
    ledger.close(1)
    with pytest.raises(ValueError, match=r"^fid/fakes was measured of no run of e that ended"):
        results.leaderboard(place, "e", "fid/fakes")


def test_the_known_words_are_those_that_are_written():
    assert set(PICTURES) == {nearest.KIND, *(kind.name for kind in KINDS if kind.cheap)}
    found = {replay.KIND, forget.KIND, confirmation.KIND, PROPOSAL}
    for path in Path(gen.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "event":
                found |= {one.value for one in node.args[1:2] if isinstance(one, ast.Constant)}
    assert found == set(EVENTS)
