"""Settings of ``extract``."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pipeline.core.config import Field, InputContent, Measure, Operate, StageConfig

CaptionSource = Literal["alt", "figcaption", "title", "aria-label", "enclosing_link", "og"]
Format = Literal["auto", "warc", "wat", "html", "urls", "webdataset"]

MIB = 2**20


class Columns(NamedTuple):
    """Names of the columns of a URL list, or of the fields of a sample's JSON. Empty: guessed or not read."""

    url: str = ""
    caption: str = ""
    sha256: str = ""
    boxes: str = ""


GUESSED = Columns()


class Config(StageConfig):
    """What is read, and the limits of a measurement."""

    inputs: InputContent[list[str]] = Field(
        [],
        description="files, folders or globs, on a disk or a store (s3://): WARC, WAT, HTML (folder or tar), URL "
        "lists, tars of images with their texts, lists of paths (.paths.gz); empty reads the crawl",
    )
    paths_prefix: Operate[str] = Field(
        "", description="folder or URL that the relative paths in lists of paths are below, such as s3://commoncrawl"
    )
    format: Measure[Format] = Field("auto", description="format of the inputs; auto looks at their content")
    url_column: Measure[str] = Field(
        "",
        description="column of a URL list (its number from 1 if there is no header), or field of a sample's JSON, that "
        "holds the image URL; empty guesses",
    )
    caption_column: Measure[str] = Field(
        "",
        description="column of a URL list (its number from 1 if there is no header), or field of a sample's JSON, that "
        "holds the text; empty guesses, and reads a sample's .txt first",
    )
    sha256_column: Measure[str] = Field(
        "", description="column or field with the expected sha256 of each image; other bytes are hash_mismatch"
    )
    boxes_column: Measure[str] = Field(
        "",
        description="column or field with boxes [left, top, right, bottom], shares of width and height: their content "
        "(faces) is blurred before an image is stored",
    )
    caption_sources: Measure[list[CaptionSource]] = Field(
        ["alt"],
        min_length=1,
        description="where on a page the text of an image is taken from, each a candidate of its own; og: the image "
        "that the page names for sharing. WAT files have alt alone",
    )
    max_page_images: Measure[int] = Field(1000, ge=1, description="images taken from one page, in document order")
    max_page_bytes: Measure[int] = Field(10 * MIB, ge=1, description="largest page read, in bytes after unpacking")
    max_url_bytes: Measure[int] = Field(4096, ge=16, description="longest image URL taken, in bytes")
    parse_timeout_s: Operate[float] = Field(5.0, gt=0, description="seconds after which parsing a page is stopped")

    @property
    def columns(self) -> Columns:
        """The columns or fields to read that the settings name."""
        return Columns(self.url_column, self.caption_column, self.sha256_column, self.boxes_column)
