"""The page: Gradio draws the form, our own document frames it, and small ES modules draw everything that moves."""
