"""Courses: numbers at their steps, verdicts that follow from made-up ones, a tiny one from end to
end.
"""

import dataclasses

import numpy as np
import pytest
from made_courses import LETTERS, STEPS, course, moved, said, searched, truth
from matplotlib import pyplot as plt
from random_family import LAYERS, WEIGHTS, write_family
from tiny_models import CIRCUIT, tiny_model

from entrack.across import checkpoints, training
from entrack.across import training_figures as figures
from entrack.across import training_tables as tables
from entrack.across.training import FOLLOWED, CourseSettings, effects, least_alike, standing
from entrack.circuit.discovery import DiscoveryConfig, discover
from entrack.circuit.overlap import likeness
from entrack.display.svg import figure_svg
from entrack.errors import SiteError
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.recipes import Recipe, recipe
from entrack.paper.claims import claim
from entrack.patching.accuracy import score_task
from entrack.task.draws import pairs, scenes
from entrack.task.prompts import encode_pairs
from entrack.versions.loading import load

RISING = (0.2, 0.3, 0.6, 0.8)
TRUTH = truth()
STAYS = course(RISING, (0.1, 0.2, 0.5, 0.7), [TRUTH] * 4)
REFERENCE, AGAIN = searched(TRUTH, 1), searched(TRUTH, 2)
CEILING = {name: likeness(REFERENCE, AGAIN, group=name) for name in FOLLOWED}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_the_half_of_the_gain_and_the_step_before_it():
    assert STAYS.gain.value == pytest.approx(0.6)
    assert [STAYS.way(step) for step in STEPS] == pytest.approx([0, 1 / 6, 2 / 3, 1])
    assert (STAYS.before_half, STAYS.half, STAYS.last) == (10, 20, 40)


def test_a_course_that_gains_nothing_has_its_half_at_the_end():
    flat = course((0.5, 0.4, 0.4, 0.5), (0, 0, 0, 0), [TRUTH] * 4)
    assert [flat.way(step) for step in STEPS] == [0, 0, 0, 0]
    assert flat.half == 40 and flat.before_half == 20


def test_what_is_carried_rises_pair_by_pair():
    rise = STAYS.rise("B")
    assert rise.value == pytest.approx(0.6) and rise.better == 24 and rise.worse == 0
    assert [STAYS.made("B", s).value for s in STEPS] == pytest.approx([0, 1 / 6, 2 / 3, 1])
    assert STAYS.carries("B", 20).value == pytest.approx(0.5)


def test_the_floor_of_every_checkpoint_counts():

    found = dataclasses.replace(STAYS, carried={**STAYS.carried, 40: said(0.7, floor=0.6)})
    assert found.carries("B", 40).value == pytest.approx(0.1)
    assert found.rise("B").value == pytest.approx(0)
    assert np.isnan(found.made("B", 20).value)


def judged(made):
    """The verdicts of chapter 14 on one course, as it measures them."""
    alike = made.alike(REFERENCE)
    found = {n: standing(alike[made.before_half][n], CEILING[n]) for n in FOLLOWED}
    stays = {n: standing(least_alike(alike, n), CEILING[n]) for n in FOLLOWED}
    by_letter = dict(zip(LETTERS, FOLLOWED, strict=True))
    told = {f"found_{x}": claim(f"course_found_{x}", found[n]) for x, n in by_letter.items()}
    told |= {f"stays_{x}": claim(f"course_stays_{x}", stays[n]) for x, n in by_letter.items()}
    told |= {f"carries_{x}": claim(f"course_carries_{x}", made.rise(x)) for x in LETTERS}
    told |= {f"pace_{x}": claim(f"course_pace_{x}", made.made(x, made.half)) for x in LETTERS}
    return {name: one.verdict_words for name, one in told.items()}


EARLY = (0.1, 0.2, 0.68, 0.7)
"""What is carried, most of its rise made with half of the gain."""


