"""Rules of the user: what they may be made of, and that anything else is refused by name before anything runs."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.core.errors import InputError
from pipeline.core.rules import Rule
from pipeline.core.user_rules import UserRule, compile_user_rules
from schemas.fields import BINARY, BOOL, FLOAT64, FLOATS, INT32, INT64, STRING, STRINGS, column, table

SCHEMA: pa.Schema = table(
    1,
    [
        column("number", INT32, "n"),
        column("count", INT64, "weight"),
        column("score", FLOAT64, "s"),
        column("caption", STRING, "text"),
        column("lang", STRING, "language"),
        column("signals", STRINGS, "words"),
        column("boxes", FLOATS, "shares"),
        column("ok", BOOL, "flag"),
        column("pdq", BINARY, "hash"),
    ],
)


def compiled(spark, *sql: str) -> list[Rule]:
    rules = [UserRule(stage="score", name=f"rule_{number}", drop_when=text) for number, text in enumerate(sql)]
    return compile_user_rules(spark, rules, {"score": SCHEMA})["score"]


FUNCTIONS_OF_ONE_ROW = [
    "number > 17 and SCORE > 0.1 or not ok and number <=> 3 and score is distinct from 0.2 and ok is not true",
    "lang in ('en', 'de') and number not in (1, 2) and number between 3 and 5 and number is not null and isnan(score)",
    "caption like '%now%' or caption ilike '%user%' or caption rlike '^a+' or regexp_like(caption, 'current_date')",
    "caption like any ('a%', '%b') or caption not like all ('a%', 'b%')",
    "number + 1 - 2 * 3 / 4 > - number or number % 5 = 0 or pmod(number, 7) = 1 or count div 2 > 3 or number & 1 = 1",
    "length(caption) > 3 or octet_length(caption) > 2 or lower(caption) = upper(lang) or trim(caption) = ''",
    "ltrim(caption) = '' or rtrim(caption) = '' or substring(caption, 1, 3) = 'abc' or left(caption, 2) = right(lang, 2)",
    "instr(caption, 'x') > 0 or locate('x', caption) > 0 or contains(caption, lang) or startswith(caption, 'x')",
    "replace(caption, 'a', 'b') = 'x' or translate(caption, 'a', 'b') = 'x' or endswith(caption, 'x')",
    "regexp_extract(caption, '(a)', 1) = '' or regexp_replace(caption, 'a', 'b') = '' or size(split(caption, ' ')) > 9",
    "regexp_count(caption, 'a') > 3 or substring_index(caption, '.', 1) = 'x' or array_size(signals) > 1",
    "caption || lang = 'x' or concat_ws('-', caption, lang) = 'x' or reverse(caption) = 'x' or levenshtein(caption, lang) < 3",
    "array_contains(signals, 'noai') or signals[0] = 'x' or arrays_overlap(signals, array('a', 'b')) or boxes[0] > 0.5",
    "exists(signals, x -> x like 'a%') or forall(boxes, x -> x > 0.5) or size(filter(signals, x -> x = 'c')) > 1",
    "array_position(signals, 'x') > 0 or array_join(signals, ',') = 'x' or array_max(boxes) - array_min(boxes) > 0.5",
    "if(ok, number > 3, false) or case when ok then number > 3 else false end or case lang when 'en' then true end",
    "coalesce(number, 0) > 3 or nvl(number, 0) > 2 or nullif(number, 0) > 1 or greatest(number, 3) > least(count, 1)",
    "abs(number) > 3 or ceil(score) > 1 or floor(score) > 1 or round(score, 2) > 1 or sqrt(score) > 2 or pow(score, 2) > 1",
    "ln(score) > 1 or log(2, score) > 1 or log10(score) > 1 or exp(score) > 1 or sign(score) > 0",
    "cast(caption as int) > 3 or try_cast(caption as double) > 1 or string(number) = 'x'",
    "md5(caption) < '8' or sha2(caption, 256) < '8' or crc32(caption) % 10 = 1 or pmod(xxhash64(caption), 10) = 1",
]


def test_a_rule_may_compute_with_the_columns_of_its_row(spark) -> None:
    rules = compiled(spark, *FUNCTIONS_OF_ONE_ROW)
    assert rules[0].needs() == ["number", "ok", "score"]


REFUSED = [
    ("current_date() > '2020-01-01'", "uses current_date"),
    ("current_timestamp > '2020'", "uses current_timestamp"),
    ("now() > '2020'", "uses now"),
    ("unix_timestamp() > 3", "uses unix_timestamp"),
    ("timestamp 'now' > '2020'", "has a value of type timestamp"),
    ("cast('today' as date) > '2020-01-01'", "has a value of type date"),
    ("current_timezone() = 'UTC'", "uses current_timezone"),
    ("user() = 'x'", "uses user"),
    ("session_user = 'x'", "uses current_user"),
    ("current_database() = 'x'", "uses current_schema"),
    ("version() = 'x'", "uses version"),
    ("rand() < 0.5", "uses rand"),
    ("uuid() < '8'", "uses uuid"),
    ("shuffle(signals)[0] = 'x'", "uses shuffle"),
    ("monotonically_increasing_id() = 1", "uses monotonically_increasing_id"),
    ("spark_partition_id() = 1", "uses spark_partition_id"),
    ("input_file_name() like '%x'", "uses input_file_name"),
    ("raise_error('x') is null", "uses raise_error"),
    ("assert_true(ok) is null", "uses assert_true"),
    ("java_method('java.lang.System', 'getenv', 'HOME') = 'x'", "uses java_method"),
    ("reflect('java.lang.System', 'exit', 0) is null", "uses reflect"),
    ("element_at(signals, number) = 'x'", "uses element_at"),  # raises for the index 0
    ("(select max(id) from parquet.`/no/such/file`) > number", "has a subquery"),
    ("number in (select id from range(3))", "has a subquery"),
    ("exists (select 1 from csv.`/etc/passwd`)", "has a subquery"),
    ("exists(signals, x -> x = (select user()))", "has a subquery"),
    ("caption rlike lang", "has a pattern for rlike that is not a constant"),
    ("caption like lang", "has a pattern for like that is not a constant"),
    ("caption rlike '(' ", "INVALID_PARAMETER_VALUE|Unclosed group|PATTERN"),
    ("number > 1 -- a note", "PARSE|[Ss]yntax"),
    ("ok) or (not ok", "PARSE|[Ss]yntax"),
    ("nosuch < 1", "nosuch"),
    ("number <", "[Ss]yntax"),
    ("number + 1", "drop_when returns int"),
    ("count(*) > 1", "count"),
    ("row_number() over (order by number) > 1", "window"),
    ("explode(array(true))", "explode|GENERATOR"),
]


@pytest.mark.parametrize(("sql", "message"), REFUSED)
def test_a_rule_that_is_no_function_of_its_row_is_refused_by_name_r30(spark, sql: str, message: str) -> None:
    """R30: one line, before anything is measured, and before a file that a subquery names is opened."""
    with pytest.raises(InputError, match=rf"config_invalid: rules: rule_0: .*({message})") as raised:
        compiled(spark, sql)
    assert "\n" not in str(raised.value)


def test_a_function_that_the_session_gives_another_meaning_is_refused_r30(spark) -> None:
    """R30: in a notebook a name may be a function of Python, which may do anything."""
    spark.udf.register("length_of", lambda text: 1, "int")
    with pytest.raises(InputError, match=r"drop_when uses "):
        compiled(spark, "length_of(caption) > 3")
