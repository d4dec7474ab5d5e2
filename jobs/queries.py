"""`pairmill queries`: lists of queries for the balance of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.command import add_job, examples, new_group, run_job
from jobs.options import Debug
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.progress import Reporter

queries = new_group("queries", "Make the query list that a corpus is balanced over.")


@examples(
    "pairmill queries build --output queries.parquet --wordnet /usr/share/wordnet --numbers",
    "pairmill queries build --output queries.tsv --run runs/web --min-count 20",
    "pairmill build --run runs/web --preset wit --set text.balance_queries=queries.parquet",
)
def build(
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Output file, .parquet or .tsv.")],
    wordnet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="WordNet database folder; adds all lemmas.")
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option("--texts", metavar="FILE", help="Text file whose words are counted. Repeatable."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="DIR", help="Run whose captions, as kept by text, are counted.")
    ] = None,
    titles: Annotated[
        Path | None,
        typer.Option("--titles", metavar="FILE", help="File with one title per line, or title, tab, views."),
    ] = None,
    numbers: Annotated[bool, typer.Option("--numbers", help="Add the numbers 0 to 99.")] = False,
    min_count: Annotated[int, typer.Option(min=1, help="Minimum occurrences of a word or word pair.")] = 100,
    min_pmi: Annotated[float, typer.Option(help="Minimum pointwise mutual information of a word pair, in bits.")] = 7.0,
    min_views: Annotated[int, typer.Option(min=0, help="Minimum views of a title (if its views are given).")] = 70,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of entries.")] = 500_000,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting of Spark, such as spark.master=local[4]. Repeatable."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Build a query list from WordNet, words of texts or captions, titles and numbers (docs/balance.md)."""
    from pyspark.sql import functions as F

    from pipeline import funnel
    from pipeline.balance import build as building
    from pipeline.balance.entries import require_writable_name, write_queries
    from pipeline.balance.wordnet import read_lemmas
    from pipeline.core.config_files import load_config
    from pipeline.core.spark import spark_session
    from pipeline.core.tables import literal_path
    from pipeline.stages.text.pii import NO_WORD, TOKEN

    if not (wordnet or texts or run or titles or numbers):
        raise InputError(ErrorCode.CONFIG_INVALID, "no source: give --wordnet, --texts, --run, --titles or --numbers")
    if texts and run:
        raise InputError(ErrorCode.CONFIG_INVALID, "--texts and --run cannot be combined; choose one")
    require_writable_name(output)
    lemmas = read_lemmas(wordnet) if wordnet else []
    titled = building.read_titles(titles, min_views) if titles else []
    counted = None
    if texts:
        missing = [path for path in texts if not path.is_file()]
        if missing:
            raise InputError(ErrorCode.RESOURCE_MISSING, f"--texts {missing[0]} does not exist")
        spark = spark_session(load_config(funnel.Config, sets=sets or []).spark)
        counted = spark.read.text([literal_path(path.resolve()) for path in texts]).withColumnRenamed("value", "text")
    elif run:
        captions = funnel.open_existing(run, Reporter()).kept("text")
        counted = captions.select(F.regexp_replace("caption", TOKEN.pattern, NO_WORD).alias("text"))
    thresholds = building.Thresholds(min_count, min_pmi, min_views, limit)
    table = building.build_queries(lemmas, numbers, counted, titled, thresholds)
    if not table.num_rows:
        raise InputError(
            ErrorCode.CONFIG_INVALID, f"no entry is left; lower --min-count {min_count} or --min-pmi {min_pmi}"
        )
    write_queries(output, table)
    for origin, entries in building.by_origin(table):
        print(f"{origin:>8} {entries:>9,}")
    print(f"{table.num_rows:,} entries in {output}")


add_job(queries, build)

if __name__ == "__main__":
    run_job(queries)
