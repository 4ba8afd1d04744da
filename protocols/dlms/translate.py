"""From captured octets to what they mean, layer by layer: for people, tools and test vectors.

``translate(octets, "hdlc")`` and its sisters return plain dictionaries, with the keys of ``tests/golden/dlms``. Given
the keys of a meter, ciphered content is opened, too; nothing is judged by counters, for a capture is in the past.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols.dlms import acse, axdr, profile
from protocols.dlms.acse import Mechanism
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.ciphering import CipheredApdu, Keys, decode_ciphered, is_ciphered, unprotect
from protocols.dlms.explain import Explained, dotted, explain_apdu, explain_data, explain_date_time, explain_frame
from protocols.dlms.hdlc.frames import DamagedFrameError, Frame, FrameReader
from protocols.dlms.hdlc.sequence import LLC_COMMAND, LLC_RESPONSE
from protocols.dlms.hls import Proof
from protocols.dlms.link import NeedData
from protocols.dlms.mbus import MbusFrame, MbusReader
from protocols.dlms.objects import decode_object_list
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.dlms.xdlms.general_block import BlockAssembly, GeneralBlock
from protocols.errors import RemoteProtocolError, UsageError


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the octets do not say: the sender's system title, keys, and for a proof its challenge's counter."""

    keys: Keys | None = None
    title: bytes | None = None
    counter: int = 0
    quirks: Quirks = field(default_factory=lambda: STRICT)


NOTHING_KNOWN = Circumstances()


def translate(octets: bytes, layer: str, known: Circumstances = NOTHING_KNOWN) -> Explained:
    """Return what ``octets`` mean as ``layer``, one of :data:`LAYERS`.

    Raises
    ------
    UsageError
        For an unknown layer.
    RemoteProtocolError
        For octets that break the rules of the layer.
    """
    explain = LAYERS.get(layer)
    if explain is None:
        raise UsageError(f"layer {layer!r}: expected one of {', '.join(LAYERS)}")
    return explain(octets, known)


def guess_layer(octets: bytes) -> str:
    """Return the layer that the first octets look like; ``axdr`` when they look like none."""
    if octets[:1] == b"\x7e":
        return "push" if _is_push(octets) else "hdlc"
    if octets[:2] == b"\0\1" and len(octets) >= 8 and int.from_bytes(octets[6:8], "big") <= len(octets) - 8:
        return "wrapper"
    if octets[:1] == b"\x68" and octets[3:4] == b"\x68":
        return "push"
    if octets[:1] in (b"\x60", b"\x61", b"\x62", b"\x63"):
        return "acse"
    if is_ciphered(octets):
        return "cipher"
    try:
        decode_apdu(octets)
    except RemoteProtocolError:
        return "axdr"
    return "xdlms"


# -- frames -----------------------------------------------------------------------------------------------------------


def _frames(octets: bytes) -> list[Frame]:
    """Return all frames; RemoteProtocolError when one is damaged or cut."""
    reader, frames = FrameReader(), []
    reader.receive_data(octets)
    while isinstance(frame := reader.next_frame(), Frame):
        frames.append(frame)
    if not frames or reader.pending > 1:
        raise DamagedFrameError("incomplete", f"{reader.pending} octets are no whole frame", len(octets))
    return frames


def _is_push(octets: bytes) -> bool:
    try:
        return all(frame.control & 0xEF == 0x03 for frame in _frames(octets))
    except RemoteProtocolError:
        return False


def _hdlc(octets: bytes, known: Circumstances) -> Explained:
    """Frames, and what they carry when it is one whole APDU that holds."""
    frames = _frames(octets)
    shown: Explained = {"frames": [explain_frame(frame) for frame in frames]}
    joined = b"".join(frame.information for frame in frames)
    if joined[:3] in (LLC_COMMAND, LLC_RESPONSE) and not frames[-1].segmented:
        shown["apdu_hex"] = joined[3:].hex()
        try:
            shown |= _any_apdu(joined[3:], known, "apdu", "plain_apdu")
        except RemoteProtocolError as error:
            shown["apdu_error"] = str(error)
    return shown


