"""Decoding in a guarded child: an image that crashes the decoder, hangs it or eats memory costs itself alone.

One child per task, which asks it about one image at a time and gets columns and bytes back (pipeline.core.children).
Import this where images are asked about; what decodes them is imported in the child alone.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.core.children import Child, ChildDied, Death, serve
from pipeline.vision.reasons import ImageReason
from pipeline.vision.settings import ImageSettings, MeasuredImage

CPU_S = 10.0  # for one image (docs/faults.md, F31); 50 megapixels take 3 s
MAX_BYTES = 1 << 30  # of memory, beyond what the child holds after its start

_REASONS = {
    Death.TIME: ImageReason.DECODE_TIMEOUT,
    Death.CLOCK: ImageReason.DECODE_TIMEOUT,
    Death.MEMORY: ImageReason.DECODE_TIMEOUT,  # what never ends in space, as what never ends in time (F31)
    Death.CRASH: ImageReason.DECODE_CRASH,
}
_KEEP_MEMORY = {  # glibc's: what was used for one image stays for the next, or a third of the time is page faults
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


class ImageChild(Child):
    """``measure_image`` in a child process, started with the first image and again after each death.

    ``module`` is the program that runs there.
    """

    def __init__(self, settings: ImageSettings, module: str = "pipeline.vision.child") -> None:
        super().__init__(module, msgspec.json.encode(settings).decode(), _KEEP_MEMORY)

    def measure(self, data: bytes, boxes: Sequence[float] = ()) -> MeasuredImage:
        """What the bytes of one image say, and the stored image or None. Never raises for what is in them."""
        try:
            return msgspec.msgpack.decode(self.ask(_packed(data, boxes)), type=MeasuredImage)
        except ChildDied as died:
            columns: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "served_bytes": len(data)}
            return MeasuredImage({"outcome": _REASONS[died.death].value, "detail": died.detail} | columns, None)


def _packed(data: bytes, boxes: Sequence[float]) -> bytes:
    """One message: how many numbers, the numbers, the image."""
    return struct.pack(f"<I{len(boxes)}d", len(boxes), *boxes) + data


def _unpacked(message: bytes) -> tuple[bytes, tuple[float, ...]]:
    (count,) = struct.unpack_from("<I", message)
    begins = struct.calcsize(f"<I{count}d")
    return message[begins:], struct.unpack_from(f"<{count}d", message, begins - 8 * count)


def main() -> None:
    """The child's program: settings as its argument, then bytes in, columns and bytes out."""
    from pipeline.vision.image import measure_image, warm_up

    settings = msgspec.json.decode(sys.argv[1], type=ImageSettings)

    def answer(message: bytes) -> bytes:
        try:
            data, boxes = _unpacked(message)
            measured = measure_image(data, settings, boxes)
        except MemoryError:
            raise
        except Exception as error:  # a fault of ours with this one image never costs the others
            from pipeline.core.rules import CoreReason  # with pyarrow, of which the child has no other use

            text = f"{type(error).__name__}: {error}"[:200]
            measured = MeasuredImage({"outcome": CoreReason.RULE_ERROR.value, "detail": text}, None)
        return msgspec.msgpack.encode(measured)

    warm_up(settings)  # before the limits: they are for images
    serve(answer, CPU_S, MAX_BYTES)


if __name__ == "__main__":
    main()
