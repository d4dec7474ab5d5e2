"""crawl: the pages (rows/), and what the rounds lay down on the way to them (parts/, frontier/)."""

from schemas.fields import INT32, INT64, STRING, STRINGS, column, table

ADDS = table(
    1,
    [
        column("page_id", STRING, "key: hash of the normalised page URL"),
        column("count", INT64, "how many frontier entries this row stands for", "entries"),
        column("page_url", STRING, "URL as first found (the smallest raw URL of its round)"),
        column("depth", INT32, "links followed from a seed", "links"),
        column("outcome", STRING, "ok, or the reason the page was not taken"),
        column("detail", STRING, "what exactly happened, where the reason alone does not say"),
        column("http_status", INT32, "status of the last answer"),
        column("final_url", STRING, "URL after redirects"),
        column("final_page_id", STRING, "hash of the normalised URL after redirects, of a page that was taken"),
        column("tries", INT32, "requests made for this page, retries included", "requests"),
        column("fetched_at", STRING, "when the answer came (UTC, ISO 8601); a fetch fact, enters no key"),
        column("robots_fetched_at", STRING, "when the robots.txt that allowed it was fetched (UTC, ISO 8601)"),
        column("body_bytes", INT64, "bytes of the body written to the WARC record", "bytes"),
        column("optouts", STRINGS, "opt-out signals met in response headers on any hop"),
        column("warc_file", STRING, "WARC file of the record, relative to the run"),
        column("warc_offset", INT64, "offset of the record's gzip member", "bytes"),
        column("warc_length", INT64, "length of the record's gzip member", "bytes"),
        column("tried", STRINGS, "tries before the last one, waits of its host: when (UTC), reason, detail; else null"),
    ],
)

# parts/rows: the answers as they came, in files of one part each.
PAGES = table(
    1,
    [
        *ADDS,
        column("try_number", INT32, "1 for the first measurement, raised by each --retry-failed; the highest counts"),
    ],
)

# frontier/: entries as they were found, one row a page and spelling (the seeds first) ...
LINKS = table(
    1,
    [
        column("page_id", STRING, "key of the page that the link leads to"),
        column("page_url", STRING, "clean URL: what would be requested"),
        column("url", STRING, "the spelling on the page, made absolute"),
        column("host", STRING, "host name of the URL, lower-case ASCII; empty where no request can be made of it"),
        column("depth", INT32, "links followed from a seed", "links"),
        column("outcome", STRING, "why it is not asked for; null: nothing about the URL speaks against it"),
        column("detail", STRING, "what exactly, where the reason alone does not say"),
    ],
)

# ... and the frontier of each round, one row a page.
FRONTIER = table(1, [LINKS.field(name) for name in LINKS.names if name != "url"])
