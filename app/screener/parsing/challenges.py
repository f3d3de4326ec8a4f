"""Challenge pages: the site answers 200 and blocks the client all the same. Pure.

A reason quotes the phrases of this list, never the page.
"""

import re

_SEARCHED_CHARACTERS = 20_000  # such pages are short

# the phrase that is quoted → the words of pages
_PHRASES = (
    ("Too Many Requests", r"too many requests|rate.?limit(?:ed|ing)?\b|request limit (?:reached|exceeded)"),
    ("Just a moment", r"just a moment|checking (?:if the site connection is secure|your browser)"),
    ("Verify you are human", r"you are (?:a )?human|not a robot|captcha|unusual traffic|security check"),
    (
        "Access denied",
        r"access (?:to this \w+ (?:is|has been) )?denied|you have been blocked|request blocked",
    ),
    ("Attention Required", r"attention required|enable javascript and cookies"),
    ("Temporarily unavailable", r"temporarily unavailable|under maintenance|try again later"),
)
_EXPRESSIONS = tuple((phrase, re.compile(words, re.IGNORECASE)) for phrase, words in _PHRASES)


def challenge_in(text: str) -> str:
    """Return the phrase of a challenge page; empty if the text is none."""
    searched = " ".join(text[:_SEARCHED_CHARACTERS].split())
    return next((phrase for phrase, words in _EXPRESSIONS if words.search(searched)), "")
