"""Personal data is replaced by what it was; what only looks like it stays."""

import time

import pytest

from pipeline.core.errors import InputError
from pipeline.stages.text.cards import luhn
from pipeline.stages.text.pii import redact, require_regions

REGIONS = ("US",)

# Made of reserved names and numbers (RFC 2606, RFC 3849, numbers for drama) or of public services.
PERSONAL = [
    ("Write to jane.doe@example.com today", "Write to <email> today", (1, 0, 0, 0)),
    ("Mail: Jane_Doe+photos@mail.example.co.uk.", "Mail: <email>.", (1, 0, 0, 0)),
    ("联系info@example.cn购买", "联系<email>购买", (1, 0, 0, 0)),
    ("a@example.com, b@example.org", "<email>, <email>", (2, 0, 0, 0)),
    ("Call +44 20 7946 0958 now", "Call <phone> now", (0, 1, 0, 0)),
    ("+1 (212) 555-0123", "<phone>", (0, 1, 0, 0)),
    ("WhatsApp: +49 30 901820", "WhatsApp: <phone>", (0, 1, 0, 0)),
    ("Sunset villa (212) 555-0123", "Sunset villa <phone>", (0, 1, 0, 0)),
    ("Sunset villa 212-555-0123", "Sunset villa <phone>", (0, 1, 0, 0)),
    ("Sunset villa 212.555.0123!", "Sunset villa <phone>!", (0, 1, 0, 0)),
    ("1-800-275-2273 for taxis", "<phone> for taxis", (0, 1, 0, 0)),
    ("Flats, call @ 02261054600 - price", "Flats, call @ <phone> - price", (0, 1, 0, 0)),
    ("A red fox (+44 20 7946 0958)", "A red fox (<phone>)", (0, 1, 0, 0)),
    ("Flat (tel: 02261054600), sea view", "Flat (tel: <phone>), sea view", (0, 1, 0, 0)),
    ("Tel. 030/1234567", "Tel. <phone>", (0, 1, 0, 0)),
    ("☎ 8 912 345 67 89", "☎ <phone>", (0, 1, 0, 0)),
    ("电话：010-12345678", "电话：<phone>", (0, 1, 0, 0)),
    ("Suite 100 (212) 555-0123", "Suite 100 <phone>", (0, 1, 0, 0)),
    ("2019 212-555-0123", "2019 <phone>", (0, 1, 0, 0)),
    ("212-555-0123, 212-555-0124", "<phone>, <phone>", (0, 2, 0, 0)),
    ("212-555-0123,212-555-0124", "<phone>,<phone>", (0, 2, 0, 0)),
    ("212-555-0123/0124", "<phone>/0124", (0, 1, 0, 0)),
    ("212-555-0123x5", "<phone>x5", (0, 1, 0, 0)),
    ("(212) - 555-0123", "<phone>", (0, 1, 0, 0)),
    ("+1 212 - 555 - 0123", "<phone>", (0, 1, 0, 0)),
    ("0044 20 7946 0958", "<phone>", (0, 1, 0, 0)),
    ("Call212-555-0123", "Call<phone>", (0, 1, 0, 0)),
    ("TEL+81 3-1234-5678", "TEL<phone>", (0, 1, 0, 0)),
    ("WhatsApp+8613800138000", "WhatsApp<phone>", (0, 1, 0, 0)),
    ("电话+86 138 0013 8000", "电话<phone>", (0, 1, 0, 0)),
    ("手机13800138000", "手机<phone>", (0, 1, 0, 0)),
    ("電話03-1234-5678", "電話<phone>", (0, 1, 0, 0)),
    ("전화02-1234-5678", "전화<phone>", (0, 1, 0, 0)),
    ("TEL：03－1234－5678", "TEL：<phone>", (0, 1, 0, 0)),
    ("cvv 123 4111 1111 1111 1111", "cvv 123 <card>", (0, 0, 0, 1)),
    ("4111–1111–1111–1111", "<card>", (0, 0, 0, 1)),
    ("4111.1111.1111.1111", "<card>", (0, 0, 0, 1)),
    ("card4111111111111111 4111111111111111/12", "card<card> <card>/12", (0, 0, 0, 2)),
    ("info@müller.de, müller@example.de", "<email>, <email>", (2, 0, 0, 0)),
    ("o'brien@example.com, info@пример.рф", "<email>, <email>", (2, 0, 0, 0)),
    ("jo@example.com-foo jo@example.com123 jo@example.zip", "<email>-foo <email>123 <email>", (3, 0, 0, 0)),
    ("IP:8.8.8.8 and IP:2606:4700:4700::1111", "IP:<ip> and IP:<ip>", (0, 0, 2, 0)),
    ("from 93.184.216.34-", "from <ip>-", (0, 0, 1, 0)),
    ("Card 4111 1111 1111 1111", "Card <card>", (0, 0, 0, 1)),
    ("4111-1111-1111-1111", "<card>", (0, 0, 0, 1)),
    ("amex 378282246310005", "amex <card>", (0, 0, 0, 1)),
    ("Server at 8.8.8.8", "Server at <ip>", (0, 0, 1, 0)),
    ("ping 2001:4860:4860::8888.", "ping <ip>.", (0, 0, 1, 0)),
]


