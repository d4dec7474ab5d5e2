"""What is in boxes made unrecognisable, as ImageNet did it with faces (Yang et al., "A Study of Face Obfuscation in
ImageNet", 2022) and DataComp after it. img2dataset's boxes are the same, its blur is weaker: a kernel of one sigma.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFilter

SIGMA = 0.1  # of the longer side of the largest box; and by so much of its own, each box is enlarged


def blurred(picture: Image.Image, boxes: Sequence[float]) -> Image.Image:
    """``picture`` (RGB), with a Gaussian blur inside of ``boxes`` that fades out at their edges; itself without any.

    ``boxes``: left, top, right, bottom of each, one after another, in shares of width and height.
    """
    if not boxes:
        return picture
    width, height = picture.size
    mask = Image.new("L", picture.size)
    draw, largest = ImageDraw.Draw(mask), 0.0
    for left, top, right, bottom in zip(*[iter(boxes)] * 4, strict=True):
        longer = max((right - left) * width, (bottom - top) * height)
        largest, room = max(largest, longer), SIGMA * longer
        draw.rectangle((left * width - room, top * height - room, right * width + room, bottom * height + room), 255)
    blur = ImageFilter.GaussianBlur(SIGMA * largest)
    return Image.composite(picture.filter(blur), picture, mask.filter(blur))