def test_a_circuit_that_was_there_and_stays():
    assert set(judged(course(RISING, EARLY, [TRUTH] * 4)).values()) == {"holds"}


def test_a_circuit_that_appears_with_the_accuracy():
    """Other heads until half of the gain is made."""
    found = judged(course(RISING, EARLY, [moved(TRUTH), moved(TRUTH), TRUTH, TRUTH]))
    about_heads = {found[f"{kind}_{x}"] for kind in ("found", "stays") for x in LETTERS}
    assert about_heads <= {"does not hold", "undecided"}
    assert found["carries_B"] == found["pace_B"] == "holds"


def test_a_circuit_that_moves_in_the_end():
    found = judged(course(RISING, (0.1, 0.2, 0.5, 0.7), [TRUTH, TRUTH, TRUTH, moved(TRUTH)]))
    assert {found[f"found_{x}"] for x in LETTERS} == {"holds"}
    assert not {found[f"stays_{x}"] for x in LETTERS} & {"holds", "partly"}


def test_a_message_that_stays_as_it_is_and_one_that_is_late():
    flat = course(RISING, (0.4, 0.4, 0.4, 0.4), [TRUTH] * 4)
    assert flat.rise("B").value == 0 and not flat.rise("B").excludes(0)
    assert judged(flat)["pace_B"] == "not run"
    late = judged(course(RISING, (0.1, 0.1, 0.1, 0.7), [TRUTH] * 4))
    assert late["carries_B"] == "holds" and late["pace_B"] == "does not hold"


def test_the_least_alike_checkpoint():
    made = course(RISING, RISING, [TRUTH, moved(TRUTH), TRUTH, TRUTH])
    alike = made.alike(REFERENCE)
    assert least_alike(alike, "value_fetcher") is alike[10]["value_fetcher"]
    none = {0: dict.fromkeys(FOLLOWED)}
    assert least_alike(none, "value_fetcher") is None
    assert standing(None, CEILING["value_fetcher"]) is None


def test_wanted_steps_have_both_ends_and_nothing_beyond():
    base = recipe("base", "smollm2")
    assert training.wanted_steps((24, 8, 8, 100), base) == (0, 8, 24, 32)
    assert training.wanted_steps((), base) == (0, 32)


@pytest.fixture(scope="module")
def small():
    model = tiny_model(n_layers=LAYERS, seed=WEIGHTS)
    clean, corrupt = encode_pairs(model.tokenizer, pairs(7, split="discovery", seed=3))
    return model, clean, corrupt


def test_effects_are_the_first_stages_of_a_search(small, own_cache):
    model, clean, corrupt = small
    config = DiscoveryConfig()
    whole = discover(model, clean, corrupt=corrupt, config=config)
    found = effects(model, n_pairs=7, seed=3, config=config)
    assert list(found.scores) == list(FOLLOWED)
    for name in FOLLOWED:
        assert np.array_equal(found.scores[name].values, whole.scores[name].values, equal_nan=True)
        assert found.receivers[name] == whole.receivers[name]


def test_a_stage_without_receivers_is_named(small, own_cache, monkeypatch):
    monkeypatch.setattr("entrack.circuit.discovery.Discovery.top", lambda *_: ())
    with pytest.raises(SiteError, match="no head of value_fetcher helps .* begin the course at"):
        effects(small[0], n_pairs=7, seed=0, config=DiscoveryConfig())


@pytest.fixture
def family(tmp_path, monkeypatch):
    """The random family, of which `tuned` has a recipe, and `lost` is no version."""
    write_family(tmp_path)
    monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path))
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    made = Recipe(
        "tuned", on="plain", data=BoxesData((2, 3)), steps=3, horizon=6, warmup=1, batch=2,
        rank=2, alpha=4, lr=3e-3, dtype="float32",
    )  # fmt: skip
    monkeypatch.setitem(checkpoints.RECIPES, "random", {"tuned": made})
    return "random"


