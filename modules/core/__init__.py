"""The words that every other package speaks; standard library and pydantic only."""
