"""Reads a meter of IEC 62056-21 by its readout: sign-on at 300 baud, the speed is agreed, all data sets come at once.

One readout is one question: a meter that is interrupted begins anew. Modes A, B and C are read; in A and B the meter
goes on by itself, at a speed that it has told.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from edge_agent.costs import line_cost, questions_of
from edge_agent.failures import NoReplyError
from edge_agent.meter import Answer, ProfileValue, Question, fault_of
from edge_agent.tuned_line import TunedLine
from protocols.dlms.link import NEED_DATA
from protocols.errors import RemoteProtocolError
from protocols.iec62056_21.client import Client
from protocols.iec62056_21.messages import BAUD_FIRST, Mode
from protocols.iec62056_21.readout import DataSet
from protocols.iec62056_21.session import Event, Identified, ReadoutDone, Refused, Request, Select, SignOn, Silent
from protocols.iec62056_21.values import value_of
from protocols.meters.model import Group, Measurement, MeterModel

REACTION_S = 2.2  # IEC 62056-21, 6.4.2: a meter reacts within 1.5 s and pauses no longer between characters
SETTLING_S = 0.3  # IEC 62056-21, 6.4.2: 200 ms before the line may turn
READOUT_S_MAX = 60.0  # 1,500 lines at 9600 baud; what takes longer keeps a bus from all else
BROKEN_MAX = 5  # unreadable messages before a session is given up


class IecMeter:
    """One meter; ``device`` wakes it, an empty one wakes whichever is there."""

    def __init__(self, line: TunedLine, device: str, model: MeterModel) -> None:
        self._line = line
        self._device = device
        self._model = model
        self._baud_max = line.settings.baud
        self._has_parity = line.settings.parity != "N"
        # The port stays at eight bits without parity: characters of 7E1 pass as they are.
        self._first = replace(line.settings, baud=BAUD_FIRST, parity="N", stop_bits=1)
        self._cost = line_cost(line.settings)
        self._loop = asyncio.get_running_loop()

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        """Return what to ask for ``wanted``: one readout tells all."""
        return questions_of(self._model, wanted, self._cost)

    def free_at(self, question: Question) -> float:  # noqa: ARG002, as ModbusMeter's
        """Return that it can be asked at once: its frames are not taken for others'."""
        return 0.0

    async def ask(self, question: Question, *, probe: bool) -> Answer:  # noqa: ARG002, a sign-on is short by itself
        """Read the meter out."""
        try:
            async with asyncio.timeout(READOUT_S_MAX):
                data_sets = await self._read_out()
        except TimeoutError:
            error = NoReplyError(f"no end of the readout within {READOUT_S_MAX:.0f} s")
            return Answer((), failure=str(error), fault=fault_of(error))
        except (NoReplyError, RemoteProtocolError) as error:
            return Answer((), failure=str(error), fault=fault_of(error))
        values: list[tuple[Measurement, int]] = []
        refusals: list[str] = []
        for measurement in question.measurements:
            value = value_of(measurement, data_sets)
            if isinstance(value, int):
                values.append((measurement, value))
            else:
                refusals.append(f"{measurement.key}: {value}")
        return Answer(tuple(values), tuple(refusals))

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups``."""
        (question,) = self.questions([each for each in self._model.measurements if each.group in groups])
        return await self.ask(question, probe=probe)

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:  # noqa: ARG002
        """Say that a readout has no load profile; the configuration asks for none."""
        return "a meter of IEC 62056-21 is read by its readout, which has no load profile"

    async def _read_out(self) -> tuple[DataSet, ...]:
        await self._line.tune(self._first)
        self._line.discard()
        client = Client(parity=self._has_parity)
        event = await self._await(client, SignOn(self._device))
        if not isinstance(event, Identified):
            raise _unexpected(event, "an identification")
        request: Request | None = None
        if event.identification.waits_for_selection:
            await asyncio.sleep(SETTLING_S)
            request = Select(Mode.READOUT, self._baud_max)
        else:
            await self._line.switch(client.baud)
        event = await self._await(client, request)
        if not isinstance(event, ReadoutDone):
            raise _unexpected(event, "a readout")
        return event.readout.data_sets

    async def _await(self, client: Client, request: Request | None) -> Event:
        if request is not None:
            octets = client.send(request)
            await self._line.write(octets)
        if isinstance(request, Select):
            await self._line.switch(client.baud)
        last: RemoteProtocolError | None = None
        for _ in range(BROKEN_MAX):
            try:
                event = await self._next(client)
            except RemoteProtocolError as error:
                last = error
                await self._line.write(client.data_to_send())
                continue
            if isinstance(event, Silent):
                raise last or NoReplyError(event.reason)
            return event
        assert last is not None
        raise last

    async def _next(self, client: Client) -> Event:
        while True:
            event = client.next_event()
            if event is not NEED_DATA:
                assert not isinstance(event, type(NEED_DATA))
                return event
            try:
                client.receive_data(await self._line.read(self._loop.time() + REACTION_S))
            except NoReplyError:
                client.receive_silence()


def _unexpected(event: Event, what: str) -> RemoteProtocolError:
    said = event.words if isinstance(event, Refused) else type(event).__name__
    return RemoteProtocolError(f"found {said}, expected {what}")