SMALL = CourseSettings(n_scenes=2, n_pairs=7, n_contents=2)


def test_a_course_from_end_to_end(family):
    found = training.follow(family, "tuned", steps=(2,), circuit=CIRCUIT, settings=SMALL)
    assert found.steps == (0, 2, 3) and (found.start, found.version) == ("plain", "tuned")
    own = score_task(load("random/plain"), scenes(2, split="evaluation"))
    assert np.array_equal(found.scores[0].log_prob, own.log_prob), "it starts from the version"
    assert found.apart is None, "the family's version is no adapter"
    assert found.scores[2].model == found.carried[2].model == "random/tuned at step 2"
    assert not np.array_equal(found.scores[2].log_prob, found.scores[0].log_prob)
    assert found.letters() == list(LETTERS)
    again = training.follow(family, "tuned", steps=(2,), circuit=CIRCUIT, settings=SMALL)
    assert np.array_equal(again.scores[2].log_prob, found.scores[2].log_prob)


def test_a_course_can_end_at_the_version_in_the_book(family):
    given = {"steps": (2,), "circuit": CIRCUIT, "settings": SMALL}
    whole = training.follow(family, "tuned", **given)
    short = training.follow(family, "tuned", **given, to_the_end=False)
    assert short.steps == whole.steps and short.scores[3].model == "random/tuned"
    own = score_task(load("random/tuned"), scenes(2, split="evaluation"))
    assert np.array_equal(short.scores[3].log_prob, own.log_prob)
    assert np.array_equal(short.scores[2].log_prob, whole.scores[2].log_prob)
    assert not np.array_equal(short.scores[3].log_prob, whole.scores[3].log_prob)
    assert short.apart is None


def test_the_version_that_is_kept_is_measured_as_a_checkpoint_is(family):
    scores, found = training.kept(family, "tuned", settings=SMALL)
    own = training.measure(load("random/tuned"), CIRCUIT, SMALL)
    assert np.array_equal(scores.log_prob, own[0].log_prob)
    assert found.model == own[1].model == "random/tuned"
    assert training.kept(family, "lost", settings=SMALL) is None


def test_a_version_without_a_recipe_has_no_course(family):
    assert training.follow(family, "other", steps=(1,), circuit=CIRCUIT, settings=SMALL) is None


def test_the_figure_draws_what_was_measured():
    alike = STAYS.alike(REFERENCE)
    picture = figures.courses([STAYS, STAYS], [alike, alike], ceiling=CEILING)
    top, middle, bottom = (picture.figure.axes[i] for i in (0, 2, 4))
    assert list(top.containers[0].lines[0].get_xdata()) == list(STEPS)
    assert list(top.containers[0].lines[0].get_ydata()) == pytest.approx(RISING)
    shares = [alike[s]["position_transmitter"].share_of(CEILING["position_transmitter"]).value
              for s in STEPS]  # fmt: skip
    assert list(middle.containers[1].lines[0].get_ydata()) == pytest.approx(shares)
    assert list(bottom.containers[1].lines[0].get_ydata()) == pytest.approx([0.1, 0.2, 0.5, 0.7])
    assert "base to tuned: accuracy 0.20 to 0.80" in picture.alt
    assert "messages followed A 0.10 to 0.70" in picture.alt
    assert figure_svg(picture.figure, picture.alt)


def test_a_wide_interval_does_not_flatten_the_curves():
    alike = STAYS.alike(REFERENCE)
    name = "position_transmitter"
    near_zero = np.linspace(-0.1, 0.9, CEILING[name].draws.size)
    wide = dataclasses.replace(CEILING[name], draws=near_zero)
    picture = figures.courses([STAYS], [alike], ceiling=CEILING | {name: wide})
    middle = picture.figure.axes[1]
    assert alike[0][name].share_of(wide).high > 2 * figures.SHARES[1]
    points = [y for drawn in middle.containers for y in drawn.lines[0].get_ydata()]
    low, high = middle.get_ylim()
    assert low <= min(points) and max(points) <= high
    assert low >= min(figures.SHARES[0], *points) and high <= max(figures.SHARES[1], *points)


