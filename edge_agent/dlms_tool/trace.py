"""Frames as they pass, explained; what is secret is left out.

Three nets: an APDU that carries a secret by its nature (AARQ, the proof's password, a SET or ACTION on an association
or a security setup) is shown without its octets; the fields that hold secrets are not shown; and every known key or
secret, should it appear anywhere else, is blotted out.
"""

from collections.abc import Callable, Iterable
from typing import Any

from edge_agent.dlms_tool.layers import tree
from protocols.dlms import acse
from protocols.dlms.association import Association
from protocols.dlms.ciphering import Keys, is_ciphered
from protocols.dlms.hdlc.frames import Address, Frame, FrameReader, FrameType
from protocols.dlms.hdlc.sequence import LLC_COMMAND, LLC_RESPONSE
from protocols.dlms.link import NEED_DATA
from protocols.dlms.quirks import Quirks
from protocols.dlms.translate import Circumstances, translate
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.errors import ProtocolError, RemoteProtocolError

NOT_SHOWN = "(not shown)"
_UNSHOWN_KEYS = frozenset({"plaintext", "ciphered", "user_information", "user_information_plain", "dedicated_key"})
_SECRET_CLASSES = frozenset({15, 12, 64})  # associations and security setup: secrets are set and keys handed over
_VALUES = ("data", "parameters", "raw_data", "results", "return")
_ACSE = frozenset({acse.AARQ, acse.AARE, acse.RLRQ, acse.RLRE})


