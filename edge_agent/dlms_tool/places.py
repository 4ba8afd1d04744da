"""Where a meter is: a serial port and how it is set, a TCP connection, a UDP port."""

import argparse
from dataclasses import dataclass
from typing import TypeAlias

from edge_agent.serial_line import LineSettings
from protocols.errors import UsageError


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """A host and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UdpPlace:
    """A host and a port that take datagrams."""

    host: str
    port: int


Place: TypeAlias = LineSettings | TcpPlace | UdpPlace


def add_arguments(line: argparse._ActionsContainer) -> None:
    """Add the ways to a meter, of which one is needed."""
    where = line.add_mutually_exclusive_group(required=True)
    where.add_argument("--serial", metavar="PORT", help="HDLC on a serial port, such as /dev/ttyUSB0")
    where.add_argument("--tcp", metavar="HOST:PORT", help="a TCP connection, such as 192.0.2.7:4059")
    where.add_argument("--udp", metavar="HOST:PORT", help="datagrams with the wrapper, such as 192.0.2.7:4059")
    add_serial_arguments(line)


def add_serial_arguments(line: argparse._ActionsContainer) -> None:
    """Add how a serial port is set."""
    line.add_argument("--baud", type=int, default=9600, help="speed; with --mode-e the highest; default 9600")
    line.add_argument("--parity", choices=("N", "E", "O"), default="N", help="default N")
    line.add_argument("--stop-bits", type=int, choices=(1, 2), default=1, help="default 1")


def place_of(arguments: argparse.Namespace) -> Place:
    """Return where the arguments say the meter is; UsageError for what cannot be."""
    if arguments.mode_e and not arguments.serial:
        raise UsageError("--mode-e is for serial ports: over TCP and UDP nobody can change the speed of the line")
    if arguments.serial:
        return serial_place(arguments)
    if arguments.tcp:
        return tcp_place(arguments.tcp, "--tcp")
    if arguments.framing == "hdlc":
        raise UsageError("--framing hdlc is for TCP: datagrams hold wrapped APDUs")
    there = tcp_place(arguments.udp, "--udp")
    return UdpPlace(there.host, there.port)


def serial_place(arguments: argparse.Namespace) -> LineSettings:
    """Return the port and how it is set."""
    if not 300 <= arguments.baud <= 921_600:
        raise UsageError(f"--baud {arguments.baud}: expected 300 to 921600")
    return LineSettings(arguments.serial, arguments.baud, arguments.parity, arguments.stop_bits)


def tcp_place(text: str, option: str) -> TcpPlace:
    """Return the host and port written ``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 0xFFFF:
        raise UsageError(f"{option} {text}: expected HOST:PORT, such as 192.0.2.7:4059")
    return TcpPlace(host.strip("[]"), int(port))
