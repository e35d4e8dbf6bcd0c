"""What rules say in words: names, clean accuracies, seeds and images, in the unit of the panel."""

from dataclasses import replace

from tiny_reproduction import panel, seeds

from npsnn.reproduce.panels import NUMBER, Panel
from npsnn.reproduce.records import Seeds
from npsnn.reproduce.wording import against, alone, listed, size

CELLS = {("a", "clean"): [0.9, 0.92], ("a", "PGD"): [0.5, 0.6], ("b", "PGD"): [0.3, 0.4], ("b", "0.1"): [0.2, 0.2]}
PANEL = replace(panel(CELLS), note="mnist, lenet5, 5 epochs of all training images, 2 seeds.")


def test_figures_stand_before_their_names() -> None:
    found = against(PANEL, ("a", "PGD"), ("b", "PGD"), "above 0")
    assert found.startswith("PGD: 55.0 % (clean 91.0) for a, 35.0 % for b; difference +20.0 (")
    assert found.endswith("), needed: above 0 (mnist, lenet5, 2 seeds, 400 images)")


def test_the_papers_own_difference_stands_beside_ours() -> None:
    theirs = {("a", "PGD"): 72.05, ("b", "PGD"): 56.06}
    found = against(replace(PANEL, theirs=theirs), ("a", "PGD"), ("b", "PGD"), "above 0")
    assert "), in the paper +15.99, surely less than here, needed: above 0 (" in found
    more = replace(PANEL, theirs={("a", "PGD"): 90.0, ("b", "PGD"): 10.0})
    assert "), in the paper +80, surely more than here, needed" in against(more, ("a", "PGD"), ("b", "PGD"), "above 0")
    like = replace(PANEL, theirs={("a", "PGD"): 70.0, ("b", "PGD"): 50.0})
    assert "), in the paper +20, needed" in against(like, ("a", "PGD"), ("b", "PGD"), "above 0")
    one_alone = replace(PANEL, theirs={("a", "PGD"): 72.05})
    assert "in the paper" not in against(one_alone, ("a", "PGD"), ("b", "PGD"), "above 0")


def test_what_places_have_in_common_is_said_once() -> None:
    assert listed(PANEL, [("a", "clean"), ("a", "PGD")]) == "a: 91.0 % for clean, 55.0 % (clean 91.0) for PGD"
    assert listed(PANEL, [("a", "clean"), ("b", "PGD")]) == "91.0 % for a (clean), 35.0 % for b (PGD)"
    assert alone(replace(PANEL, axis="eps"), ("b", "0.1"), "at most 30").startswith(
        "eps 0.1: 20.0 % (16.4 to 24.2) for"
    )


def test_numbers_have_no_clean_accuracy_and_no_images() -> None:
    cells = {("a", "clean"): Seeds((1.0,)), ("a", "sd"): Seeds((0.25,))}
    found = Panel("made up", ["a"], ["clean", "sd"], cells, unit=NUMBER)
    assert alone(found, ("a", "sd"), "at most 1") == "sd: 0.25 for a, needed: at most 1 (1 seed)"
    assert (size(found, 0.05), size(PANEL, 0.05)) == ("0.05", "5")


def test_seeds_are_those_that_are_compared() -> None:
    cells = {("a", "x"): seeds([0.5, 0.6, 0.7]), ("b", "x"): seeds([0.5, 0.6])}
    assert against(Panel("t", ["a", "b"], ["x"], cells), ("a", "x"), ("b", "x"), "above 0").endswith(
        "(2 seeds, 400 images)"
    )
