"""Text of files whose octets must be UTF-8, refused by line where they are not.

Editors that save in a code page of Windows turn the letters of a Vietnamese name into octets that say something else,
or nothing. Reading them as if they were right would put a wrong name into a bill, so none is replaced or skipped.
"""

from protocols.errors import UsageError


def decode_text(octets: bytes, name: str, first: int = 1) -> str:
    """Return the text that ``octets``, of the file ``name`` from its line ``first`` on, say in UTF-8.

    Raises
    ------
    UsageError
        Naming file, line, the first octet that is wrong, and the cure.
    """
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first + octets.count(b"\n", 0, error.start)
        raise UsageError(
            f"{name}: line {line}: found octet {octets[error.start]:#04x}, which is not UTF-8 here; expected text in "
            "UTF-8; save the file in that encoding"
        ) from error