@pytest.mark.parametrize(("text", "redacted", "counts"), PERSONAL)
def test_personal_data_is_replaced_and_counted_t9(text, redacted, counts) -> None:
    """T9"""
    emails, phones, ips, cards = counts
    assert redact(text, REGIONS) == (redacted, (emails, phones, ips, cards))


LOOK_ALIKES = [
    # versions and other dotted numbers
    *(f"{name}{version}" for name in ("v", "Version ", "firmware ", "Android ", "build ", "iOS ", "Release: ")
      for version in ("1.2.3.4", "8.8.8.8", "10.15.7.1", "4.4.2")),
    "1.2.3", "3.11.7", "192.168.1.1", "Router login 192.168.0.1", "10.0.0.1", "127.0.0.1 sweet 127.0.0.1", "0.0.0.0", "256.1.1.1",
    "1.2.3.4.5", "Chapter 1.2.3.4.5.6", "1.000.000.000", "12.345.678", "1,234,567.89", "33.333.333", "999.999.999.999",
    # sizes, prices, amounts
    *(f"{a}x{b}" for a, b in ((1920, 1080), (640, 480), (3840, 2160), (1200, 628), (10000, 10000))),
    "1920 x 1080 x 24", "10 x 20 x 30 cm", "5.5 x 8.5 inches", "$1,234,567", "$5,750,000 - 4Br/5Ba", "€ 1.234.567,00", "1 000 000 km",
    "100 000 000 people", "2 500 000 - 3 000 000", "1234567 views", "7654321", "12345678", "123456789", "Population 1234567890",
    "No. 1234567", "#12345678", "$23456789", "(1234567)", "1234 5678", "12 34 56 78", "0.32893747091293335", "3.14159265358979",
    # dates and times
    "2019-05-12", "12.05.2019", "05/12/2019", "2019/05/12", "20190512", "2019-05-12 10:11:12", "12-05-2019 to 14-05-2019", "1999-2004",
    "1996-1998, 2001-2003", "2014 2015 2016 2017 2018", "10:11:12", "10:11:12.345", "00:12:34:56", "23:59:59:59", "12:30", "9:00-17:30",
    "2019-05-12T10:11:12Z", "1-2-2003 4-5-2006", "July 4, 1776 - 1976", "2009-2010-2011-2012",
    # books and goods: ISBN, ISSN, EAN, UPC, DOI, part and model numbers
    "9780306406157", "978-0-306-40615-7", "978 0 306 40615 7", "ISBN 0-306-40615-2", "ISBN 0306406152", "0306406152", "ISSN 2049-3630",
    "4006381333931", "5901234123457", "012345678905", "0 12345 67890 5", "04210000526", "doi 10.1000/182", "10.1038/nature12373",
    "part 555-1234-A", "555-1234-A", "A-555-1234", "SKU 555-123-4567-B", "B2210-555-1234", "555.123.4567.8", "306-136", "99-4321", "12-345-678",
    "90915-YZZD1", "90915-10003", "04152-31090", "1K0-615-301-AA", "5Q0 615 301 G", "8-1005-002", "7630-01-234-5678", "5935-00-123-4567",
    "36008591", "Stock Photo - 9824382", "Stock Photo #23037396", "Code: 400-04986850", "MLS R2096323", "HD9240/94", "EW-7438", "TN-2420",
    "LOT 18", "Lot 146, 34 Lot 146", "H2O 2000", "RTX 4090 24GB", "Boeing 747-400", "A320-214", "Airbus 330-300 2015", "BA 2490 7:30",
    "US Patent 7,654,321", "US 9,876,543 B2", "CAS 7732-18-5", "EC 231-791-2", "UN 1203", "Pantone 19-4052", "RAL 9010 7016 5010",
    # cards that are none: wrong check digit, wrong length, wrong prefix; IMEI, IBAN, tracking numbers
    "4111 1111 1111 1112", "4111-1111-1111-111", "1234 5678 9012 3456", "0000 0000 0000 0000", "9111 1111 1111 1111", "352099001761481",
    "490154203237518", "DE89 3704 0044 0532 0130 00", "1Z 999 AA1 01 2345 6784", "9400 1000 0000 0000 0000 00",
    "1111222233334444", "2345 6789 0123 4567 8901", "41111111111111111111",
    # coordinates, ratios, scores, sport, codes
    "52.5200, 13.4050", "40.7128,-74.0060", "51°30'26\"N 0°7'39\"W", "-33.8688 151.2093", "16:9:4", "1:18:24", "3-2-1", "6-4 7-5 6-3", "6-3 6-4 7-6(5)",
    "21-19, 21-17", "100-99-98", "4-4-2 4-3-3", "1-0 2-0 3-0 4-0", "+1", "+20%", "+1000", "+12345", "-1234567", "+3.5 dioptres", "E=mc2 299792458",
    "H 1000 x W 2000 x D 300", "M8 x 1.25 x 30", "245/40 R18 97Y", "205/55/16", "5x114.3 10x114.3", "10-32 x 1/2", "2-4-6-8 motorway", "1-2-3-4-5-6-7",
    "AB12 3CD 4567", "90210-1234", "10115 Berlin 10117", "SW1A 1AA 2020", "D-10115", "12345-6789", "PO Box 1234567", "Room 101-102-103",
    # addresses and handles that are no mail
    "@handle", "me @ home", "a@b", "logo@2x.png", "Palo Alto Adult School@2x", "icon@3x.webp", "Weberknecht@Weberknecht", "user@localhost",
    "143546559@N02/41155020750", "@example.com", "jane@", "jane@.com", "jane @ example.com", "C@fe", "@@@", "p@ssw0rd", "3 @ 4.50", "50% @ Kohl's",
    "1000W Continuous @ 50 C", "H2O/mruby @i110, @kazuho",
    # what stands behind a word that may also announce a phone number, or an address
    "HP 677285-001 laptop battery", "HP 304 305 306 307", "Call on 2019-05-12", "Contact 12/05/2019", "T-Mobile 2019-2020 plan",
    "Samsung cell 18650-3500", "ph 7.35 7.45 7.55", "Star Trek First Contact 1996 2160", "Mobile 2014 2015 2016", "Tel Aviv 1909-1934",
    "Next Launcher 3D Shell Lite APK 3.7.5.8", "Section 1.1.1.1", "Figure 8.8.8.8", "C:D:E:F:A:B:C:D", "call number 1234567", "Suite 100 555-1234",
    # words with colons
    "a:b:c", "std::vector::push_back", "Title: Sub: Part", "::", "de:ad:be:ef", "00:1A:2B:3C:4D:5E", "Time: 10:20: done", "1:2:3:4", "fe80::1", "::1",
]  # fmt: skip


