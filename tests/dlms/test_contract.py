"""The examples of docs/contracts/dlms-api.md, run: both halves over a pipe in memory, by the words of the contract."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.dlms import plan
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association, Policy
from protocols.dlms.client import DlmsClient
from protocols.dlms.data import double_long_unsigned
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.objects import ScalerUnit, scaler_unit_of, to_base
from protocols.dlms.plan import ends
from protocols.dlms.server import DlmsServer
from protocols.dlms.services import Associated, Connect, GetResult, Release
from protocols.dlms.wrapper import WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Shelf

CONTRACT = Path(__file__).parents[2] / "docs" / "contracts" / "dlms-api.md"
ENERGY = Obis.parse("1.0.1.8.0")
SECRET = b"12345678"


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", CONTRACT.read_text(encoding="utf-8"), re.DOTALL)


def exchange_of_the_contract() -> Callable[..., list[Any]]:
    """Return the function ``exchange`` as the contract prints it."""
    (source,) = (example for example in examples() if example.startswith("def exchange"))
    names: dict[str, Any] = {"NEED_DATA": NEED_DATA, "RemoteProtocolError": RemoteProtocolError, "ends": ends}
    exec(compile(source, str(CONTRACT), "exec"), names)
    return names["exchange"]  # type: ignore[no-any-return]  # what the contract defines


class Pipe:
    """The shell's ``write`` and ``read``; the meter answers at once."""

    def __init__(self, server: DlmsServer) -> None:
        self.server = server

    def write(self, data: bytes) -> None:
        self.server.receive_data(data)
        while self.server.next_event() is not NEED_DATA:
            pass

    def read(self) -> bytes:
        return self.server.data_to_send()


def test_every_import_in_the_contract_exists() -> None:
    imports = [line for example in examples() for line in example.splitlines() if line.startswith("from ")]
    assert len(imports) > 10
    for line in imports:
        exec(line, {})


def test_a_register_is_read_by_the_words_of_the_contract_over_both_links() -> None:
    attributes = [Attribute(3, ENERGY, 2), Attribute(3, ENERGY, 3)]
    objects = Shelf({attributes[0]: double_long_unsigned(1234), attributes[1]: ScalerUnit(1, 30).to_data()})
    policies = {1: Policy(Mechanism.LOW, SECRET)}
    association = Association(Mechanism.LOW, SECRET)
    exchange = exchange_of_the_contract()
    for client, server in (
        (
            DlmsClient(HdlcParameters(1, 1, 17, 2), association),
            DlmsServer(HdlcServerParameters(1, 17), policies, objects),
        ),
        (DlmsClient(WrapperParameters(1), association), DlmsServer(WrapperServerParameters(), policies, objects)),
    ):
        pipe = Pipe(server)
        assert isinstance(exchange(client, Connect(), pipe.write, pipe.read)[-1], Associated)
        assert client.granted is not None
        requests = plan.read_attributes(attributes, client.granted.conformance)
        results = [
            result
            for request in requests
            for result in plan.results_of(exchange(client, request, pipe.write, pipe.read)[-1])
        ]
        value, scaler_unit = (result.value for result in results if isinstance(result, GetResult))
        assert isinstance(value.content, int)
        assert to_base(value.content, scaler_unit_of(scaler_unit), ENERGY) == 12340
        assert exchange(client, Release(), pipe.write, pipe.read)[-1] == LinkDown("disconnected")


def test_a_silent_meter_ends_in_link_down_by_the_words_of_the_contract() -> None:
    exchange = exchange_of_the_contract()
    for parameters in (HdlcParameters(), WrapperParameters()):
        events = exchange(DlmsClient(parameters, Association()), Connect(), lambda data: None, lambda: b"")
        assert isinstance(events[-1], LinkDown)
