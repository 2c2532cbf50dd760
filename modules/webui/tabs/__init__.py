"""One file a tab: what Gradio draws of it; the rest of a tab is drawn by static/<tab>.js into an empty column."""
