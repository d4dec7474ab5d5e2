"""robots.txt as fetched, kept beside the parts of crawl and fetch: for a day nobody else in the run asks again."""

from schemas.fields import BINARY, STRING, column, table

ROBOTS = table(
    1,
    [
        column("origin", STRING, "scheme://host:port that it belongs to"),
        column("robots_fetched_at", STRING, "when it was fetched (UTC, ISO 8601)"),
        column("robots", BINARY, "the file, cut at 512,000 bytes; empty where there is none"),
    ],
)
