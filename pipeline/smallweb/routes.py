"""What a host of the mini-web does besides serving its files: the contract between site and server.

``routes.json`` in the site folder is a ``Routes``. A path without a route is the file of that name under the
folder of its host, with the content type of its extension, or 404.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE_NAME = "routes.json"


class Route(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    """What happens at one path."""


class Static(Route, frozen=True, tag="static"):
    """The file of the path, with these additional headers."""

    headers: dict[str, str]


class Redirect(Route, frozen=True, tag="redirect"):
    """``location`` is sent unchanged, relative or absolute."""

    status: int
    location: str


class Failure(Route, frozen=True, tag="failure"):
    """A bare error page with this status."""

    status: int


class Slow(Route, frozen=True, tag="slow"):
    """The file, one byte every ``drip_s`` seconds; then zero bytes without end. Null: no answer, not even a status."""

    drip_s: float | None


class CutOff(Route, frozen=True, tag="cut_off"):
    """The full Content-Length of the file, then half of its bytes; then the connection is closed."""


class Busy(Route, frozen=True, tag="busy"):
    """429 with ``Retry-After`` for the first ``refusals`` requests, then the file."""

    refusals: int
    retry_after_s: int


class Trap(Route, frozen=True, tag="trap"):
    """Every path below this prefix is a page of an endless calendar in ``lang``."""

    lang: str


AnyRoute = Static | Redirect | Failure | Slow | CutOff | Busy | Trap


class Host(msgspec.Struct, omit_defaults=True):
    """Routes of one host, by exact path and by prefix."""

    paths: dict[str, AnyRoute] = {}
    prefixes: dict[str, AnyRoute] = {}

    def find(self, path: str) -> AnyRoute | None:
        """The route of ``path``: the exact one, else the first matching prefix."""
        exact = self.paths.get(path)
        return exact or next((route for prefix, route in self.prefixes.items() if path.startswith(prefix)), None)


class Routes(msgspec.Struct):
    """All hosts of a site, also those without routes."""

    hosts: dict[str, Host]

    def write(self, site: Path) -> None:
        """Write into the folder ``site``: the same bytes for the same routes."""
        (site / FILE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1))

    @classmethod
    def read(cls, site: Path) -> Routes:
        """The routes of a site folder."""
        return msgspec.json.decode((site / FILE_NAME).read_bytes(), type=cls)
