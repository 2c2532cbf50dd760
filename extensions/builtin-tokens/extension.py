"""Tokens: a tab that shows how a prompt is cut into tokens and chunks, with each token's weight."""

from dataclasses import dataclass

from modules.extend.api import Extension, Tab, hook

EXAMPLE = "a small (red:1.2) house in the snow at night, paper cut"


@dataclass(frozen=True)
class Tokens(Extension):
    """Add a tab that shows how a prompt is cut into tokens, which of them share a chunk of 75, and what each weighs."""

    title = "Tokens"
    words = {"zh": {"title": "词元", "about": "增加一个标签页，显示提示词如何切成词元、每 75 个一段，以及各自的权重。"}}

    @hook
    def add_tab(self):
        return Tab("Tokens", build)


def build():
    """Draw the tab: the prompt above, a row for each token below."""
    import gradio as gr  # the page's process has it; the engine's never loads it

    prompt = gr.Textbox(value=EXAMPLE, label="Prompt / 提示词", lines=4, interactive=True)
    table = gr.Dataframe(
        value=rows(EXAMPLE),
        headers=["Chunk / 段", "Text / 文字", "Token / 词元", "Weight / 权重"],
        interactive=False,
        wrap=True,
    )
    prompt.change(rows, prompt, table, queue=False, show_progress="hidden", api_visibility="private")


def rows(text):
    """One row a token: its chunk from 1, the characters it stands for, its id, its weight."""
    from modules.core.errors import WorkbenchError
    from modules.prompt import emphasis
    from modules.prompt.tokens import chunks, clip

    try:
        runs = emphasis.runs(text)
    except WorkbenchError as problem:
        return [["", problem.message, "", ""]]
    pieces = []
    for run in runs:
        if not run.is_break:
            found = clip().encode(run.text)
            pieces += [run.text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    table, at = [], 0
    for number, chunk in enumerate(chunks(runs), start=1):
        for position in range(1, chunk.used + 1):
            table.append([number, pieces[at], chunk.ids[position], round(chunk.weights[position], 3)])
            at += 1
    return table
