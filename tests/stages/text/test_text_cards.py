"""Card numbers are replaced however they are printed; lists of models, years and prices stay."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from random import Random

import pytest

from pipeline.stages.text.cards import luhn
from pipeline.stages.text.pii import redact

# First digits and length, from the tables of issuer identification numbers that the networks publish.
NETWORKS = {
    "visa": (["4"], 16),
    "mastercard": (["51", "55", "2221", "2720"], 16),
    "jcb": (["3528", "3589"], 16),
    "discover": (["6011", "644", "65"], 16),
    "unionpay": (["62"], 16),
    "american express": (["34", "37"], 15),
}


def card(rng: Random, prefix: str, length: int) -> str:
    body = prefix + "".join(rng.choice("0123456789") for _ in range(length - 1 - len(prefix)))
    return next(body + digit for digit in "0123456789" if luhn(body + digit))


def printed(number: str, separator: str) -> str:
    cuts = (0, 4, 10, 15) if len(number) == 15 else (0, 4, 8, 12, 16)
    return separator.join(number[start:end] for start, end in pairwise(cuts))


@pytest.mark.parametrize("separator", ["", " ", "-", "\u00a0", "–", "."])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_card_of_any_network_is_replaced(network, separator):
    """T9: one in some hundred, whose groups look like years or models, may stay if its groups are apart."""
    rng = Random(network + separator)
    prefixes, length = NETWORKS[network]
    numbers = [card(rng, prefix, length) for prefix in prefixes for _ in range(300)]
    kept = [number for number in numbers if redact(f"Paid by {printed(number, separator)}.").text != "Paid by <card>."]
    assert len(kept) <= (0 if separator == "" or length == 15 else 0.01 * len(numbers)), kept


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111,4242 4242 4242 4242",
        "visa4111111111111111/12",
        "(4111-1111-1111-1111)",
        "4000 0000 0000 0002",
        "4012 8888 8888 1881",
        "5555 5555 5555 4444",
        "5105 1051 0510 5100",
        "6011 0009 9013 9424",
        "3530 1113 3330 0000",
        "3782 822463 10005",
    ],
)
def test_the_numbers_that_networks_give_for_tests_are_replaced(text):
    """T9"""
    assert redact(text).counts == (0, 0, 0, text.count(",") + 1)


def models_and_years() -> list[str]:
    """Captions of car parts as they stand in shops."""
    spans = [
        f"{a}{dash}{b}" for a in range(1988, 2016, 3) for b in (a + 1, a + 4, a + 9) for dash in ("-", " ", " - ", "/")
    ]
    rows = [
        "1500 2500 3500",
        "2500 3500",
        "2500 3500 4500",
        "3500 4500 5500",
        "4500 5500",
        "2250 2500",
        "5100 5200 5300",
    ]
    return [f"Silverado {row} {span} side mirror" for row, span in product(rows, spans)]


def series() -> list[str]:
    """Lists of models, sizes and prices of one series, with one separator."""
    steps = [
        range(first, first + 8 * step, step) for first in range(4010, 5600, 37) for step in (1, 2, 5, 7, 10, 50, 100)
    ]
    lists = [(*numbers[start : start + 4],) for numbers in steps for start in (0, 3)]
    lists += [tuple(sorted(four)) for four in combinations(range(4400, 4445, 5), 4)]
    lists += [(first, 2001, 2005, 2009) for first in range(4000, 6000, 7)]
    return [separator.join(map(str, numbers)) for numbers in lists for separator in (" ", "-", "/")]


def test_models_and_years_stay():
    """T10, T20"""
    captions = models_and_years() + [f"Parts for John Deere {numbers} tractor" for numbers in series()]
    assert len(captions) > 3_000
    assert [caption for caption in captions if redact(caption, ("US",)).text != caption] == []


@pytest.mark.parametrize(
    "text",
    [
        "Dodge Ram 1500 2500 3500 1988-1994 tail light",
        "Silverado 2500 3500 1988-2000 side mirror",
        "4111 1111-1111 1111",
        "4111/1111/1111/1111",
        "4111 1111  1111 1111",
        "Share of 0.4111111111111111",
        "Share of 0,4111111111111111",
        "SN4111111111111111",
        "4111111111111111_n.jpg",
        "538476_4111111111111111_n",
        "12-4111-1111-1111-1111",
        "4111-1111-1111-1111-22",
        "4111111111111111B",
        "Item 4111111111111111",
        "SKU: 4111 1111 1111 1111",
        "barcode no. 4111111111111111",
        "2210 0000 0000 0001 3500 0000 0000 0002",
        "HTTP in RFC 2616 7230 7231 7232",
        "Toner for 4936 4924 4904 4866",
    ],
)
def test_what_no_card_is_printed_like_stays(text):
    """T10, T20"""
    assert redact(text, ("US",)).text == text