class Trace:
    """Both directions of one session. ``write`` takes lines."""

    def __init__(
        self,
        *,
        hdlc: bool,
        association: Association,
        quirks: Quirks,
        secrets: Iterable[bytes],
        write: Callable[[str], None],
    ) -> None:
        self._write = write
        self._blots = [form for secret in secrets for form in (secret.hex(), secret.decode("latin-1")) if form]
        ciphering = association.ciphering
        keys = ciphering.keys if ciphering is not None else None
        dedicated = ciphering.dedicated_key if ciphering is not None else None
        self._keys = keys
        self._dedicated = Keys(dedicated, keys.authentication) if dedicated and keys else None
        self._quirks = quirks
        self._titles = {
            True: ciphering.title if ciphering else None,
            False: ciphering.peer_title if ciphering else None,
        }
        self._ways = {out: _Way(hdlc) for out in (True, False)}
        self._secret_asked = False

    def sent(self, data: bytes) -> None:
        """Show what was written."""
        self._show(data, out=True)

    def received(self, data: bytes) -> None:
        """Show what was read."""
        self._show(data, out=False)

    def note(self, text: str) -> None:
        """Show a remark."""
        self._line(f"-- {text}")

    def _show(self, data: bytes, *, out: bool) -> None:
        for message in self._ways[out].take(data):
            if isinstance(message, RemoteProtocolError):
                self._line(f"{_arrow(out)} broken: {message}")
            elif isinstance(message, Wrapped):
                hidden = self._is_hidden(message.apdu, out)
                octets = NOT_SHOWN if hidden else message.encode().hex()
                self._line(f"{_arrow(out)} wPort {message.source} to {message.destination}  {octets}")
                self._explain(message.apdu, out)
            else:
                self._frame(message, out)

    def _frame(self, frame: Frame, out: bool) -> None:
        way = self._ways[out]
        if frame.type in (FrameType.I, FrameType.UI):
            way.joined += frame.information
        hidden = self._is_hidden(way.apdu, out)
        kind = frame.type.name if frame.type is not None else f"control {frame.control:02x}"
        numbers = (
            {
                FrameType.I: f" N(S)={frame.send_number} N(R)={frame.receive_number}",
                FrameType.RR: f" N(R)={frame.receive_number}",
                FrameType.RNR: f" N(R)={frame.receive_number}",
            }.get(frame.type, "")
            if frame.type is not None
            else ""
        )
        flags = (" P/F" if frame.poll_final else "") + (" segmented" if frame.segmented else "")
        stations = f"{_station(frame.source)} to {_station(frame.destination)}"
        octets = NOT_SHOWN if hidden and frame.information else frame.encode().hex()
        self._line(f"{_arrow(out)} {kind}{numbers}{flags}  {stations}  {octets}")
        if way.joined and not frame.segmented:
            apdu = way.apdu
            way.joined.clear()
            self._explain(apdu, out)

    def _is_hidden(self, apdu: bytes, out: bool) -> bool:
        """Return whether an APDU, perhaps only its beginning, may carry a secret in the clear."""
        if not out:
            return self._secret_asked
        of_class = int.from_bytes(apdu[3:5], "big") if apdu[:1] in (b"\xc1", b"\xc3") else -1
        return apdu[:1] == bytes((acse.AARQ,)) or of_class in _SECRET_CLASSES

    def _explain(self, apdu: bytes, out: bool) -> None:
        layer = "acse" if apdu[:1] and apdu[0] in _ACSE else "cipher" if is_ciphered(apdu) else "xdlms"
        dedicated = self._dedicated if (apdu[:1] and 0xD0 <= apdu[0] <= 0xD7) or apdu[:1] == b"\xdc" else None
        shown: dict[str, Any] | None = None
        for keys in (dedicated or self._keys, None):
            try:
                shown = translate(apdu, layer, Circumstances(keys, self._titles[out], quirks=self._quirks))
                break
            except ProtocolError as error:
                refusal = str(error)
        if shown is None:
            self._line(f"     cannot be explained: {refusal}")
            return
        title = shown.get("responding_ap_title")
        if not out and title and self._titles[False] is None:
            self._titles[False] = bytes.fromhex(title)
        for line in tree(self._without_secrets(shown, out)):
            self._line(f"     {line}")

    def _without_secrets(self, shown: dict[str, Any], out: bool) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        about = shown.get("attribute") or shown.get("method") or {}
        if out:
            secret_get = str(shown.get("apdu", "")).startswith("get") and about.get("class_id") in _SECRET_CLASSES
            self._secret_asked = bool(secret_get and about.get("class_id") != 64 and about.get("index") == 7)
        hidden = (out and about.get("class_id") in _SECRET_CLASSES) or (not out and self._secret_asked)
        for key, value in shown.items():
            if key in _UNSHOWN_KEYS:
                continue
            if (hidden and key in _VALUES) or (key == "authentication_value" and shown.get("mechanism") == 1):
                kept[key] = NOT_SHOWN
            elif isinstance(value, dict):
                kept[key] = self._without_secrets(value, out) if "apdu" in value else value
            else:
                kept[key] = value
        return kept

    def _line(self, text: str) -> None:
        for blot in self._blots:
            text = text.replace(blot, NOT_SHOWN)
        self._write(text)


class _Way:
    """One direction: where its messages end."""

    def __init__(self, hdlc: bool) -> None:
        self._frames, self._wrapped = FrameReader(), WrapperReader()
        self._hdlc = hdlc
        self.joined = bytearray()

    @property
    def apdu(self) -> bytes:
        """The APDU in the frames so far."""
        return bytes(self.joined).removeprefix(LLC_COMMAND).removeprefix(LLC_RESPONSE)

    def take(self, data: bytes) -> Iterable[Frame | Wrapped | RemoteProtocolError]:
        """Yield the messages that are complete now."""
        reader = self._frames if self._hdlc else self._wrapped
        reader.receive_data(data)
        while True:
            try:
                message = self._frames.next_frame() if self._hdlc else self._wrapped.next_wrapped()
            except RemoteProtocolError as error:
                yield error
                continue
            if message is NEED_DATA:
                return
            assert isinstance(message, Frame | Wrapped)
            yield message


def _station(address: Address) -> str:
    return str(address.upper) if address.lower is None else f"{address.upper}/{address.lower}"


def _arrow(out: bool) -> str:
    return "->" if out else "<-"
