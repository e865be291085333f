"""Text of strangers: names and values out of files and servers, made fit for a terminal, a log or a page."""

LONGEST = 400  # letters that a message quotes


def printable(text: object, most: int = LONGEST) -> str:
    """Return one line that any terminal can show.

    Control characters, line ends, marks that turn the direction of writing, and halves of surrogate pairs become `?`.
    A longer text is cut and ends in `...`.

    Args:
        text: a text. Anything else is shown as the name of its type, since spelling a foreign value may take forever.
        most: letters that are kept at most, 4 or more.
    """
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return line if len(line) <= most else f"{line[: most - 3]}..."
