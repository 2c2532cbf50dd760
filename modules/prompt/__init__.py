"""Text in, tree out: the prompt language, its tags and its tokens, without torch.

A prompt passes through these files in this order: ``tags`` (comments and network tags leave), ``grammar`` (AND,
scheduling, alternation), ``emphasis`` (brackets become weights, BREAK), ``tokens`` (chunks of 75 for CLIP). Before all
that, ``styles`` and ``wildcards`` put text in. docs/prompts.md is the language for people.
``dialect`` names what differs between this program's own reading and A1111's.
"""
