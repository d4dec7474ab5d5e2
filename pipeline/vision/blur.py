"""What is in boxes made unrecognisable, as ImageNet did it with faces (Yang et al., "A Study of Face Obfuscation in
ImageNet", 2022) and DataComp after it. Not as there, each box has a blur of its own: with one for all, that of the
largest, the soft edge of a small box would let most of it through.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFilter

SIGMA = 0.1  # of the longer side of a box; and by so much it is enlarged
_REACH = 3  # sigmas beyond the enlarged box, where the soft edge ends
_LARGEST_SIGMA = 8  # pixels; what needs a larger one is blurred at a fraction of its size


def blur(picture: Image.Image, boxes: Sequence[float]) -> None:
    """Blur ``picture`` (RGB) in place inside of ``boxes``, fading out at their edges.

    ``boxes``: left, top, right, bottom of each, one after another, in shares of width and height.
    """
    width, height = picture.size
    for left, top, right, bottom in zip(*[iter(boxes)] * 4, strict=True):
        sigma = SIGMA * max((right - left) * width, (bottom - top) * height)
        enlarged = (left * width - sigma, top * height - sigma, right * width + sigma, bottom * height + sigma)
        _blur_box(picture, enlarged, sigma)


def _blur_box(picture: Image.Image, box: tuple[float, float, float, float], sigma: float) -> None:
    reach = _REACH * sigma
    left, top = (max(0, int(edge - reach)) for edge in box[:2])
    right, bottom = (min(size, int(edge + reach) + 1) for edge, size in zip(box[2:], picture.size, strict=True))
    region, size = (left, top, right, bottom), (right - left, bottom - top)
    step = max(1, int(sigma / _LARGEST_SIGMA))
    softly = ImageFilter.GaussianBlur(sigma / step)
    small = picture.reduce(step, box=region)
    mask = Image.new("L", small.size)
    scale_x, scale_y = small.width / size[0], small.height / size[1]
    corners = ((box[0] - left) * scale_x, (box[1] - top) * scale_y, (box[2] - left) * scale_x, (box[3] - top) * scale_y)
    ImageDraw.Draw(mask).rectangle(corners, 255)
    blurred, soft = (image.filter(softly).resize(size, Image.Resampling.BILINEAR) for image in (small, mask))
    picture.paste(blurred, region, soft)
