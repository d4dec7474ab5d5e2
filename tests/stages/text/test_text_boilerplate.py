"""Boilerplate: only if the whole caption is such."""

import gzip
import time

import pytest
from checkout import SHARED

from pipeline.stages.text.boilerplate import kind_of
from pipeline.stages.text.clean import clean

FLICKR8K = SHARED / "data" / "flickr8k-captions.tsv.gz"


@pytest.mark.parametrize(
    ("kind", "captions"),
    [
        ("filename", ["IMG_1234.JPG", "DSC00012", "photo-1.png", "image001", "red-fox-in-snow.jpeg", "P1010203", "IMG 1234 (2)",
                      "Screenshot 2021-03-04 at 10.11.12", "20200101_101010", "WhatsApp Image 2020-05-01 at 12.00.00.jpeg",
                      "d41d8cd98f00b204e9800998ecf8427e", "微信图片_20200101.jpg"]),
        ("url", ["https://a.example/b.jpg", "www.a.example", "a.example.com/b.html", "//cdn.a.example/x", "data:image/gif;base64,R0lGOD"]),
        ("digits", ["12345", "3/12", "$ 9.99", "1920x1080", "...", "---", "½ €5", "800 × 600 px"]),
        ("template", ["{{title}}", "%s", "%(name)s", "${image.alt}", "[object Object]", '{"alt": null}', "[[caption]]", 'alt=""',
                      "{{title}} image", "&nbsp;", "<img src=", "%TITLE%", "<%= title %>", "{0}", "/>"]),
        ("price", ["Only $9.99", "19,99 € inkl. MwSt.", "Price: 20 EUR", "-50% off", "$20 for $40", "5 元", "Rs. 1,299/-", "Now only 5 USD"]),
        ("generic", ["Add to cart", "Sold out!", "点击放大图片", "商品画像はありません", "image", "Logo", "ICON", "click to enlarge", "Click to enlarge!", "logo 3", "Photo #2 of 12", "*** placeholder ***",
                     "Bild vergrößern", "agrandir l'image", "haz clic para ampliar", "clique para ampliar", "immagine", "afbeelding",
                     "zdjęcie", "obrázek", "bild", "resim", "gambar", "фото", "εικόνα", "صورة", "תמונה", "图片", "画像", "이미지", "รูปภาพ"]),
    ],
)  # fmt: skip
def test_a_caption_that_is_nothing_but_boilerplate_is_named_by_its_kind(kind, captions):
    """T11"""
    assert {caption: kind_of(caption) for caption in captions} == dict.fromkeys(captions, kind)


@pytest.mark.parametrize(
    "caption",
    ["logo of a bakery", "a red fox", "the image of a fox", "fox.", "❤❤❤", "12 foxes", "Acme logo", "Photo of {{title}} in snow",
     "Red fox in snow.jpg and a hare", "#fox #snow", "{a fox}x", "2 km", "image of Saint George", "狐", "IMG of the king", "I <3 you", "",
     "Lot 146", "Route 66", "iPhone 6", "S 500 L", "US 1", "24 K", "for 2", "1 dollar bill", "$350 BMW e36", "Sale of 5 houses"],
)  # fmt: skip
def test_a_caption_that_says_anything_stays(caption):
    """T11"""
    assert kind_of(caption) is None


@pytest.mark.skipif(not FLICKR8K.exists(), reason="shared/data is not there")
def test_no_honest_caption_is_boilerplate():
    """T11"""
    with gzip.open(FLICKR8K, "rt", encoding="utf-8") as lines:
        captions = [line.split("\t")[2] for line in lines][1::7]
    assert [caption for caption in captions if kind_of(clean(caption))] == []


@pytest.mark.parametrize(
    "text",
    ["a" * 1999 + "!", "@" * 2000, "1-" * 1000, "{" * 2000, "[" * 2000, "a." * 1000, "img" + "1" * 1990 + "!", "- 1" * 600, "image" + " " * 1900 + "1x",
     "<a" * 1000, "%a" * 1000, "__" * 1000, "alt=" * 500, "{%" * 1000, "&a" * 1000, "[a" * 1000, "#a" * 1000, "@a" * 1000, "<?" * 1000],
)  # fmt: skip
def test_no_text_makes_the_patterns_slow(text):
    """T3"""
    start = time.process_time()
    kind_of(text)
    assert time.process_time() - start < 0.02
