"""The named differences between this program's own reading of a prompt and A1111's."""

from collections.abc import Collection
from dataclasses import dataclass

from modules.core.compat import expanded


@dataclass(frozen=True)
class Dialect:
    """How doubtful places of the prompt language are read; every switch is False in A1111's reading.

    - ``weight_needs_and``: "a ratio of 16:9" without AND is text, not a prompt "a ratio of 16" of weight 9.
    - ``stray_bar_is_text``: a ``|`` outside ``[a|b]`` is a letter like any other, instead of making every schedule of
      its prompt literal.
    - ``break_inside_emphasis``: BREAK also starts a new chunk between brackets, instead of becoming the word "break".
    - ``ascii_punctuation``: full-width punctuation is tokenised as its ASCII form.
    - ``whole_characters``: a chunk of tokens never ends inside a character.
    """

    weight_needs_and: bool = True
    stray_bar_is_text: bool = True
    break_inside_emphasis: bool = True
    ascii_punctuation: bool = True
    whole_characters: bool = True


NATIVE = Dialect()
A1111 = Dialect(
    weight_needs_and=False,
    stray_bar_is_text=False,
    break_inside_emphasis=False,
    ascii_punctuation=False,
    whole_characters=False,
)


def dialect_of(compat: Collection[str]) -> Dialect:
    """The dialect for a request's ``compat`` switches, or names of presets."""
    return A1111 if "prompt-grammar" in expanded(compat) else NATIVE
