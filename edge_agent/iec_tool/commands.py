"""``congto iec62056-21``: a meter's readout, or single registers in programming mode.

Exit status: 2 the call · 3 the line (silence, no port) · 4 the protocol (noise, broken rules) · 5 refused by the meter.
"""

import argparse
import asyncio
import re
import sys
from typing import Any

from edge_agent.dlms_tool import keys, screen
from edge_agent.dlms_tool.character_trace import TracedPort
from edge_agent.dlms_tool.commands import STATUS_HELP, explained
from edge_agent.dlms_tool.refusals import RefusedError
from edge_agent.dlms_tool.serial_port import SETTLING_S, SerialPort, ask, for_sign_on, sign_on
from edge_agent.serial_line import LineSettings
from protocols.errors import RemoteProtocolError, UsageError
from protocols.iec62056_21.client import Client
from protocols.iec62056_21.messages import BAUDS, Command, Identification, Mode
from protocols.iec62056_21.readout import DataSet
from protocols.iec62056_21.session import (
    Answered,
    Ask,
    Done,
    Event,
    PasswordAsked,
    ReadoutDone,
    Refused,
    Select,
    SignOff,
)

_REGISTER = re.compile(r"[ -'*-~]{1,16}")  # printable, without brackets (IEC 62056-21, 6.3.5)
_PASSWORD = re.compile(r"[ -'*-~]{0,32}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto iec62056-21``."""
    parser.description = f"{parser.description} {STATUS_HELP}"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    purpose = "read all that a meter sends by itself, or single registers in programming mode"
    read = actions.add_parser("read", help=purpose, description=purpose.capitalize() + ".")
    read.add_argument("registers", nargs="*", metavar="REGISTER", help="such as 1.8.0; default: the whole readout")
    read.add_argument("--serial", required=True, metavar="PORT", help="such as /dev/ttyUSB0, an optical head")
    read.add_argument("--address", default="", help="device address of the sign-on; default: whoever is there")
    read.add_argument("--baud", type=int, default=19200, help="the highest speed to agree on; default 19200")
    read.add_argument("--no-parity", action="store_true", help="the meter speaks 8N1 instead of 7E1")
    read.add_argument("--timeout", type=float, default=3.0, metavar="S", help="how long to wait; default 3")
    read.add_argument(
        "--read-command", default="R5", choices=("R1", "R2", "R5", "R6"), help="to read a register; default R5"
    )
    keys.add_key_arguments(read, "password", "password of programming mode", direct=False)
    read.add_argument("--password-level", default="P1", choices=("P1", "P2"), help="default P1")
    read.add_argument("--json", action="store_true", help="print one JSON object")
    read.add_argument("--trace", action="store_true", help="show what passes by characters on stderr; no passwords")


def run(arguments: argparse.Namespace) -> int:
    """Read and print."""
    return explained(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.baud not in BAUDS.values():
        raise UsageError(f"--baud {arguments.baud}: expected one of {', '.join(map(str, BAUDS.values()))}")
    if not 0 < arguments.timeout <= 600:
        raise UsageError(f"--timeout {arguments.timeout}: expected above 0 to 600 s")
    wrong = [each for each in arguments.registers if not _REGISTER.fullmatch(each)]
    if wrong:
        raise UsageError(f"register {wrong[0]!r}: expected up to 16 characters without brackets, such as 1.8.0")
    password = keys.text_of(arguments, "password") or ""
    if not _PASSWORD.fullmatch(password):
        raise UsageError("--password: expected up to 32 printable ASCII characters without brackets")
    identification, data_sets = asyncio.run(_read(arguments, password))
    if arguments.json:
        screen.print_json(_to_json(identification, data_sets))
        return 0
    title = f"{identification.manufacturer} {identification.text}, {identification.baud} baud"
    rows = [(each.address, _written(each), _base(each)) for each in data_sets]
    screen.print_table(title, ("register", "value", "in base units"), rows, right=(2,))
    return 0


async def _read(arguments: argparse.Namespace, password: str) -> tuple[Identification, tuple[DataSet, ...]]:
    settings = for_sign_on(LineSettings(arguments.serial, arguments.baud, "N", 1))
    port = TracedPort(settings, _tell) if arguments.trace else SerialPort(settings)
    try:
        client = Client(parity=not arguments.no_parity)
        said = await sign_on(port, client, arguments.address, arguments.timeout)
        if said.waits_for_selection:
            await asyncio.sleep(SETTLING_S)
        elif arguments.registers:
            raise RefusedError(f"meter {said.manufacturer} {said.text} is of mode A or B: it has a readout only")
        if arguments.registers:
            return said, await _read_registers(port, client, arguments, password)
        return said, await _read_out(port, client, arguments)
    finally:
        port.close()


async def _read_out(port: SerialPort, client: Client, arguments: argparse.Namespace) -> tuple[DataSet, ...]:
    said = client.identification
    assert said is not None
    if said.waits_for_selection:
        event = await ask(port, client, Select(Mode.READOUT, arguments.baud), arguments.timeout)
    else:
        await port.change_baud(client.baud)
        event = await ask(port, client, None, arguments.timeout)
    if not isinstance(event, ReadoutDone):
        raise _unexpected(event, "the readout")
    return event.readout.data_sets


async def _read_registers(
    port: SerialPort, client: Client, arguments: argparse.Namespace, password: str
) -> tuple[DataSet, ...]:
    event = await ask(port, client, Select(Mode.PROGRAMMING, arguments.baud), arguments.timeout)
    if not isinstance(event, PasswordAsked):
        raise _unexpected(event, "programming mode")
    await asyncio.sleep(SETTLING_S)
    event = await ask(port, client, Ask(Command(arguments.password_level, f"({password})")), arguments.timeout)
    if not isinstance(event, Done):
        raise _unexpected(event, "the password; --password-env, another --password-level, or an algorithm of the maker")
    found: list[DataSet] = []
    for register in arguments.registers:
        await asyncio.sleep(SETTLING_S)
        event = await ask(port, client, Ask(Command(arguments.read_command, f"{register}()")), arguments.timeout)
        if not isinstance(event, Answered):
            raise _unexpected(event, f"register {register}; the readout shows which there are")
        # Many meters answer with the value alone; then the address is the one that was asked for.
        found += [each if each.address else DataSet(register, each.values) for each in event.data_sets]
    await port.write(client.send(SignOff()))
    return tuple(found)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _unexpected(event: Event, what: str) -> Exception:
    if isinstance(event, Refused):
        return RefusedError(f"{event.words}: it was asked for {what}")
    return RemoteProtocolError(f"found {type(event).__name__}, expected the answer to {what}")


def _written(data_set: DataSet) -> str:
    return ", ".join(f"{value.text} {value.unit}".strip() for value in data_set.values)


def _base(data_set: DataSet) -> str:
    quantity = data_set.quantity
    return "" if quantity is None else f"{quantity[0]} {quantity[1]}"


def _to_json(identification: Identification, data_sets: tuple[DataSet, ...]) -> dict[str, Any]:
    shown = []
    for each in data_sets:
        quantity = each.quantity
        shown.append(
            {
                "address": each.address,
                "obis": str(each.obis) if each.obis is not None else None,
                "values": [{"text": value.text, "unit": value.unit} for value in each.values],
                "base": None if quantity is None else {"value": quantity[0], "unit": quantity[1]},
            }
        )
    return {
        "manufacturer": identification.manufacturer,
        "identification": identification.text,
        "baud": identification.baud,
        "data_sets": shown,
    }
