"""What is said of bills, read by a program: the equations in a sentence, and words of the other language."""

import re
from collections.abc import Iterator
from fractions import Fraction

from billing_core.explain import Language

DATE = re.compile(r"\d\d/\d\d/\d{4}|\d{4}-\d\d-\d\d")
WORD = re.compile(r"[^\W\d_]+(?:/[^\W\d_]+)*")
ARITHMETIC = re.compile(r"[\s\d.,/+×÷−%-]+")
TIMES_ALL = re.compile(r", (?:nhân hệ số|times the multiplier) ")
TOKEN = re.compile(r"-?\d[\d.,]*(?:/\d+)?(?: ?%)?|[()×÷+−]")
SIMILAR = frozenset(("kwh", "kvarh", "bct", "ttg", "usd", "cent", "pmax", "nguyễn"))
"""Words that both languages write alike."""
ENGLISH = re.compile(
    r"\b(?:the|and|of|for|with|not|rate|price|tier|charge|charged|act|article|unverified|remembered|residential|business"
    r"|production|normal|peak|energy|solar|bill|meter|reading|register|index|days|households?)\b"
)


def english_in(vietnamese: str, english: str) -> set[str]:
    """Return the words of a Vietnamese text that stand in the English one too, or are known to be English."""
    vietnamese = re.sub(r"\w+\.toml", "", vietnamese)
    shared = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", vietnamese)}
    shared &= {word.lower() for word in re.findall(r"[A-Za-z]{3,}", english)}
    return (shared - SIMILAR) | {found.lower() for found in ENGLISH.findall(vietnamese)}


def equations_in(sentence: str, language: Language) -> Iterator[tuple[Fraction, Fraction, bool]]:
    """Yield of each ``… = …`` in a sentence what its left comes to, what is said at its right, and if in percent."""
    text = TIMES_ALL.sub(" ⊗ ", DATE.sub("", sentence))
    for _ in range(2):  # brackets within brackets
        text = re.sub(r"\(([^()]*)\)", lambda found: _kept(found.group(1)), text)
    text = text.replace("⟨", "(").replace("⟩", ")")
    for part in re.split(r"[;:.,] |\.$", text):
        *lefts, last = part.split(" = ")
        if not lefts or "√" in part or re.search(r"\b[AQ]\b|cosφ", part):
            continue
        for left, right in zip(lefts, [*lefts[1:], last], strict=True):
            before, _, factor = left.partition("⊗")
            if not TOKEN.findall(WORD.sub(" ", left)):
                continue  # a name alone, as of k
            value = _value(before, language) * (_value(factor, language) if factor else 1)
            said = TOKEN.findall(WORD.sub(" ", right))
            assert said, f"nothing is said to be the outcome: {sentence}"
            yield value, _number(said[0].rstrip(" %"), language), "%" in said[0]


def holds(value: Fraction, said: Fraction, *, percent: bool) -> bool:
    """Say whether a rounding of the value that bills know gives what is said."""
    steps = (Fraction(1, 100),) if percent else (Fraction(1), Fraction(1, 1000))
    rounded = {Fraction((value / step + Fraction(1, 2)).__floor__()) * step for step in steps}
    return said == value or said in rounded or said == Fraction((value * 1000).__floor__(), 1000)


def _kept(inside: str) -> str:
    """Return what stood in brackets if it is arithmetic, between other brackets; a remark is dropped."""
    bare = WORD.sub(" ", inside)
    return f"⟨{inside}⟩" if ARITHMETIC.fullmatch(bare) and re.search(r"[×÷+−]", bare) else " "


def _value(text: str, language: Language) -> Fraction:
    tokens = TOKEN.findall(WORD.sub(" ", text))
    value, rest = _sum(tokens, language)
    assert not rest, f"left over: {rest} of {text!r}"
    return value


def _sum(tokens: list[str], language: Language) -> tuple[Fraction, list[str]]:
    value, rest = _product(tokens, language)
    while rest and rest[0] in "+−":
        sign = 1 if rest[0] == "+" else -1
        term, rest = _product(rest[1:], language)
        value += sign * term
    return value, rest


def _product(tokens: list[str], language: Language) -> tuple[Fraction, list[str]]:
    value, rest = _factor(tokens, language)
    while rest and rest[0] in "×÷":
        times = rest[0] == "×"
        factor, rest = _factor(rest[1:], language)
        value = value * factor if times else value / factor
    return value, rest


def _factor(tokens: list[str], language: Language) -> tuple[Fraction, list[str]]:
    first, *rest = tokens
    if first == "(":
        value, rest = _sum(rest, language)
        assert rest[:1] == [")"], "a bracket is not closed"
        return value, rest[1:]
    number = _number(first.rstrip(" %"), language)
    return (number / 100 if "%" in first else number), rest


def _number(text: str, language: Language) -> Fraction:
    thousands, point = (".", ",") if language is Language.VI else (",", ".")
    return Fraction(text.replace(thousands, "").replace(point, "."))
