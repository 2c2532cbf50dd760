"""Every colour, type size, space and region of the page as one table, and Gradio's theme made from it."""

from __future__ import annotations

from typing import Any

# name: (light, dark). Contrast is checked by calculation in tests/webui/test_theme.py.
COLOURS: dict[str, tuple[str, str]] = {
    "page": ("#F4F4F2", "#171717"),
    "panel": ("#FFFFFF", "#1F1F1F"),
    "sunk": ("#FAFAF8", "#191919"),
    "stage": ("#DEDEDE", "#0F0F0F"),
    "line": ("#DCDCD8", "#343434"),
    "edge": ("#8C8C88", "#757575"),
    "text": ("#1C1C1A", "#ECECE8"),
    "text-2": ("#55554F", "#B8B8B2"),
    "text-3": ("#696963", "#999993"),
    "accent": ("#3A4CC9", "#A3AFFF"),
    "on-accent": ("#FFFFFF", "#14172E"),
    "soft": ("#E9EBFB", "#2A2F52"),
    "ok": ("#1B7446", "#63CF98"),
    "warn": ("#8A5600", "#E7B95A"),
    "err": ("#B3261E", "#FF938A"),
    "warn-bg": ("#FBF1DD", "#362B14"),
    "err-bg": ("#FCEDEB", "#3A1F1D"),
    "veil": ("#000000A6", "#000000A6"),  # behind white text on a picture
    "on-veil": ("#FFFFFF", "#FFFFFF"),
    "mask": ("#E0352F", "#E0352F"),  # of what is painted over a picture, at half strength
    "mask-2": ("#18A558", "#18A558"),
    "mask-3": ("#2F62C9", "#2F62C9"),
    "shadow": ("#00000033", "#00000080"),
}

# name: (size, line height, weight) in CSS.
TYPE: dict[str, tuple[str, str, int]] = {
    "label": ("12px", "16px", 500),
    "button": ("13px", "18px", 500),
    "body": ("14px", "20px", 400),
    "prompt": ("15px", "22px", 400),
    "heading": ("16px", "24px", 600),
    "empty": ("20px", "28px", 600),
    "touch": ("16px", "24px", 400),  # every input on a touch screen: smaller ones make iOS zoom
}

SIZES: dict[str, str] = {
    "header": "48px",
    "column": "400px",
    "rail": "136px",
    "generate": "68px",
    "bar": "48px",
    "strip": "88px",
    "control": "34px",
    "margin": "24px",
    "radius": "6px",
    "radius-thumb": "4px",
    "radius-picture": "2px",
}

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif'
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def tokens() -> str:
    """The table as CSS variables on ``:root`` and ``.dark``; written into the document, so that it is there at once."""
    shared = [f"--font:{FONT};", f"--mono:{MONO};"]
    shared += [f"--{name}:{value};" for name, value in SIZES.items()]
    shared += [f"--type-{name}:{weight} {size}/{line} var(--font);" for name, (size, line, weight) in TYPE.items()]
    light = "".join(f"--{name}:{colours[0]};" for name, colours in COLOURS.items())
    dark = "".join(f"--{name}:{colours[1]};" for name, colours in COLOURS.items())
    return f":root{{{''.join(shared)}{light}color-scheme:light}}.dark{{{dark}color-scheme:dark}}"


def theme() -> Any:
    """Gradio's own variables, set from the table; what Gradio hard-codes is corrected in static/controls.css."""
    from gradio import themes  # takes two seconds: only when a page is built

    made = themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    pairs = {
        "body_background_fill": "page",
        "body_text_color": "text",
        "body_text_color_subdued": "text-2",
        "background_fill_primary": "panel",
        "background_fill_secondary": "panel",
        "border_color_primary": "edge",
        "border_color_accent": "accent",
        "block_background_fill": "panel",
        "block_label_text_color": "text-2",
        "block_title_text_color": "text-2",
        "block_info_text_color": "text-3",
        "input_background_fill": "sunk",
        "input_background_fill_focus": "sunk",
        "input_border_color": "edge",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "text-3",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent",
        "button_primary_text_color": "on-accent",
        "button_primary_border_color": "accent",
        "button_secondary_background_fill": "panel",
        "button_secondary_background_fill_hover": "sunk",
        "button_secondary_text_color": "text",
        "button_secondary_border_color": "edge",
        "checkbox_background_color": "sunk",
        "checkbox_background_color_selected": "accent",
        "checkbox_border_color": "edge",
        "checkbox_border_color_selected": "accent",
        "checkbox_label_text_color": "text",
        "slider_color": "accent",
        "link_text_color": "accent",
    }
    fixed: dict[str, str] = {
        "block_border_width": "0px",
        "block_padding": "0px",
        "block_radius": "0px",
        "block_shadow": "none",
        "block_title_text_size": TYPE["label"][0],
        "block_title_text_weight": str(TYPE["label"][2]),
        "block_info_text_size": TYPE["label"][0],
        "layout_gap": "12px",
        "form_gap_width": "0px",
        "input_radius": SIZES["radius"],
        "input_text_size": TYPE["body"][0],
        "input_padding": "6px 10px",
        "input_border_width": "1px",
        "input_shadow": "none",
        "input_shadow_focus": "none",
        "button_large_radius": SIZES["radius"],
        "button_small_radius": SIZES["radius"],
        "shadow_drop": "none",
        "shadow_drop_lg": "none",
        "shadow_inset": "none",
    }
    values = dict(fixed)
    for name, colour in pairs.items():
        values[name], values[f"{name}_dark"] = COLOURS[colour]
    return made.set(**values)
