"""Phone numbers of all countries are replaced in their international forms; numbers that only look like one stay."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from pipeline.stages.text.pii import redact

REGIONS = ("US",)
KINDS = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
FORMS = ("{}", "Call {} now", "(WhatsApp: {})", "Office: {}, open daily", "2019 {}")


def examples() -> list[str]:
    """A mobile and a fixed number of each country, as phonenumbers' tables give them for examples."""
    numbers = [
        phonenumbers.example_number_for_type(region, kind)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in KINDS
    ]
    return sorted(phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL) for number in numbers if number)


@pytest.mark.parametrize("separator", [None, "", "-", "."])
def test_a_number_of_any_country_is_replaced(separator):
    """T9"""
    numbers = [text if separator is None else text.replace(" ", separator).replace("--", "-") for text in examples()]
    assert len(numbers) > 400
    texts = [(form.format(number), form.format("<phone>")) for number in numbers for form in FORMS]
    assert [text for text, redacted in texts if redact(text, REGIONS).text != redacted] == []


@pytest.mark.parametrize(
    "text",
    [
        # signs that add
        *("Schedule GMT+1 2019-05-12 10:11", "UTC +1 2023-10-12 20:00", "Ages 18+ 44 2079 460958", "Galaxy S20+ 128 256 512"),
        *("iPhone 6+ 7+ 8+ 2016 2017", "C++ 11 14 17 20 23 26", "3+4412345678", "+1 000 000 subscribers", "+100 200 300 400"),
        # years, dates, distances
        *("+49 2024 1990", "Rally +66 1962-2020", "+46 2010-07-18", "+43 174 669 km", "Mobile 20031209 095934"),
        # part numbers and barcodes that begin with 00
        *("0012345678905", "A 004 980 61 83 78", "006 634 29 55 91", "0067-72-6375", "00 44 66 88 10 12 14"),
        # coordinates
        *("+46.4295368", "+66.22910023 +171.7291", "+64.23042744 +46.90965673"),
        *("+40.712776 -74.005974", "+52.520008, +13.404954", "lat +48.858370 lon +2.294481", "+49.0139000 +12.1016000"),
        # series of models and sizes, also after a word that may announce a number
        *("Nokia phone 3310 3410 3510", "Toner for Brother Fax 2820 2840 2940", "case for phone 5 6 7 8 10 11 12"),
        *("HD phone 1080 1920 2400", "LG mobile 8000 8100 8200 8300", "T-Mobile 4000 4100 4200", "tel. 2014-2015 2016-2017"),
        *("Phone 7 8 11 12 13 14 15", "Case for phone 11 12 13 14 15"),
        # what the word before says
        *("Part number 415-744-8666", "OEM 212-555-0123 filter", "SKU: 212-555-0123", "Model 305-222-1234", "P/N 212-555-0123"),
        *("Ref. 212 555 0123", "Item #212-555-0123", "Part no. 0044 20 7946 0958", "Art.Nr. 0049 30 901820", "Lot 212-555-0123"),
        *("Bosch 0 986 494 524", "Bosch 0092 S50 080", "220-240-5060 Hz", "216-300-4000 mm"),
        # books, goods, dates, prices
        *("ISBN 978 3 16 148410 0", "EAN 4 006381 333931", "978-0-13-110362-7 1988", "2019.05.12 - 2019.06.13", "USD +1 250 000 000"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_phone_number_stays(text):
    """T10, T21"""
    assert redact(text, REGIONS).text == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Firefox 115.12.10.3",
            "Plex Media Server 1.18.9.25",
            "SQL Server 13.0.40.1",
            "kernel 4.19.118.2",
            "Chrome 87.0.42.88",
        ),
        *(
            "Section at 11.12.13.14",
            "clause 12.14.16.18",
            "Driver 27.20.100.8681",
            "Unity 12.34.56.78",
            "Rev 93.184.216.34",
        ),
    ],
)
def test_a_version_that_could_be_an_address_stays(text):
    """T10, T21"""
    assert redact(text).text == text


@pytest.mark.parametrize(
    "text",
    ["Server at 8.8.8.8", "IP address: 8.8.8.8", "server=8.8.8.8", "http://8.8.8.8/", "ping 8.8.8.8", "DNS 9.9.9.9"],
)
def test_an_address_that_is_called_one_is_replaced(text):
    """T9"""
    assert redact(text).counts == (0, 0, 1, 0)


@pytest.mark.parametrize(
    "name", ["photo@large.jpg", "IMG_1@home.JPEG", "icon@dark.svg", "banner@mobile.webp", "me@site.pdf"]
)
def test_the_name_of_a_file_is_no_mail_address(name):
    """T10, T21"""
    assert redact(f"See {name}").text == f"See {name}"
