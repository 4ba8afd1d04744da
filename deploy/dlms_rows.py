"""What the DLMS stack can do, area by area, as data: rows of the first table of ``docs/dlms-support.md``.

Who adds a feature to the client or to the simulated meters adds its words here and runs
``python -m deploy.dlms_support``. Each row names where it is tried.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """One area: what client and tools do, what simulated meters do, and the tests that show it."""

    name: str
    client: str
    simulator: str
    tests: str


_SAME = "the same"
AREAS = (
    Area(
        "HDLC",
        "addresses of 1, 2 and 4 octets, negotiation, segmentation both ways, window 1 to 7, retransmission, "
        "RNR, FRMR, DM, echo and noise before frames",
        "the same, and faults on demand: drop, corrupt, truncate, delay, split, duplicate, DM, FRMR",
        "tests/dlms/test_hdlc_link.py",
    ),
    Area(
        "wrapper",
        "TCP and UDP, wPorts, partial reads, several APDUs in one read, 65535 octets",
        _SAME,
        "tests/dlms_tool/test_udp_and_blocks.py",
    ),
    Area(
        "IEC 62056-21",
        "readout of modes A to C, programming mode, mode E into HDLC, 300 to 19200 baud, 7E1 and 8N1, block check",
        "modes C and E on a pseudo-terminal",
        "tests/iec62056_21",
    ),
    Area("A-XDR", "every type; limits of depth and size", "encodes all", "tests/dlms/test_vectors.py"),
    Area(
        "ACSE",
        "logical and short names, diagnostics in words, conformance and PDU size, pre-established, RLRQ or not",
        "a policy for each client address",
        "tests/dlms",
    ),
    Area("authentication", "none, low, high 2 to 7", "the same; a wrong secret is refused", "tests/dlms_tool"),
    Area(
        "ciphering",
        "suites 0, 1, 2; global, dedicated, general; authenticated, encrypted, both",
        "the same; repetitions are refused",
        "tests/dlms_tool/test_with_keys.py",
    ),
    Area(
        "invocation counters",
        "on the disk before use (`--counters`); received ones only rise; recovered by the public client",
        "kept with `--state`",
        "tests/dlms_tool/test_push.py",
    ),
    Area(
        "services",
        "GET, SET, ACTION: one, with list, in blocks; ACCESS; READ and WRITE; refusals in the standard's words",
        _SAME,
        "tests/dlms",
    ),
    Area(
        "general block transfer",
        "`--general-blocks`, window and PDU size of choice, lost blocks again; the trace joins them",
        "granted by meters with keys",
        "tests/dlms_tool/test_udp_and_blocks.py",
    ),
    Area(
        "selective access",
        "by range with and without deviation, by entry, columns, a day at a time, any sort column",
        "the same, and meters that ignore it (`--ignore-selection`)",
        "tests/edge_agent/test_dlms_profiles.py",
    ),
    Area(
        "profiles",
        "capture objects, scalers, null-compression of times and values, status, summer time",
        "load, daily and billing profile, event logs",
        "tests/dlms_tool/test_with_meters.py",
    ),
    Area(
        "discovery",
        "object list with rights and names, kept by model and firmware (1.0.0.2.0), scalers by meter; `--fresh`",
        "logical and short names; its firmware names its objects",
        "tests/dlms_tool/test_cache.py",
    ),
    Area(
        "push",
        "DataNotification and EventNotification over HDLC, wrapper, UDP and M-Bus; segmented, ciphered",
        "push setup; sent over HDLC, TCP, UDP and M-Bus (`--push`), events with `--tell-events`",
        "tests/dlms_tool/test_push.py",
    ),
    Area(
        "control",
        "relay with its state read back, clock within a limit, billing reset, image transfer with resume",
        "relay, limiter, clock, billing reset, demand registers, activity calendar and special days, image transfer, "
        "security setup with transfer of keys",
        "tests/simulators",
    ),
)


TOLERATED = (
    ("date-time tagged as data, `09 0C`, in a push", "test_a_date_time_tagged_as_data_in_a_push_is_read"),
    ("AARE that begins with its protocol version, `80 02 07 80`", "test_an_aare_may_begin_with_its_protocol_version"),
    (
        "rejection without user-information",
        "test_a_rejection_may_come_without_user_information_but_an_acceptance_may_not",
    ),
    ("UA parameters of one, two or four octets", "test_ua_parameters_of_one_two_or_four_octets_are_read"),
    (
        "blocks smaller than the maximum asked, lists of length zero",
        "test_a_server_may_send_smaller_blocks_and_empty_lists",
    ),
    ("hundredths `FF`, deviation `8000`, dates left open", "test_hundredths_and_seconds_left_open_are_no_obstacle"),
    ("3 s between the parts of one push", "test_pauses_of_three_seconds_inside_a_push_are_no_silence"),
    ("no RLRQ: the link is disconnected instead", "test_a_meter_without_rlrq_is_left_by_disconnecting_the_link"),
)
"""What is taken without a switch, because the standard allows it or nothing can be mistaken for it; and its test."""
