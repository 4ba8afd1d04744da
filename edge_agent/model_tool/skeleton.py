"""``congto model new``: a model to begin with, each line explained."""

import argparse
import sys
from pathlib import Path

from protocols.errors import UsageError
from protocols.meters.catalogue import KEY
from protocols.meters.model import MeterModel

NAME = "Maker and type as on the meter's plate"
NOTE = "What an installer must know; where two sources disagree."
SOURCE = "Maker, document, edition, page of"  # how each skeleton's source begins
MODBUS = """\
# Meter model {key}. Try it with: congto model test {key}.toml
# Where you are not sure, say so in notes; a model that guesses bills somebody.
name = "Maker and type as on the meter's plate"
version = 1            # count up when the table changes: readings name it
protocol = "modbus"
source = "Maker, document, edition, page of the register list; who else reads the same addresses"
certainty = "constructed"  # until it is "vendor document" or "public sources" (several that agree)
notes = ["What an installer must know; where two sources disagree."]
# registers_per_read_max = 60  # if the meter's document allows fewer registers in one request than 125

[serial]               # as delivered
baud = 9600
parity = "N"           # N, E, O
stop_bits = 1

# [firmware]           # from which to which firmware the table is known to hold
# first = "1.10"
# last = "2.05"

[identity]             # how a scan recognises the meter: a plausible measurement ...
measurement = "voltage_l1"
between = [80, 300]    # in the measurement's unit
# table = "holding"    # ... or, better, registers with a code or a text
# address = 0x8960
# registers = 2
# equals = [0x42323320]
# starts_with = "B23"  # instead of equals: text, small or capital letters

# [counters]           # the energy registers, beyond what their type says
# power_max_w = 12_420     # the most the meter can measure: phases x amperes x volts x 1.2
# rollover = 100_000_000   # the raw number at which they begin again, if not where the type ends
# resolution_wh = 10       # the step, if coarser than the type's

[measurements.import_active]   # one table for each measurement; the name is free, the OBIS code is the channel
obis = "1.0.1.8.0"             # IEC 62056-6-1: +A; 1.0.2.8.0 -A, 1.0.3.8.0 +R, 1.0.4.8.0 -R, 1.0.1.8.n rates
table = "input"                # "input" (function 4) or "holding" (function 3)
address = 0x0048               # from 0, as on the wire; many lists count from 1 or from 30001/40001
type = "float32"               # int16 uint16 int32 uint32 int64 uint64 float32 float64
unit = "kWh"
# scale = "0.01"               # raw number x scale is in the unit
# word_order = "little"        # the least significant register first
# byte_order = "little"        # the least significant octet of each register first
# missing = "7f ff ff ff"      # the meter's own mark for "no value", beside NaN, 0x8000... and 0xFFFF...
# exponent_at = 0x004C         # a register with a power of ten for this one (SunSpec)
# source = "page, if another than above"

[measurements.voltage_l1]
obis = "1.0.32.7.0"
group = "instantaneous"        # read at its own interval; without this line: "billing"
table = "input"
address = 0x0000
type = "float32"
unit = "V"

[[frames]]                     # what a real meter answered, octet by octet, and what it means
request = "01 04 00 48 00 02 f1 dd"
reply = "01 04 04 44 9a 50 00 f3 5b"
origin = "constructed"         # "captured", "vendor document" or "constructed"
values = {{ import_active = 1_234_500 }}   # integers in the base unit: Wh, varh, W, mV, mA, mHz, 1/1000
"""
DLMS = """\
# Meter model {key}. Try it with: congto model test {key}.toml
name = "Maker and type as on the meter's plate"
version = 1
protocol = "dlms"
source = "Maker, document, edition, page of the object list; or what congto dlms list showed, and of which firmware"
certainty = "constructed"      # until it is "vendor document" or "public sources" (several that agree)
notes = ["What an installer must know; where two sources disagree."]

[serial]                       # as delivered
baud = 9600
parity = "N"
stop_bits = 1

[dlms]
client_sap = 1                 # 16 is the public client, which mostly sees no registers
server_logical = 1
mechanism = "low"              # none, low, high, high-md5, high-sha1, high-gmac, high-sha256, high-ecdsa
with_list = true               # several attributes may be asked for in one request
# security = "authenticated and encrypted"   # with suite = 0 and, if the meter tells it, counter = "0.0.43.1.0"

[profile]                      # leave out if the meter has no load profile
obis = "1.0.99.1.0"
interval = "15m"

[identity]                     # the logical device name begins with the maker's three letters (FLAG)
obis = "0.0.42.0.0"
starts_with = "XYZ"

[measurements.import_active]
obis = "1.0.1.8.0"
class = 3                      # 3 register, 4 extended register, 5 demand register
attribute = 2                  # scaler and unit are read from the meter
unit = "Wh"

[[frames]]                     # a GET and its answer, without link and ciphering
request = "c0 01 c1 00 03 01 00 01 08 00 ff 02 00"
reply = "c4 01 c1 00 06 00 bc 61 4e"
origin = "constructed"
values = {{ import_active = 12_345_678 }}  # the number in the register, before its scaler
"""
IEC = """\
# Meter model {key}, read out by IEC 62056-21. Try it with: congto model test {key}.toml
name = "Maker and type as on the meter's plate"
version = 1
protocol = "iec62056_21"
source = "Maker, document, edition, page of the readout; or what congto iec62056-21 read showed, and of which firmware"
certainty = "constructed"      # until it is "vendor document" or "public sources" (several that agree)
notes = ["What an installer must know; where two sources disagree."]

[serial]
baud = 9600                    # the fastest speed to agree on; the meter is signed on to at 300 baud
parity = "E"                   # E is 7E1, as the standard has it; N for a meter that speaks 8N1
stop_bits = 1

[measurements.import_active]   # one table for each line of the readout that is wanted
obis = "1.0.1.8.0"             # 1.8.0 in the readout
unit = "kWh"                   # if the readout names no unit

[measurements.voltage_l1]
obis = "1.0.32.7.0"            # 32.7.0
group = "instantaneous"        # read at its own interval; without this line: "billing"
unit = "V"
"""
SKELETONS = {"modbus": MODBUS, "dlms": DLMS, "iec62056_21": IEC}


def left_of(model: MeterModel) -> list[str]:
    """Return the keys in which ``model`` still says what a skeleton does."""
    found = {"name": model.name == NAME, "source": model.source.startswith(SOURCE), "notes": NOTE in model.notes}
    return [key for key, left in found.items() if left]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto model new``."""
    parser.add_argument("key", metavar="KEY", help="the model's key: small letters, digits and _")
    parser.add_argument("--protocol", choices=sorted(SKELETONS), default="modbus", help="default %(default)s")
    parser.add_argument("--models", type=Path, metavar="DIR", help="write DIR/KEY.toml; default: print")


def run(arguments: argparse.Namespace) -> int:
    """Write the skeleton, never over a file that is there."""
    if KEY.fullmatch(arguments.key) is None:
        raise UsageError(f"key {arguments.key!r}: expected small letters, digits and _, such as maker_type")
    text = SKELETONS[arguments.protocol].format(key=arguments.key)
    if arguments.models is None:
        print(text, end="")
        return 0
    path = arguments.models / f"{arguments.key}.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: is there already; choose another key or edit it") from None
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from error
    print(f"written: {path}; try it with: congto model test {path}", file=sys.stderr)
    return 0
