"""Words of messages and texts that depend on a number."""


def counted(count: float, noun: str) -> str:
    """ "1 token", "2 tokens", of nouns that take an s; a mean is rounded."""
    number = f"{count:.0f}"
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