def _wrapper(octets: bytes, known: Circumstances) -> Explained:
    """Explain the first wrapped APDU; under ``then`` those after it, for a capture holds what one read brought."""
    reader = WrapperReader()
    reader.receive_data(octets)
    explained: list[Explained] = []
    while isinstance(wrapped := reader.next_wrapped(), Wrapped):
        head = {
            "version": 1,
            "src_wport": wrapped.source,
            "dst_wport": wrapped.destination,
            "length": len(wrapped.apdu),
            "apdu": wrapped.apdu.hex(),
        }
        explained.append({"wrapper": head} | _any_apdu(wrapped.apdu, known, "apdu", "plain_apdu"))
    if not explained or sum(8 + each["wrapper"]["length"] for each in explained) != len(octets):
        raise RemoteProtocolError("the octets end inside a wrapped APDU", offset=len(octets))
    return explained[0] | ({"then": explained[1:]} if explained[1:] else {})


# -- APDUs ------------------------------------------------------------------------------------------------------------


def _ciphered(apdu: CipheredApdu) -> Explained:
    control = apdu.control
    shown: Explained = {"apdu": apdu.name}
    if apdu.title is not None:
        shown["system_title"] = apdu.title.hex()
    return shown | {
        "security_control": {
            "suite": control.suite,
            "authenticated": control.authenticated,
            "encrypted": control.encrypted,
            "broadcast_key": control.broadcast_key,
            "compressed": control.compressed,
        },
        "sc": f"{control.octet:02x}",
        "invocation_counter": apdu.counter,
        "ciphered": apdu.payload.hex(),
    }


def _opened(apdu: CipheredApdu, known: Circumstances) -> bytes | None:
    title = apdu.title or known.title
    if known.keys is None or title is None:
        return None
    return unprotect(known.keys, title, apdu.control, apdu.counter, apdu.payload)


def _any_apdu(octets: bytes, known: Circumstances, outer: str, inner: str) -> Explained:
    """Explain an APDU under the key ``outer``; of a ciphered one also the plaintext, under ``inner``, with the key."""
    if not is_ciphered(octets):
        return {outer: explain_apdu(decode_apdu(octets, known.quirks))}
    ciphered = decode_ciphered(octets)
    shown: Explained = {outer: _ciphered(ciphered)}
    plaintext = _opened(ciphered, known)
    if plaintext is not None:
        shown |= {"plaintext": plaintext.hex(), inner: explain_apdu(decode_apdu(plaintext, known.quirks))}
    return shown


def _cipher(octets: bytes, known: Circumstances) -> Explained:
    return _any_apdu(octets, known, "apdu", "plain_apdu")


def _xdlms(octets: bytes, known: Circumstances) -> Explained:
    return explain_apdu(decode_apdu(octets, known.quirks))


def _acse(octets: bytes, known: Circumstances) -> Explained:
    apdu = decode_apdu(octets, known.quirks)
    shown = explain_apdu(apdu)
    kinds = acse.AssociationRequest | acse.AssociationResponse | acse.ReleaseRequest | acse.ReleaseResponse
    information = apdu.user_information if isinstance(apdu, kinds) else None
    if not information:
        return shown
    if not is_ciphered(information):
        return shown | {"user_information_decoded": explain_apdu(decode_apdu(information))}
    ciphered = decode_ciphered(information)
    shown["user_information_decoded"] = _ciphered(ciphered)
    plaintext = _opened(ciphered, known)
    if plaintext is not None:
        shown["user_information_plain"] = plaintext.hex()
        shown["user_information_plain_decoded"] = explain_apdu(decode_apdu(plaintext))
    return shown


# -- pushes -----------------------------------------------------------------------------------------------------------


