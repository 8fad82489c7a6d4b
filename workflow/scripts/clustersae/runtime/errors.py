"""The one exception that stands for a mistake the user can mend, and what others say."""


class InputError(Exception):
    """Wrong input or configuration; the message names the thing and the remedy.

    Scripts print it as a single line, without a traceback.
    """


def first_line(error: BaseException) -> str:
    """What an error says, without the long lists that libraries append to it; else its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
