"""What A2SNN's Table 5 prints, and what the paper says of it."""

from collections.abc import Iterator

NAMES = {"cifar10": "CIFAR-10", "svhn": "SVHN", "fashion-mnist": "Fashion-MNIST"}
"""The data sets of Table 5 by the names that npsnn has for them."""
PRINTED: dict[str, dict[str, tuple[float, float, float]]] = {
    "cifar10": {
        "m0": (84.2, 15.8, 0.8),
        "m1": (83.8, 22.4, 15.7),
        "m2": (84.0, 23.9, 18.0),
        "m3": (81.5, 58.1, 54.0),
        "m4": (82.8, 51.6, 47.9),
        "m5": (84.4, 73.3, 72.0),
    },
    "svhn": {
        "m0": (92.0, 20.8, 13.9),
        "m1": (90.9, 72.2, 70.5),
        "m2": (91.4, 72.6, 71.2),
        "m3": (91.6, 76.2, 75.4),
        "m4": (91.6, 86.5, 84.1),
        "m5": (91.5, 86.8, 84.4),
    },
    "fashion-mnist": {
        "m0": (90.8, 51.7, 13.3),
        "m1": (90.7, 56.1, 13.7),
        "m2": (90.8, 58.4, 22.7),
        "m3": (91.2, 62.7, 15.8),
        "m4": (90.5, 60.2, 21.5),
        "m5": (90.8, 77.5, 43.9),
    },
}
"""Table 5: clean, FGSM and PGD, in percent."""


def claims_of_table_5() -> Iterator[tuple[str, str, str]]:
    """The sentences of Sec. 4.2 and 4.4 about the table, each for the three data sets: id, place and claim."""
    for data, name in NAMES.items():

        def printed(model: str, of: dict[str, tuple[float, float, float]] = PRINTED[data]) -> str:
            clean, fgsm, pgd = of[model]
            return f"{clean:g}, {fgsm:g} and {pgd:g} %"

        where = f"Table 5, {name}"
        m0, m1, m3, m4, m5 = map(printed, ("m0", "m1", "m3", "m4", "m5"))
        three = "clean, under FGSM and under PGD"
        yield (
            f"entropy-helps-{data}",
            f"Sec. 4.4 (i), {where}",
            f"Independent noise with the max-entropy reward (m1) is more robust than no defence: {m1} {three}, without "
            f"{m0}.",
        )
        yield (
            f"anisotropic-helps-{data}",
            f"Sec. 4.4 (ii), {where}",
            f"Anisotropic noise (m3) benefits robustness much more than independent noise (m1): {m3} {three} against "
            f"{m1}.",
        )
        yield (
            f"alignment-comparable-{data}",
            f"Sec. 4.4 (iii), {where}",
            f"The alignment alone (m4) has an effect comparable to max-entropy alone (m3): {m4} {three}, and {m3}.",
        )
        yield (
            f"complementary-{data}",
            f"Sec. 4.4 (iv), {where}",
            f"All techniques are complementary: m5 is the most robust model, {m5} {three}.",
        )
        yield (
            f"clean-kept-{data}",
            f"Sec. 4.2, Table 1, {where}" if data == "cifar10" else where,
            f"A2SNN does not sacrifice accuracy on clean data: {PRINTED[data]['m5'][0]:g} %, without defence "
            f"{PRINTED[data]['m0'][0]:g} %.",
        )
        yield (
            f"numbers-{data}",
            where,
            f"A2SNN (m5) keeps {m5} {three}, at 8/255.",
        )
