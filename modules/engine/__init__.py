"""The engine: a plan becomes images. Read run.py first, then denoise.py; nothing above this package imports torch."""
