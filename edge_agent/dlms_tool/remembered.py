"""What a session need not ask again: the object list of a model and firmware, the scalers of a meter and firmware.

Who the meter is, is asked first: its logical device name and its firmware, in one question where it can. Without
``--model`` its name stands for the model, so a list is never taken from one meter for another; with it, all meters of
that model and firmware share theirs. Short names are different: who a meter is can be asked only by names that are
known, so they are kept by place, and believed when the meter that answers by them is the one that they were kept of.
"""

import sys
from collections.abc import Sequence

from edge_agent.dlms_cache import (
    FIRMWARE,
    LOGICAL_DEVICE_NAME,
    SERIAL_NUMBER,
    CacheRefused,
    Identity,
    Kept,
    identity_of,
)
from edge_agent.dlms_tool.asking import Asks, get_all, read_scalers, requests_for, scalers_at
from edge_agent.dlms_tool.refusals import RefusedError, refusal_of
from edge_agent.dlms_tool.target import Memory
from protocols.dlms import axdr
from protocols.dlms.client import DlmsClient
from protocols.dlms.data import Data
from protocols.dlms.objects import ScalerUnit, decode_object_list
from protocols.dlms.services import Get, GetResult
from protocols.dlms.short_names import OBJECT_LIST, ShortNames
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis

CURRENT_ASSOCIATION = Attribute(15, Obis(0, 0, 40, 0, 0), 2)
_WHAT = "object list"


class Remembered:
    """The memory of one session; without ``memory`` all is asked of the meter."""

    def __init__(self, session: Asks, client: DlmsClient, memory: Memory | None) -> None:
        self._session, self._client, self._memory = session, client, memory
        self._identity: Identity | None = None
        self._list: Data | None = None
        self._is_full = False

    # -- the object list ----------------------------------------------------------------------------------------------

    async def object_list(self) -> Data:
        """Return the association's object list."""
        if self._list is None:
            if self._session.target.association.uses_short_names:
                await self.learn_names()
            else:
                self._list = await self._logical_list()
        assert self._list is not None
        return self._list

    async def _logical_list(self) -> Data:
        subject = await self._subject("object list", of_model=True)
        if (kept := self._load(subject)) is not None and (found := _decoded(kept.objects)) is not None:
            return found
        value = await self._ask(CURRENT_ASSOCIATION)
        decode_object_list(value)  # What is no list is not kept.
        self._store(subject, Kept(axdr.encode(value)))
        return value

    async def learn_names(self) -> None:
        """Have the client learn the meter's short names: those kept of this place, if this meter answers by them."""
        memory = self._memory
        subject = memory.subject("short names", memory.place) if memory is not None else None
        kept = self._load(subject)
        if kept is not None and (found := _learned(self._client.short_names, kept.objects)) is not None:
            if str(await self._who()) == kept.identity:
                self._list = found
                return
            self._tell(f"another meter than {kept.identity} answers; its object list is read anew")
        names = self._client.short_names
        names.bases.clear()
        names.bases.update(ShortNames().bases)
        self._list = await self._ask(OBJECT_LIST)
        names.learn(self._list)
        self._identity = None
        if subject is not None and (who := await self._who()).device:
            self._store(subject, Kept(axdr.encode(self._list), str(who)))

    async def _ask(self, attribute: Attribute) -> Data:
        event = await self._session.ask(Get(attribute))
        if isinstance(event, GetResult):
            return event.value
        raise refusal_of(event, _WHAT) or RemoteProtocolError(f"{_WHAT}: found {type(event).__name__}")

    # -- scalers ------------------------------------------------------------------------------------------------------

    async def scalers(self, registers: Sequence[Attribute]) -> dict[Attribute, ScalerUnit]:
        """Return the scaler and unit of each register that has one; from memory where that saves a question."""
        questions = len(requests_for(self._session, scalers_at(registers)))
        to_know = 0 if self._identity else len(requests_for(self._session, (LOGICAL_DEVICE_NAME, FIRMWARE)))
        if self._memory is None or (questions <= to_know and not self._memory.fresh):
            return await read_scalers(self._session, registers)
        subject = await self._subject("scalers", of_model=False)
        kept = self._load(subject)
        known = dict(kept.scalers) if kept is not None else {}
        missing = [each for each in registers if each not in known]
        if missing:
            known |= await read_scalers(self._session, missing)
            self._store(subject, Kept(scalers=known))
        return {each: known[each] for each in registers if each in known}

    async def forget_scalers(self) -> None:
        """Forget this meter's scalers: one of them was written."""
        if self._memory is not None:
            self._store(await self._subject("scalers", of_model=False), Kept())

    # -- who the meter is ---------------------------------------------------------------------------------------------

    async def _subject(self, kind: str, *, of_model: bool) -> dict[str, str] | None:
        """Return what is kept under, None when nothing can be kept: the meter does not say who it is."""
        memory = self._memory
        if memory is None:
            return None
        who = await self._who()
        if not who.device:
            return None
        shared = of_model and memory.model and who.firmware
        return memory.subject(kind, f"model {memory.model}" if shared else who.device, who.firmware)

    async def _who(self) -> Identity:
        if self._identity is None:
            try:
                self._identity = await self._ask_who()
            except RefusedError:
                self._identity = Identity("")
        return self._identity

    async def _ask_who(self) -> Identity:
        name, firmware = await self._values(LOGICAL_DEVICE_NAME, FIRMWARE)
        protection = self._client.protection
        title = protection.peer_title if protection is not None else None
        found = identity_of(name, firmware, title, None)
        if found.device:
            return found
        (serial,) = await self._values(SERIAL_NUMBER)
        return identity_of(None, firmware, None, serial)

    async def _values(self, *attributes: Attribute) -> list[Data | None]:
        names = self._client.short_names
        by_names = self._session.target.association.uses_short_names
        asked = [each for each in attributes if not by_names or names.knows(each)]
        results = dict(zip(asked, await get_all(self._session, asked), strict=True))
        found = [results.get(each) for each in attributes]
        return [each.value if isinstance(each, GetResult) else None for each in found]

    # -- the disk -----------------------------------------------------------------------------------------------------

    def _load(self, subject: dict[str, str] | None) -> Kept | None:
        if self._memory is None or subject is None or self._memory.fresh:
            return None
        found = self._memory.cache.load(subject)
        if isinstance(found, CacheRefused):
            self._tell(str(found))
            return None
        return found

    def _store(self, subject: dict[str, str] | None, kept: Kept) -> None:
        if self._memory is None or subject is None or self._is_full:
            return
        if why := self._memory.cache.store(subject, kept):
            self._is_full = True
            self._tell(f"nothing is kept for the next time: {why}")

    def _tell(self, what: str) -> None:
        print(f"congto: cache: {what}", file=sys.stderr)


def _decoded(octets: bytes) -> Data | None:
    """Return an object list that was kept, None when it is none."""
    try:
        value = axdr.decode(octets)
        decode_object_list(value)
    except RemoteProtocolError:
        return None
    return value


def _learned(names: ShortNames, octets: bytes) -> Data | None:
    try:
        value = axdr.decode(octets)
        names.learn(value)
    except RemoteProtocolError:
        return None
    return value
