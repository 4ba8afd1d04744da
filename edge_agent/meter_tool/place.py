"""Where a meter is reached, serial or TCP, and what to do when that place can't be opened."""

import argparse
import asyncio
import logging
import re
import sys
import time
from pathlib import Path

from edge_agent.failures import LineLostError
from edge_agent.modbus_meter import Link
from edge_agent.modbus_rtu import RtuLink
from edge_agent.port_use import leave_quiet, owed_s
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.errors import UnavailableError, UsageError

BAUD_MIN, BAUD_MAX = 300, 921_600
PARITIES = ("N", "E", "O")
COMMAND_LETTERS_MAX = 120
_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})")


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice between a serial port and a TCP place."""
    places = parser.add_mutually_exclusive_group(required=True)
    places.add_argument("--serial", metavar="PORT", help="such as /dev/serial/by-id/…, an RS-485 adapter")
    places.add_argument("--tcp", metavar="HOST:PORT", help="a meter or gateway that speaks Modbus TCP, port 502 mostly")


def parse_place(text: str) -> tuple[str, int]:
    """Return host and port; raise :class:`UsageError`."""
    found = _PLACE.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= 65_535:
        raise UsageError(f"--tcp {text}: expected HOST:PORT, such as 192.168.1.20:502")
    return found[1].strip("[]"), int(found[2])


def open_port(settings: LineSettings) -> SerialLine:
    """Open a serial port; raise :class:`UnavailableError` with the cure."""
    try:
        return SerialLine(settings)
    except LineLostError as error:
        raise UnavailableError(f"{error}; {_cure(settings.port, str(error))}") from error


def open_link(tcp: str | None, settings: LineSettings, reply_timeout_s: float) -> Link:
    """Return a way to ask Modbus questions."""
    if tcp is None:
        return RtuLink(open_port(settings), reply_timeout_s)
    from edge_agent.modbus_tcp import TcpLink  # noqa: PLC0415, pymodbus is not needed on a serial line

    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it reports what we report
    return TcpLink(*parse_place(tcp), reply_timeout_s)


async def hear_out(port: str) -> None:
    """Wait for as long as an answer may come on ``port`` to what another program has asked; say so."""
    left_s = owed_s(port, time.time())
    if left_s > 0:
        print(
            f"{port}: somebody has asked there a moment ago, and an answer may still come: {left_s:.0f} s …",
            file=sys.stderr,
            flush=True,
        )
        await asyncio.sleep(left_s)


def close_link(link: Link, port: str | None) -> None:
    """Close a link; a port on which all was answered is left as a quiet one."""
    if port is not None and isinstance(link, RtuLink) and link.is_quiet:
        leave_quiet(port)
    link.close()


def _cure(port: str, reason: str) -> str:
    if "exclusively lock" in reason or "busy" in reason.lower():
        return f"{_holder(port)} has it; two masters on one line disturb each other: stop that one first"
    if "Permission denied" in reason:
        return "put your user into the group dialout and log in again"
    there = sorted(str(each) for each in (*Path("/dev").glob("ttyUSB*"), *Path("/dev").glob("ttyACM*")))
    return f"is the adapter plugged in? serial ports here: {', '.join(there) or 'none'}"


def _holder(port: str) -> str:
    """Return who has locked the port, as far as the system tells (proc(5), /proc/locks)."""
    try:
        inode = Path(port).stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].split(":")[2]) == inode:
                command = Path("/proc", words[4], "cmdline").read_bytes().replace(b"\0", b" ").strip()
                return f"process {words[4]} ({command.decode(errors='replace')[:COMMAND_LETTERS_MAX]})"
    except (OSError, ValueError, IndexError):
        pass  # then it is said less exactly
    return "another program, an agent perhaps (systemctl status congto-agent),"
