"""Opening: a file that somebody named, or why it cannot be read, in words.

Law: whatever the operating system says of a file becomes one sentence with a hint.
"""

from pathlib import Path
from typing import BinaryIO

from bulksms.intake.finding import refused


def open_file(path: Path) -> BinaryIO:
    """Open a file that somebody named.

    Raises:
        InputRefused: it is missing, a folder, locked, or may not be read.

    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise refused("E001", f"There is no file {path}", "check the name and the folder") from None
    except IsADirectoryError:
        raise refused("E001", f"{path} is a folder", "name the file in it") from None
    except PermissionError:
        if path.is_dir():  # what Windows says of a folder
            raise refused("E001", f"{path} is a folder", "name the file in it") from None
        raise refused("E001", f"{path} may not be read, or another program holds it", "is it open in Excel?") from None
    except (OSError, ValueError) as error:
        raise refused("E001", f"{path} cannot be opened: {error}", "check the name and the folder") from None
