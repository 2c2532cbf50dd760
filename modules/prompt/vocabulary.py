"""Which words of a prompt a model with a small world was not taught: the hint beside the prompt, never an error."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from modules.prompt import tags

MOST: Final = 8  # words named at once
_LATIN: Final = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_HAN: Final = re.compile(r"[\u3400-\u9fff]+")
_KEYWORDS: Final = re.compile(r"\b(?:AND|BREAK)\b")
# Words that ask for no thing of their own: every model reads over them.
_GRAMMAR: Final = """a an the of in on at with and or to by from near beside behind under over above below between into
around is are there this that its it as for very some many few one two three no not without left right top bottom middle
center centre side background ground picture image photo painting drawing illustration art style small big large little
tiny huge beautiful nice lovely cute simple detailed highly best quality masterpiece high resolution professional soft
sharp focus light hand drawn children cozy dreamy colorful colourful colour color"""
_GRAMMAR_HAN: Final = """非常 背景 一幅 画面 图片 插画 高清 杰作 质量 最好 可爱 漂亮 好看 温馨 细节 丰富 上方 下方
左边 右边 中间 旁边 前面 后面 里面 的 地 得 在 里 上 中 下 左 右 边 方 有 是 和 与 跟 着 了 很 一 两 二 三 几 个 只 座
艘 把 朵 棵 条 辆 盏 轮 颗 幅 张 位 匹 架 色 小 大 风 格 画"""
_COMMON: Final = frozenset(_GRAMMAR.split())


def unknown_words(text: str, vocabulary: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of ``text`` that are neither in ``vocabulary`` nor mere grammar, as typed but in lower case, at most 8.

    ``vocabulary`` is what a checkpoint's file says of itself: lists of ``{"en": [...], "zh": [...]}`` under any names,
    or lists of plain words; anything else in it is ignored. Linear in the text; never raises.
    """
    untagged, _ = tags.split(tags.without_comments(text).text)
    plain = _KEYWORDS.sub(" ", untagged.text)
    taught = set(_taught(vocabulary))
    latin = {part for word in taught for part in _LATIN.findall(word.lower())} | _COMMON
    found = [(match.start(), match[0]) for match in _LATIN.finditer(plain.lower())]
    missing = [(place, word) for place, word in found if len(word) > 2 and not _forms(word) & latin]
    known = sorted(
        {run for word in taught for run in _HAN.findall(word)} | set(_GRAMMAR_HAN.split()), key=len, reverse=True
    )
    pattern = re.compile("|".join(map(re.escape, known)))
    for match in _HAN.finditer(plain):
        rest = pattern.sub(" ", match[0])
        missing += [(match.start(), word) for word in rest.split()]
    return tuple(dict.fromkeys(word for _, word in sorted(missing)))[:MOST]


def _taught(vocabulary: Mapping[str, Any]) -> Iterator[str]:
    for table in vocabulary.values():
        for entry in cast(list[Any], table) if isinstance(table, list) else ():
            if isinstance(entry, str):
                yield entry
            elif isinstance(entry, dict):
                for words in cast(dict[str, Any], entry).values():
                    listed = cast(list[Any], words) if isinstance(words, list) else [words]
                    yield from (word for word in listed if isinstance(word, str))


def _forms(word: str) -> set[str]:
    """The word itself and what it may be the plural of."""
    forms = {word, word.removesuffix("'s"), word.removesuffix("s"), word.removesuffix("es")}
    return forms | {word[:-3] + "y"} if word.endswith("ies") else forms