def test_there_are_two_hundred_look_alikes() -> None:
    assert len(set(LOOK_ALIKES)) >= 200


@pytest.mark.parametrize("text", sorted(set(LOOK_ALIKES)))
def test_what_only_looks_like_personal_data_stays_t10(text) -> None:
    """T10"""
    assert redact(text, REGIONS) == (text, (0, 0, 0, 0))


def test_no_text_makes_the_patterns_slow_t3() -> None:
    """T3: a factor in length costs a factor in time, not its square; generous, since this is no benchmark."""
    for unit in ("a", "@", "1-", "1 ", "(1)", "a@", "a.", "1.", "1:", ":", "+1", "a@a.", "4111 ", "call 1"):
        text = unit * (2000 // len(unit))
        begun = time.process_time()
        redact(text, REGIONS)
        assert time.process_time() - begun < 0.5, unit


def test_luhn_knows_its_check_digit() -> None:
    assert luhn("4111111111111111")
    assert luhn("0")
    assert [digit for digit in range(10) if luhn(f"7992739871{digit}")] == [3]


@pytest.mark.parametrize("region", ["XX", "us", "USA", ""])
def test_a_country_that_is_none_is_refused(region) -> None:
    require_regions(["US", "GB"])
    with pytest.raises(InputError, match="phone_regions"):
        require_regions(["US", region])
