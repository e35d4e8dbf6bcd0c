"""The plain Philox4x32 against numbers that its authors published, and the normal numbers by hand."""

from math import log, sqrt

import pytest

from npsnn.reference import philox

# Random123, tests/kat_vectors: rounds, counter, key, words
KNOWN = [
    (7, "00000000 00000000 00000000 00000000", "00000000 00000000", "5f6fb709 0d893f64 4f121f81 4f730a48"),
    (7, "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "5207ddc2 45165e59 4d8ee751 8c52f662"),
    (7, "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "4dfccaba 190a87f0 c47362ba b6b5242a"),
    (10, "00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (10, "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (10, "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("rounds", "counter", "key", "words"), KNOWN)
def test_known_answers(rounds: int, counter: str, key: str, words: str) -> None:
    assert philox.philox4x32(numbers(counter), numbers(key), rounds) == numbers(words)  # type: ignore[arg-type]


def test_the_counter_is_index_and_sample_and_the_key_has_two_words() -> None:
    _, counter, key, words = KNOWN[-1]
    c, k = numbers(counter), numbers(key)
    found = philox.words(k[0] + (k[1] << 32), c[2] + (c[3] << 32), c[0] + (c[1] << 32))
    assert found == numbers(words)


def test_numbers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    assert philox.first_bits(0xA0000000, 0x00000001, 4) == 10 and philox.first_bits(1, 2, 64) == 2**32 + 2
    # the angle is half of the circle, and the radius that of the third of four numbers
    monkeypatch.setattr(philox, "words", lambda *place: (2**31, 0, 2**31, 0))
    assert philox.uniform(0, 0, 0, 24) == 0.5
    assert philox.normal(0, 0, 0, 2) == pytest.approx(-sqrt(-2 * log(0.75)))