def test_heads_keep_their_places_in_every_course():
    strongest = {name: AGAIN.scores[name].ranked()[:3] for name in FOLLOWED}
    picture = figures.heads([STAYS, STAYS], strongest=strongest)
    head = strongest["position_transmitter"][0]
    drawn = picture.figure.axes[2].containers[0].lines[0]
    expected = [m.scores["position_transmitter"].estimate(head).value for m in STAYS.maps.values()]
    assert list(drawn.get_ydata()) == pytest.approx(expected)
    assert f"{head} in tuned {expected[0]:+.2f} to {expected[-1]:+.2f}" in picture.alt


def test_the_strip_shows_the_probability_of_one_prompt():
    picture = figures.one_prompt([STAYS], query=1)
    assert [text.get_text() for text in picture.figure.axes[0].texts] == ["0.75"] * 4
    assert "base to tuned, 0.75 to 0.75" in picture.alt


def test_a_row_for_every_checkpoint():
    alike = STAYS.alike(REFERENCE)
    rows = tables.checkpoints([STAYS], [alike], ceiling=CEILING).rows
    assert [row[0] for row in rows] == [f"tuned, step {step}" for step in STEPS]
    assert [row[1].value for row in rows] == pytest.approx(RISING)
    assert [row[2] for row in rows] == ["0%", "17%", "67%", "100%"]
    assert rows[1][7] == STAYS.carries("B", 10)
    alike[10]["value_fetcher"] = None
    assert tables.checkpoints([STAYS], [alike], ceiling=CEILING).rows[1][3] == "too few heads"


def test_both_ends_of_a_course_with_what_changed():
    made = course(RISING, EARLY, [moved(TRUTH), TRUTH, TRUTH, TRUTH])
    alike = made.alike(REFERENCE)
    rows = tables.changes([made], [alike], ceiling=CEILING).rows
    assert [row[0] for row in rows] == [f"base to tuned, {letter}" for letter in LETTERS]
    _, first, last, *followed, rise = rows[1]
    assert first.value < 0.5 < 0.95 < last.value
    assert [e.value for e in followed] == pytest.approx([0.1, 0.7]) and rise == made.rise("B")
    found = {step: dataclasses.replace(p, patches={"A": p.patches["A"]}, answers=p.answers[:1])
             for step, p in made.carried.items()}  # fmt: skip
    rows = tables.changes([dataclasses.replace(made, carried=found)], [alike], ceiling=CEILING).rows
    assert rows[1][3:] == ["no head"] * 3


def test_the_end_of_a_run_beside_the_version_that_is_kept():
    made = dataclasses.replace(STAYS, apart=0.05)
    kept = {"tuned": (STAYS.scores[20], searched(moved(TRUTH), 5))}
    own, book = tables.ends([made], kept, reference=REFERENCE, ceiling=CEILING).rows
    assert own[:2] == ["tuned, end of this run", "5.0%"] and book[1] == "-"
    assert own[2] == STAYS.scores[40].accuracy() and book[2] == STAYS.scores[20].accuracy()
    assert own[4].value > 0.95 > 0.5 > book[4].value
    (_, none) = tables.ends([made], {"tuned": None}, reference=REFERENCE, ceiling=CEILING).rows
    assert set(none[1:]) == {"not there"}


def test_labels_of_steps_keep_apart():
    steps = (0, 10, 25, 50, 75, 100, 150, 250)
    assert figures._labels(steps) == ["0", "10", "25", "50", "", "100", "150", "250"]
    assert figures._labels((0, 8, 16, 24, 32)) == ["0", "8", "16", "24", "32"]
