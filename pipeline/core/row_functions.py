"""What a user's rule may be made of: functions of one row's own columns, and nothing else.

An allow-list of Spark's expressions by the names of their classes, held against the analysed rule. A subquery, a clock,
the user's name, a random number, a file's name or a call into Java has no entry, nor has whatever Spark adds later. All
that is listed gives the same value for the same row, in any session and on any day, and raises for no row:

- dates and times have no column, and `'now'` and the session's zone would enter through them;
- a pattern must be a constant, because a row's text that is not a valid pattern raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SUBQUERY = "org.apache.spark.sql.catalyst.expressions.SubqueryExpression"

_LOGIC = """
    AttributeReference Literal Cast And Or Not EqualTo EqualNullSafe LessThan LessThanOrEqual GreaterThan
    GreaterThanOrEqual In IsNull IsNotNull IsNaN Between With CommonExpressionDef CommonExpressionRef
    If CaseWhen Coalesce Nvl Nvl2 NullIf NullIfResult NaNvl Greatest Least"""
_NUMBERS = """
    Add Subtract Multiply Divide IntegralDivide Remainder Pmod UnaryMinus UnaryPositive Abs Ceil Floor RoundCeil
    RoundFloor Round BRound Sqrt Cbrt Pow Exp Log Log2 Log10 Logarithm Signum
    BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseCount"""
_TEXTS = """
    Length OctetLength Lower Upper StringTrim StringTrimLeft StringTrimRight Substring Left Right StringInstr
    StringLocate StringReplace StringTranslate Contains StartsWith EndsWith SubstringIndex Concat ConcatWs Reverse
    Levenshtein Ascii Md5 Sha1 Sha2 Crc32 XxHash64 Murmur3Hash Conv"""
_LISTS = """
    Size ArraySize ArrayContains ArrayPosition ArraysOverlap ArrayJoin ArrayMax ArrayMin ArrayDistinct GetArrayItem
    CreateArray ArrayExists ArrayForAll ArrayFilter ArrayTransform LambdaFunction NamedLambdaVariable"""
_PATTERNS = """
    Like ILike LikeAny LikeAll NotLikeAny NotLikeAll RLike RegExpExtract RegExpExtractAll RegExpReplace RegExpCount
    RegExpInStr RegExpSubStr StringSplit"""

_TYPES = "boolean byte short integer long float double decimal string binary array void"

TYPES = frozenset(_TYPES.split())
PATTERNS = frozenset(_PATTERNS.split())
ALLOWED = PATTERNS | frozenset((_LOGIC + _NUMBERS + _TEXTS + _LISTS).split())


def nodes(expression: Any) -> Iterator[Any]:
    """A Catalyst expression and all below it, through py4j."""
    open_nodes = [expression]
    while open_nodes:
        node = open_nodes.pop()
        yield node
        open_nodes.extend(_children(node))


def foreign(analysed: Any) -> str | None:
    """What of an analysed expression is no function of one row, in words for the user; None if all of it is."""
    found = list(nodes(analysed))
    for node in found:
        if node.getClass().getSimpleName() not in ALLOWED:
            return f"uses {node.prettyName().lower()}"
    for node in found:
        kind = node.dataType().typeName()
        if kind.partition("(")[0] not in TYPES:
            return f"has a value of type {kind}"
        if node.getClass().getSimpleName() in PATTERNS and not all(rest.foldable() for rest in _children(node)[1:]):
            return f"has a pattern for {node.prettyName().lower()} that is not a constant"
    return None


def _children(node: Any) -> list[Any]:
    children = node.children()
    return [children.apply(number) for number in range(children.size())]
