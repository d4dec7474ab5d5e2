"""Settings are read as YAML 1.2 has it; what is not YAML is told with the quotes it needs."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from pipeline import funnel
from pipeline.core import yaml12
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError

TEXTS = [
    "no",
    "yes",
    "on",
    "off",
    "y",
    "N",
    "Yes",
    "OFF",
    "2024-05-06",
    "12:30",
    "1:2:3",
    "1_000",
    "0b11",
    "=",
    "1e3.5",
]
VALUES = {  # YAML 1.2.2, section 10.3.2
    "null": None,
    "~": None,
    "": None,
    "true": True,
    "FALSE": False,
    "010": 10,
    "-3": -3,
    "0o17": 15,
    "0x1F": 31,
    "1e3": 1000.0,
    "5e-4": 0.0005,
    ".5": 0.5,
    "-.inf": -math.inf,
    "'no'": "no",
    '"~"': "~",
}


@pytest.mark.parametrize("text", TEXTS)
def test_words_dates_and_times_are_text_x42(text: str) -> None:
    """X42: no is Norwegian, in a value, a list and a key."""
    assert yaml12.parse(f"[{text}]") == [text]
    assert yaml12.parse(f"{text}: {text}") == {text: text}


@pytest.mark.parametrize("text", VALUES)
def test_numbers_and_words_of_the_core_schema_are_values_x42(text: str) -> None:
    """X42"""
    found = yaml12.parse(f"a: {text}")["a"]
    assert (found, type(found)) == (VALUES[text], type(VALUES[text]))


@pytest.mark.parametrize("text", [*TEXTS, *VALUES, "<<", "0o8", "# x", "a: b", "*.tar", "\u2028"])
def test_what_is_written_is_read_back_as_text_also_by_yaml_1_1(text: str) -> None:
    written = yaml12.dump({"a": [text]})
    assert yaml12.parse(written) == yaml.safe_load(written) == {"a": [text]}


def test_no_is_a_language_in_a_file_and_in_a_set_x42(tmp_path: Path) -> None:
    """X42"""
    file = tmp_path / "config.yaml"
    file.write_text("text: {languages: [no, on]}\n")
    assert load_config(funnel.Config, file=file).text.languages == ["no", "on"]
    assert load_config(funnel.Config, sets=["text.languages=[no]"]).text.languages == ["no"]


@pytest.mark.parametrize(("value", "wanted"), [("yes", "true"), ("On", "true"), ("off", "false"), ("no", "false")])
def test_what_yaml_1_1_had_for_true_and_false_says_what_to_write_x42(value: str, wanted: str) -> None:
    """X42: never read as the other, nor as text where true or false is meant."""
    with pytest.raises(InputError, match=f"fetch.enlarge is '{value}': .*; write {wanted}$"):
        load_config(funnel.Config, sets=[f"fetch.enlarge={value}"])


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("[*.tar]", '["*.tar"]'),
        ("[**/*.tar, b.tar]", '["**/*.tar", "b.tar"]'),
        ("[a[1].csv]", '["a[1].csv"]'),
        ("[{a,b}.tar]", '["{a,b}.tar"]'),
        ("[a #1.csv]", '["a #1.csv"]'),
        ("[!a.csv]", '["!a.csv"]'),
        ("[%20.csv]", '["%20.csv"]'),
        ('[@a, "b"]', '["@a", "b"]'),
        ("['it's.csv']", '["it\'s.csv"]'),
        ("[- a]", '["- a"]'),
        ("[a, b", '"[a, b"'),
        ("a #1.csv", '"a #1.csv"'),
        ('["C:\\data\\x.csv"]', '["C:\\\\data\\\\x.csv"]'),
    ],
)
def test_text_that_yaml_takes_for_something_else_is_shown_in_quotes_x42(value: str, quoted: str) -> None:
    """X42: what is shown can be copied, and is read."""
    with pytest.raises(InputError, match="put text in quotes: --set ") as caught:
        load_config(funnel.Config, sets=[f"extract.inputs={value}"])
    assert "\n" not in caught.value.text
    assert quoted.replace("'", "'\"'\"'") in caught.value.text
    yaml12.parse(quoted)


def test_a_config_file_that_is_not_yaml_is_told_where(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("extract:\n  inputs: [*.tar]\n")
    with pytest.raises(InputError, match=r"config\.yaml: .* \(line 2, column 13\); put text with special characters"):
        load_config(funnel.Config, file=file)


def test_a_section_whose_lines_are_all_comments_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("text:\n#  languages: [no]\nrules:\nextract: {inputs: [a.csv]}\n")
    config = load_config(funnel.Config, file=file)
    assert (config.text, config.rules, config.extract.inputs) == (funnel.Config().text, [], ["a.csv"])


def test_a_dotted_key_in_a_file_is_told_how_to_write_it(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("text.languages: [no]\n")
    with pytest.raises(InputError, match=r"unknown setting text\.languages; in a file write languages: below text:$"):
        load_config(funnel.Config, file=file)


@pytest.mark.parametrize(
    ("value", "wanted"), [("no", '["no"]'), ("no, en", '["no", "en"]'), ("'[no, \"en\"]'", '["no", "en"]')]
)
def test_text_where_a_list_is_wanted_is_shown_as_the_list_that_is_meant(value: str, wanted: str) -> None:
    with pytest.raises(InputError, match=f"; write {re.escape(wanted)}$"):
        load_config(funnel.Config, sets=[f"text.languages={value}"])
