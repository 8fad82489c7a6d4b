"""The one exception that stands for a mistake the user can mend."""


class InputError(Exception):
    """Wrong input or configuration; the message names the thing and the remedy.

    Scripts print it as a single line, without a traceback.
    """
