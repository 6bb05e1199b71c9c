"""Characters: what a terminal or a browser would obey, not show, or show in another order, is shown as its code."""


def code(character: str) -> str:
    """The code of a character that is not shown as itself: a backslash, `u`, and hexadecimal digits."""
    return f"\\u{ord(character):04x}"


def printable(text: str) -> str:
    """The text with a code in the place of everything that cannot be seen as it is."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else code(character) for character in text)
