"""Files, with care: only regular ones are read, what is written appears whole, damage is told in our own words."""

import contextlib
import errno
import math
import os
import re
import shutil
import stat
import time
import uuid
import zipfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from limelight.errors import InvalidOption, LimelightError, MissingExtra, OutOfMemory, is_out_of_memory

TRIES = 1000
"""How often, at most, somebody looks whether another one is done with a moment's work, in hundredths of a second."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


# -- reading ---------------------------------------------------------------------------------------------


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading.

    A pipe would be waited for and a device may never end, so neither is opened.

    Raises:
        OSError: there is no such file, it can't be read, or it is no regular file; ``strerror`` says which.
    """
    check_regular(path)
    # Without waiting, as the file may have become a pipe since.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what is no regular file, without opening it.

    Raises:
        OSError: as for ``open_file``.
    """
    with _name_errors(path):
        mode = Path(path).stat().st_mode
    _check_kind(mode, path)


@contextlib.contextmanager
def _name_errors(path: str | os.PathLike[str]) -> Generator[None]:
    """Tell in the system's way that a text with a zero or with half a character is no name."""
    try:
        yield
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have this name", os.fspath(path)) from error


def _check_kind(mode: int, path: str | os.PathLike[str], done: str = "read") -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.ENOTSUP, f"it is {kind}, and only regular files are {done}", os.fspath(path))


def problem_of(path: str | os.PathLike[str], what: str) -> str:
    """Return what is wrong with a file that is to be read, "" if it is a regular one: it is missing, or is a pipe."""
    try:
        check_regular(path)
    except FileNotFoundError:
        return f"there is no {what} {path}"
    except OSError as error:
        return f"can't read {what} {path}: {reason_of(error)}"
    return ""


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file or folder of this name; what can't be a name is none."""
    try:
        Path(path).stat()
    except (OSError, ValueError):
        return False
    return True


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: as for ``open_file``.
    """
    with open_file(path) as file:
        return file.read()


def text_of(path: str | os.PathLike[str]) -> str:
    """Return the text of a regular file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: as for ``open_file``.
        UnicodeDecodeError: it is no UTF-8.
    """
    return content_of(path).decode("utf-8-sig")


@contextlib.contextmanager
def refusing(kind: type[LimelightError], what: str, then: str = "") -> Generator[None]:
    """Turn whatever a reader raises on damaged or foreign data into one error of our own.

    Args:
        kind: of the error.
        what: is wrong with which file; the reason is added.
        then: comes behind the reason.

    Raises:
        OutOfMemory: memory ran out: the file claims more than there is, or is larger than that.
    """
    try:
        yield
    except LimelightError:
        raise
    except Exception as error:  # on damaged data decoders raise nearly every type
        if is_out_of_memory(error):
            raise OutOfMemory(f"memory ran out ({reason_of(error)}); if it should suffice, {what}{then}") from error
        raise kind(f"{what}: {reason_of(error)}{then}") from error


def reason_of(error: BaseException) -> str:
    """Return why in at most a line: a system's words, the first line of a message, or else the error's type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "there is not memory enough to read it"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "set_int_max_str_digits" in said:  # Python's advice is to programmers
        return "it holds a number of thousands of digits"
    if said.startswith("Weights only load failed"):  # and advice to read it all the same, which is ours to give
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        return f"it names {refused[1]}" if refused else "it is no pickle of tensors"
    invalid = re.match(r"\d+ validation errors? for .*\n(.+)\n  (.+?) \[type=", str(error))  # Pydantic's, of the first
    if invalid:
        said = f"{invalid[1]}: {invalid[2]}"
    if isinstance(error, KeyError):  # whose message is the key alone
        said = f"{said} is missing"
    return said if len(said) <= 300 else f"{said[:300]} …"


def check_unpacked(archive: zipfile.ZipFile, most: int, how: str) -> None:
    """Refuse an archive by its directory if what it holds would be larger than it may be.

    Args:
        archive: opened.
        most: bytes.
        how: ends the message: how to read it all the same.

    Raises:
        zipfile.BadZipFile: it holds too much.
    """
    size = sum(entry.file_size for entry in archive.infolist())
    if size > most:
        raise zipfile.BadZipFile(f"it unpacks to {size:,} bytes, more than {most:,}; {how}")


def arrow() -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "tables") from None
    return pyarrow, pyarrow.parquet


