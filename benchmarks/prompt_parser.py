"""How long prompts take to read: 20,000 characters, 64 nested brackets, hostile text, and the same at half the length.

Run it from the checkout: ``python benchmarks/prompt_parser.py``. The columns are CPU milliseconds: removing tags and
comments, parsing, and the weights of the first text, for 10,000 and 20,000 characters and in A1111's reading; then the
live token counter with all before it. Bounds: 50 ms, and time(2n)/time(n) below 2.5. A text that is refused (too deep)
shows the time until the refusal.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.core.errors import WorkbenchError
from modules.prompt import emphasis, grammar, tags, tokens
from modules.prompt.dialect import A1111, NATIVE, Dialect

LONGEST = 20_000
BOUND_MS = 50.0
BOUND_RATIO = 2.5


def _repeat(piece: str) -> Callable[[int], str]:
    return lambda n: (piece * (n // len(piece) + 1))[:n]


def _nested(opener: str, closer: str) -> Callable[[int], str]:
    return lambda n: opener * 64 + "a" * (n - 64 * (len(opener) + len(closer))) + closer * 64


CASES: dict[str, Callable[[int], str]] = {
    "plain words": _repeat("a photograph of an astronaut, "),
    "Chinese": _repeat("雪地里的红色小房子,夜晚,"),
    "emphasis (word:1.2)": _repeat("(word:1.2), [less], "),
    "schedules [a:b:0.5]": _repeat("[one:two:0.5] "),
    "alternation [a|b]": _repeat("[a|b] "),
    "64 nested (": _nested("(", ")"),
    "64 nested [a:": _nested("[a:", ":3]"),
    "63 open, then ()": lambda n: "(" * 63 + _repeat("()a")(n - 63),
    "AND parts": _repeat("cat :0.5 AND "),
    "BREAK": _repeat("a BREAK "),
    "tags": _repeat("<lora:ink:0.5> "),
    "hostile ()": _repeat("()"),
    "hostile ((((": _repeat("("),
    "hostile :": _repeat(":"),
    "hostile |": _repeat("|"),
    "hostile backslash": _repeat("\\"),
    "hostile spaces": _repeat(" "),
    "hostile <a:": _repeat("<a:"),
    "hostile (a:1111": lambda n: "(a:" + "1" * (n - 3),
    "hostile :  1": _repeat(":  1"),
    "hostile [a:b:": _repeat("[a:b:"),
}


def parsed(text: str, dialect: Dialect) -> None:
    """What every request goes through before its texts are encoded."""
    cleaned, _ = tags.split(tags.without_comments(text).text)
    for part in grammar.parse(cleaned.text, dialect=dialect).parts:
        emphasis.runs(grammar.at(part, 0.0, 20).text, dialect=dialect)


def counted(text: str, dialect: Dialect) -> None:
    """What the page asks for while somebody types."""
    tokens.count(text, dialect=dialect)


def best_ms(
    work: Callable[[str, Dialect], None], *texts: str, dialect: Dialect = NATIVE, tries: int = 9
) -> list[float]:
    """The fastest of some tries for each text, taken in turn, so that other work on the machine spoils all alike."""
    best = [float("inf")] * len(texts)
    for _ in range(tries):
        for index, text in enumerate(texts):
            start = time.process_time()
            with suppress(WorkbenchError):
                work(text, dialect)
            best[index] = min(best[index], (time.process_time() - start) * 1_000)
    return best


def main() -> int:
    """Print the table; 1 if a bound is broken."""
    start = time.perf_counter()
    tokens.clip()
    print(f"tokenizer loaded in {(time.perf_counter() - start) * 1_000:.0f} ms\n")
    print(f"{'text':22}{'10,000':>9}{'20,000':>9}{'ratio':>7}{'a1111':>9}{'count':>9}   (CPU ms)")
    broken = 0
    for name, make in CASES.items():
        half, whole = best_ms(parsed, make(LONGEST // 2), make(LONGEST))
        (other,) = best_ms(parsed, make(LONGEST), dialect=A1111)
        (count,) = best_ms(counted, make(LONGEST), tries=3)
        ratio = whole / half
        is_slow = max(whole, other) > BOUND_MS or (ratio > BOUND_RATIO and whole > 1.0)
        broken += is_slow
        print(f"{name:22}{half:9.2f}{whole:9.2f}{ratio:7.2f}{other:9.2f}{count:9.2f}{'   SLOW' if is_slow else ''}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