def _push(octets: bytes, known: Circumstances) -> Explained:
    shown: Explained = {}
    if octets[:1] == b"\x7e":
        frames = _frames(octets)
        shown["hdlc"] = [explain_frame(frame) for frame in frames]
        pieces = [frame.information.removeprefix(LLC_RESPONSE).removeprefix(LLC_COMMAND) for frame in frames]
        shown |= _blocks(pieces)
        apdu = _joined(pieces)
    elif octets[:1] == b"\x68":
        parts = _parts(octets)
        shown["mbus"] = [_mbus(part) for part in parts]
        apdu = b"".join(part.octets for part in parts)
    elif octets[:2] == b"\0\1":
        return _wrapper(octets, known)
    else:
        apdu = octets
    if is_ciphered(apdu):
        return shown | _any_apdu(apdu, known, "cipher", "apdu")
    return shown | _any_apdu(apdu, known, "apdu", "plain_apdu")


def _blocks(pieces: list[bytes]) -> Explained:
    decoded = [decode_apdu(piece) for piece in pieces if piece[:1] == b"\xe0"]
    return {"gbt": [explain_apdu(block) for block in decoded]} if decoded else {}


def _joined(pieces: list[bytes]) -> bytes:
    """Join the frames of one push: general blocks by their numbers, segments one after the other."""
    blocks = BlockAssembly()
    for piece in pieces:
        block = decode_apdu(piece) if piece[:1] == b"\xe0" else None
        if not isinstance(block, GeneralBlock):
            return b"".join(pieces)
        whole = blocks.add(block)
        if whole is not None:
            return whole
    raise RemoteProtocolError("the last general block is missing")


def _parts(octets: bytes) -> list[MbusFrame]:
    reader, parts = MbusReader(), []
    reader.receive_data(octets)
    while not isinstance(part := reader.next_frame(), NeedData):
        parts.append(part)
    if not parts or not parts[-1].last:
        raise RemoteProtocolError("the octets end before the last M-Bus frame of the push", offset=len(octets))
    return parts


def _mbus(frame: MbusFrame) -> Explained:
    return {
        "c": f"{frame.control:02x}",
        "a": f"{frame.address:02x}",
        "ci": f"{frame.ci:02x}",
        "checksum_ok": True,
        "stop_ok": True,
        "stsap": frame.source_sap,
        "dtsap": frame.destination_sap,
    }


# -- values -----------------------------------------------------------------------------------------------------------


def _axdr(octets: bytes, known: Circumstances) -> Explained:
    del known
    return {"value": explain_data(axdr.decode(octets))}


def _profile(octets: bytes, known: Circumstances) -> Explained:
    return _axdr(octets, known) | {"n_rows": profile.decode_buffer(octets).row_count}


def _object_list(octets: bytes, known: Circumstances) -> Explained:
    del known
    entries = decode_object_list(axdr.decode(octets))
    shown: list[Any] = [[entry.class_id, entry.version, dotted(entry.obis)] for entry in entries]
    return {"count": len(entries), "objects": shown}


def _date_time(octets: bytes, known: Circumstances) -> Explained:
    del known
    return explain_date_time(octets)


def _hls(octets: bytes, known: Circumstances) -> Explained:
    """The proof with GMAC of the challenge in ``octets``."""
    if known.keys is None or known.title is None:
        raise UsageError("a GMAC proof needs the keys and the prover's system title")
    proof = Proof(Mechanism.HIGH_GMAC, octets, b"", known.title, b"", keys=known.keys)
    return {"mechanism": int(Mechanism.HIGH_GMAC), "token": proof.make(known.counter).hex()}


LAYERS: Mapping[str, Callable[[bytes, Circumstances], Explained]] = {
    "hdlc": _hdlc,
    "hdlc_stream": _hdlc,
    "wrapper": _wrapper,
    "acse": _acse,
    "xdlms": _xdlms,
    "cipher": _cipher,
    "push": _push,
    "axdr": _axdr,
    "profile": _profile,
    "object_list": _object_list,
    "cosem_datetime": _date_time,
    "hls": _hls,
}