def pandas() -> Any:
    """Return pandas.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtra("pandas", "tables") from None
    return pandas


def rows_in(content: bytes, columns: Sequence[str] | None = None, *, later: Sequence[str] = ()) -> Any:
    """Return the rows in the bytes of a Parquet file, a ``pyarrow.Table`` all of which holds what its columns say.

    Args:
        content: the bytes.
        columns: which; None for all that there are.
        later: columns of numbers that older files lack, where they are NaN.

    Raises:
        ValueError: it claims more than it can hold, or has no such column; on damage pyarrow raises others.
    """
    pyarrow, parquet = arrow()
    # Without threads: what is damaged may end one in the midst, and with it the whole program when that ends.
    file = parquet.ParquetFile(pyarrow.BufferReader(content), pre_buffer=False)
    if file.metadata.num_rows > len(content):  # a row has numbers that differ, which take some bytes each
        raise ValueError(f"it claims {file.metadata.num_rows:,} rows in {len(content):,} bytes")
    lacks = [name for name in columns or () if name not in file.schema_arrow.names]
    if missed := [name for name in lacks if name not in later]:
        raise ValueError(f"it has no column {missed[0]}")
    table = file.read(columns and [name for name in columns if name not in lacks], use_threads=False)
    table.validate(full=True)
    for name in lacks:
        table = table.append_column(name, pyarrow.array([math.nan] * len(table)))
    return table if columns is None else table.select(columns)


def name_in_text(name: str) -> str:
    r"""Return a file's name as a text from which it can be told again; different names stay different.

    Bytes that are no UTF-8 are written out (``caf\xe9.jpg``), and a backslash, which few names have, is doubled.
    """
    doubled = name.replace("\\", r"\\")
    return storable(re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", doubled))


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: halves of pairs, such as Python makes of bytes in names, are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- writing ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], *, new: bool = False, kept: str = "") -> Generator[Path]:
    """Give a draft to write to, which takes the file's name when all of it is there; folders are made.

    If anything goes wrong, nothing is left, and a file that had the name before is as it was.

    Args:
        path: of the file; a link is followed.
        new: whether a file that has the name already stays; of several who write at once, one does.
        kept: ends the message if it can't be written.

    Raises:
        InvalidOption: it can't be written, for instance because the disk is full.
    """
    path = Path(path)
    draft: Path | None = None
    try:
        with _name_errors(path):
            target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _check_kind(target.stat().st_mode, target, "written")
        draft = target.with_name(f".{uuid.uuid4().hex}{path.suffix}")
        yield draft
        with draft.open("r+b") as file:
            os.fsync(file.fileno())
        if new:
            _claim(target, draft)
            return
        if target.exists():
            shutil.copymode(target, draft)
        draft.replace(target)
    except LimelightError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error)
        where = isinstance(error, FileExistsError)  # while its folder was made
        why = "the disk is full" if full else f"{path.parent} is no folder" if where else reason_of(error)
        raise InvalidOption(f"can't write to {path}: {why}{kept}") from error
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):  # what went wrong first is what has to be known
                draft.unlink(missing_ok=True)


def _claim(path: Path, draft: Path) -> None:
    """Give a draft the name of a file, unless there is one."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    except OSError:  # not every file system has links, but a folder is made by one alone
        turn = path.with_name(f".{path.name}.claimed")
        for _ in range(TRIES):
            with contextlib.suppress(FileExistsError):
                turn.mkdir()
                break
            time.sleep(0.01)
        else:
            raise OSError(errno.EBUSY, f"{turn} stays; remove it if nobody writes there") from None
        try:
            if not path.exists():
                draft.replace(path)
        finally:
            turn.rmdir()


def check_suffix(path: str | os.PathLike[str], *known: str, option: str = "") -> str:
    """Return the suffix of a file that is to be written, in small letters; it says in which format.

    Args:
        path: of the file.
        known: the suffixes that there are formats for.
        option: of the command line, by which it was given.

    Raises:
        InvalidOption: it is none of them.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        what = f"{option} {path}" if option else f"cannot write {Path(path).name!r}"
        raise InvalidOption(f"{what}: the suffix must be {', '.join(known[:-1])} or {known[-1]}")
    return suffix


def write(path: str | os.PathLike[str], content: str | bytes, *, new: bool = False, kept: str = "") -> Path:
    """Write a file as a whole; text in UTF-8, where what that can't hold (half of a pair) becomes an escape.

    Raises:
        InvalidOption: as for ``whole``.
    """
    data = storable(content).encode() if isinstance(content, str) else content
    with whole(path, new=new, kept=kept) as draft:
        draft.write_bytes(data)
    return Path(path)
