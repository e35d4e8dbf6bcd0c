"""Hypothesis draws the same examples in every run, and few of them: each one checks many gradient entries."""

from hypothesis import settings

settings.register_profile("npsnn", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("npsnn")
