"""Frames as they pass, explained; what is secret is left out.

Three nets: of what is not known to be harmless (:mod:`edge_agent.dlms_tool.secrecy`) neither octets nor values are
shown; of the association's APDUs the fields that hold secrets are not; and every known key or secret, should it appear
anywhere else, is blotted out.
"""

from collections.abc import Callable, Iterable
from typing import Any

from edge_agent.dlms_tool.layers import tree
from edge_agent.dlms_tool.secrecy import NOT_SHOWN, Secrecy, bare
from protocols.dlms import acse
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import DED_TAGS, GENERAL_DED, Keys, is_ciphered
from protocols.dlms.hdlc.frames import Frame, FrameReader, FrameType
from protocols.dlms.hdlc.sequence import LLC_COMMAND, LLC_RESPONSE
from protocols.dlms.link import NEED_DATA
from protocols.dlms.octets import Cursor
from protocols.dlms.quirks import Quirks
from protocols.dlms.short_names import ShortNames
from protocols.dlms.translate import Circumstances, translate
from protocols.dlms.wrapper import Wrapped, WrapperReader
from protocols.dlms.xdlms.general_block import GENERAL_BLOCK, OCTETS_MAX, decode_general_block
from protocols.errors import ProtocolError, RemoteProtocolError

_UNSHOWN_KEYS = frozenset({"plaintext", "ciphered", "user_information", "user_information_plain", "dedicated_key"})
_DEDICATED = frozenset(bytes((tag,)) for tag in DED_TAGS.values()) | {bytes((GENERAL_DED,))}
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
        self._secrecy = Secrecy(quirks)

    def know(self, names: ShortNames) -> None:
        """Take the short names that the client learns, to know what is asked by them."""
        self._secrecy.names = names

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
                open_ = self._may_show(message.apdu, out)
                octets = message.encode().hex() if open_ else NOT_SHOWN
                self._line(f"{_arrow(out)} wPort {message.source} to {message.destination}  {octets}")
                self._explain(message.apdu, out, open_)
                self._join(message.apdu, out)
            else:
                self._frame(message, out)

    def _frame(self, frame: Frame, out: bool) -> None:
        way = self._ways[out]
        carries = frame.type in (FrameType.I, FrameType.UI) and bool(frame.information)
        in_one = not way.joined and not frame.segmented
        if carries:
            way.joined += frame.information
        whole = way.apdu if way.joined and not frame.segmented else None
        open_ = whole is not None and self._may_show(whole, out)  # A part cannot be judged.
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
        stations = f"{frame.source} to {frame.destination}"
        octets = NOT_SHOWN if carries and not open_ else frame.encode().hex()
        self._line(f"{_arrow(out)} {kind}{numbers}{flags}  {stations}  {octets}")
        if whole is not None:
            way.joined.clear()
            if open_ and not in_one:
                self._line(f"     joined: {whole.hex()}")
            self._explain(whole, out, open_)
            self._join(whole, out)

    def _join(self, apdu: bytes, out: bool) -> None:
        """Explain what general blocks carry when the last of them has passed."""
        carried = self._ways[out].carried(apdu)
        if carried is None:
            return
        count, whole = carried
        open_ = self._may_show(whole, out)
        self._line(f"     general blocks 1 to {count} joined: {whole.hex() if open_ else NOT_SHOWN}")
        self._explain(whole, out, open_)

    def _keys_for(self, apdu: bytes) -> Keys | None:
        return (self._dedicated if apdu[:1] in _DEDICATED else None) or self._keys

    def _may_show(self, apdu: bytes, out: bool) -> bool:
        return self._secrecy.may_show(apdu, self._keys_for(apdu), self._titles[out], out=out)

    def _explain(self, apdu: bytes, out: bool, open_: bool) -> None:
        layer = "acse" if apdu[:1] and apdu[0] in _ACSE else "cipher" if is_ciphered(apdu) else "xdlms"
        shown: dict[str, Any] | None = None
        for keys in (self._keys_for(apdu), None):
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
        kept = shown if open_ or layer == "acse" else bare(shown)
        for line in tree(_without_secrets(kept)):
            self._line(f"     {line}")

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
        self._blocks, self._next_block = bytearray(), 1

    def carried(self, apdu: bytes) -> tuple[int, bytes] | None:
        """Return how many general blocks an APDU came in and what it is, when ``apdu`` is the last of them.

        Blocks that come again, or after a gap, are passed over: what is missing is sent again from there.
        """
        if apdu[:1] != bytes((GENERAL_BLOCK,)):
            return None
        try:
            block = decode_general_block(Cursor(apdu, 1))
        except RemoteProtocolError:
            return None
        if block.number == 1:
            self._blocks.clear()
            self._next_block = 1
        if block.number != self._next_block or not block.octets or len(self._blocks) > OCTETS_MAX:
            return None
        self._blocks += block.octets
        self._next_block += 1
        return (block.number, bytes(self._blocks)) if block.last else None

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


def _without_secrets(shown: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in shown.items():
        if key in _UNSHOWN_KEYS:
            continue
        if key == "authentication_value" and shown.get("mechanism", 0) < Mechanism.HIGH:
            kept[key] = NOT_SHOWN  # a password; later mechanisms have a challenge there
        else:
            kept[key] = _without_secrets(value) if isinstance(value, dict) else value
    return kept


def _arrow(out: bool) -> str:
    return "->" if out else "<-"
