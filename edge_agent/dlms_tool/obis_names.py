"""What logical names mean by the OBIS codes of IEC 62056-6-1 and IEC 62056-6-2: data, in the order of their codes.

A row is a pattern of the first five value groups, ``*`` for any, and words; ``{e}`` stands for value group E.
"""

from protocols.obis import CURRENT, Obis

NAMES: dict[str, str] = {
    "0.0.0.1.0": "billing periods so far",
    "0.0.0.1.2": "end of the last billing period",
    "0.*.1.0.0": "clock",
    "0.0.10.0.0": "script table: global reset",
    "0.0.10.0.1": "script table: end of the billing period",
    "0.0.10.0.100": "script table: tariff switching",
    "0.0.10.0.106": "script table: disconnect control",
    "0.0.10.0.107": "script table: image activation",
    "0.0.10.0.108": "script table: push",
    "0.0.11.0.0": "special days",
    "0.0.13.0.0": "activity calendar",
    "0.0.14.0.*": "register activation {e}",
    "0.0.15.0.0": "schedule: end of the billing period",
    "0.0.15.0.1": "schedule: disconnect control",
    "0.0.15.0.2": "schedule: image activation",
    "0.0.15.0.4": "schedule: push",
    "0.0.16.0.*": "register monitor {e}",
    "0.0.16.1.*": "alarm monitor {e}",
    "0.0.17.0.*": "limiter",
    "0.0.20.0.0": "optical port setup",
    "0.0.21.0.*": "standard readout {e}",
    "0.*.22.0.0": "HDLC setup",
    "0.*.23.0.0": "twisted pair setup",
    "0.*.24.*.0": "M-Bus client or port",
    "0.*.25.0.0": "TCP and UDP setup",
    "0.*.25.1.0": "IPv4 setup",
    "0.*.25.3.0": "PPP setup",
    "0.*.25.4.0": "GPRS modem setup",
    "0.*.25.6.0": "GSM diagnostics",
    "0.*.25.7.0": "IPv6 setup",
    "0.*.25.9.0": "push setup",
    "0.0.40.0.0": "current association",
    "0.0.40.0.*": "association {e}",
    "0.0.41.0.0": "SAP assignment",
    "0.0.42.0.0": "logical device name",
    "0.0.43.0.*": "security setup",
    "0.0.43.1.*": "invocation counter",
    "0.0.43.2.*": "data protection {e}",
    "0.0.44.0.*": "image transfer",
    "0.*.96.1.0": "serial number",
    "0.*.96.1.*": "device identification {e}",
    "0.0.96.2.0": "configuration changes",
    "0.0.96.2.1": "last configuration change",
    "0.0.96.3.10": "disconnect control",
    "0.0.96.5.*": "internal status {e}",
    "0.0.96.6.0": "battery: hours of use",
    "0.0.96.6.3": "battery voltage",
    "0.0.96.7.0": "power failures in all phases",
    "0.0.96.7.1": "power failures, L1",
    "0.0.96.7.2": "power failures, L2",
    "0.0.96.7.3": "power failures, L3",
    "0.0.96.7.9": "long power failures, any phase",
    "0.0.96.7.21": "power failures in any phase",
    "0.0.96.8.0": "hours of operation",
    "0.0.96.10.*": "profile status {e}",
    "0.0.96.11.*": "event code {e}",
    "0.0.96.12.*": "modem parameter {e}",
    "0.0.96.13.*": "message to the consumer {e}",
    "0.0.96.14.*": "active tariff",
    "0.0.96.15.*": "event counter {e}",
    "0.0.96.20.*": "tamper counter or time {e}",
    "0.0.97.97.*": "error register {e}",
    "0.0.97.98.*": "alarm register {e}",
    "0.*.98.1.*": "billing profile",
    "0.0.99.98.0": "event log: standard",
    "0.0.99.98.1": "event log: fraud",
    "0.0.99.98.2": "event log: disconnect control",
    "0.0.99.98.*": "event log {e}",
    "1.0.0.1.0": "billing periods so far",
    "1.0.0.2.0": "active firmware",
    "1.0.0.2.8": "signature of the active firmware",
    "1.1.0.2.0": "active firmware, second part",
    "1.0.0.3.0": "pulses per kWh",
    "1.0.0.4.2": "CT ratio",
    "1.0.0.4.3": "VT ratio",
    "1.0.0.6.0": "nominal voltage",
    "1.0.0.6.1": "basic current",
    "1.0.0.6.2": "nominal frequency",
    "1.0.0.6.3": "maximum current",
    "1.0.0.8.0": "demand period",
    "1.0.0.8.4": "period of load profile 1",
    "1.0.0.8.5": "period of load profile 2",
    "1.0.0.9.1": "local time",
    "1.0.0.9.2": "local date",
    "1.0.98.1.*": "billing profile",
    "1.0.99.1.*": "load profile",
    "1.0.99.2.*": "daily profile",
    "1.0.99.97.*": "power failure log",
    "1.0.99.98.*": "event log {e}",
}
# Interface classes of the Blue Book (DLMS UA 1000-1).
CLASSES: dict[int, str] = {
    1: "data", 3: "register", 4: "extended register", 5: "demand register", 6: "register activation",
    7: "profile generic", 8: "clock", 9: "script table", 10: "schedule", 11: "special days table", 12: "association sn",
    15: "association ln", 17: "sap assignment", 18: "image transfer", 19: "iec local port setup",
    20: "activity calendar", 21: "register monitor", 22: "single action schedule", 23: "iec hdlc setup",
    24: "iec twisted pair setup", 25: "m-bus slave port setup", 26: "utility tables", 27: "modem configuration",
    28: "auto answer", 29: "auto connect", 30: "data protection", 40: "push setup", 41: "tcp-udp setup",
    42: "ipv4 setup", 43: "mac address setup", 44: "ppp setup", 45: "gprs modem setup", 46: "smtp setup",
    47: "gsm diagnostic", 48: "ipv6 setup", 61: "register table", 62: "compact data", 63: "status mapping",
    64: "security setup", 65: "parameter monitor", 67: "sensor manager", 68: "arbitrator", 70: "disconnect control",
    71: "limiter", 72: "m-bus client", 111: "account", 112: "credit", 113: "charge", 115: "token gateway",
}  # fmt: skip
# Value group C (IEC 62056-6-1, table 13): a sum over the phases at C, L1 at C + 20, L2 at C + 40, L3 at C + 60.
_OF_PHASES = {
    1: "active import", 2: "active export", 3: "reactive import", 4: "reactive export", 5: "reactive Q1",
    6: "reactive Q2", 7: "reactive Q3", 8: "reactive Q4", 9: "apparent import", 10: "apparent export", 11: "current",
    12: "voltage", 13: "power factor", 14: "frequency", 15: "active, absolute", 16: "active, import less export",
    17: "active Q1", 18: "active Q2", 19: "active Q3", 20: "active Q4",
}  # fmt: skip
_QUANTITIES = {
    **{c + 20 * phase: word + (f" L{phase}" if phase else "") for c, word in _OF_PHASES.items() for phase in range(4)},
    81: "angle", 82: "pulses", 88: "ampere-squared hours", 89: "volt-squared hours", 91: "current N", 92: "voltage N",
}  # fmt: skip
_KINDS = {
    2: "cumulated maximum", 3: "minimum", 4: "running average", 5: "last average", 6: "maximum demand", 7: "now",
    8: "energy", 9: "energy since the billing period began", 27: "average of the recording interval",
    29: "energy of the last interval", 31: "lower threshold", 35: "upper threshold",
}  # fmt: skip
_WITH_RATES = frozenset({2, 6, 8, 9})


def name_of(obis: Obis) -> str:
    """Return what a logical name means, where that is plain."""
    words = _named(obis)
    if not words or obis.f == CURRENT:
        return words
    return f"{words}, stored value {obis.f}"


def _named(obis: Obis) -> str:
    a, b, c, d, e, _ = obis.groups
    for pattern in _patterns(a, b, c, d, e):
        if pattern in NAMES:
            return NAMES[pattern].format(e=e)
    quantity, kind = _QUANTITIES.get(c, "") if a == 1 else "", _KINDS.get(d, "")
    if not quantity or not kind:
        return ""
    if d == 7 and c == 81:
        return f"angle {e}, now"
    if d == 7 and e:
        return f"{quantity}, harmonic {e}"
    channel = f", channel {b}" if b else ""
    return f"{quantity}, {kind}{f', rate {e}' if d in _WITH_RATES and e else ''}{channel}"


def _patterns(a: int, b: int, c: int, d: int, e: int) -> tuple[str, ...]:
    return (
        f"{a}.{b}.{c}.{d}.{e}",
        f"{a}.*.{c}.{d}.{e}",
        f"{a}.{b}.{c}.{d}.*",
        f"{a}.*.{c}.{d}.*",
        f"{a}.*.{c}.*.{e}",
    )
