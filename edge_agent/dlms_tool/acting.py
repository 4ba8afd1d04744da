"""``congto dlms set``, ``action``, ``disconnect`` and ``reconnect``: what changes a meter, and what it says to that."""

import argparse
import asyncio

from edge_agent.dlms_tool import items, keys, screen, target
from edge_agent.dlms_tool.pushed_values import text_of
from edge_agent.dlms_tool.refusals import RefusedError, refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms import control
from protocols.dlms.control import ControlState, RelayState
from protocols.dlms.data import Data, integer
from protocols.dlms.explain import explain_data
from protocols.dlms.objects import SCALER_UNIT_INDEX
from protocols.dlms.services import Act, ActionDone, DataAccessError, GetResult, Set, SetDone
from protocols.dlms.xdlms.references import SECRET_CLASSES, Attribute
from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import Obis

CONTROL_MODES = "control_mode (attribute 4) says which ways the meter allows; 0 means: always connected"
VALUE_HELP = "a number, text, hex or a time; a secret as @env:VAR or @file:PATH"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action that ``parser`` is for."""
    action = (parser.prog or "").rpartition(" ")[2]
    if action == "set":
        parser.add_argument("item", metavar="[CLASS:]OBIS:INDEX", help="the attribute, such as 8:0.0.1.0.0:3")
        parser.add_argument("type", metavar="TYPE", help=f"one of {', '.join(items.VALUE_TYPES)}")
        parser.add_argument("value", metavar="VALUE", nargs="?", default="", help=VALUE_HELP)
        keys.add_key_arguments(parser, "value", "VALUE, when it is a secret", direct=False)
    elif action == "action":
        parser.add_argument("item", metavar="[CLASS:]OBIS:INDEX", help="the method, such as 70:0.0.96.3.10:2")
        parser.add_argument("type", metavar="TYPE", nargs="?", help="of the parameter; default integer 0")
        parser.add_argument("value", metavar="VALUE", nargs="?", default="", help=VALUE_HELP)
        parser.add_argument("--no-parameter", action="store_true", help="send none")
    else:
        parser.add_argument("--relay", default=str(control.RELAY_OBIS), metavar="OBIS", help="default 0.0.96.3.10")
        parser.add_argument("--yes", action="store_true", help="do it; without, only the state is read")
    if action in ("set", "action"):
        parser.add_argument(
            "--deviation", type=int, default=-420, metavar="MINUTES", help="of a date-time; default -420"
        )
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    if arguments.action == "set":
        return asyncio.run(_set(arguments))
    if arguments.action == "action":
        return asyncio.run(_act(arguments))
    return asyncio.run(_switch(arguments, connect=arguments.action == "reconnect"))


async def _set(arguments: argparse.Namespace) -> int:
    attribute = items.parse_attribute(arguments.item, None)
    hidden = keys.text_of(argparse.Namespace(**{**vars(arguments), "value": None}), "value")
    if hidden is not None and arguments.value:
        raise UsageError("give VALUE or --value-env or --value-file")
    value = _value(arguments, attribute, hidden)
    is_secret = attribute.class_id in SECRET_CLASSES
    async with associated(target.parse(arguments), trace=arguments.trace) as session:
        event = await session.ask(Set(attribute, value))
        if not isinstance(event, SetDone):
            raise refusal_of(event, f"SET {attribute}") or RemoteProtocolError(f"found {type(event).__name__}")
        after = None if is_secret else await session.ask_back(attribute)
        if (attribute.class_id, attribute.index) in SCALER_UNIT_INDEX.items():
            await session.remembered.forget_scalers()
    _print_done(arguments, f"{attribute} written", attribute, after)
    return 0


async def _act(arguments: argparse.Namespace) -> int:
    method = items.parse_attribute(arguments.item, None)
    if arguments.no_parameter and arguments.type:
        raise UsageError("--no-parameter goes without TYPE and VALUE")
    parameter: Data | None = integer(0)  # Blue Book 4: most methods without a meaning for it take integer (0)
    if arguments.no_parameter:
        parameter = None
    elif arguments.type:
        parameter = _value(arguments, method)
    async with associated(target.parse(arguments), trace=arguments.trace) as session:
        event = await session.ask(Act(method, parameter))
        if not isinstance(event, ActionDone):
            raise refusal_of(event, f"ACTION {method}") or RemoteProtocolError(f"found {type(event).__name__}")
    _print_done(arguments, f"{method} done", method, event.value)
    return 0


def _value(arguments: argparse.Namespace, about: Attribute, hidden: str | None = None) -> Data:
    """Return the value to send; one that may be a secret is in no message."""
    text, is_named = keys.value_of(arguments.value) if hidden is None else (hidden, True)
    try:
        return items.parse_value(arguments.type, text, arguments.deviation)
    except UsageError:
        if not is_named and about.class_id not in SECRET_CLASSES:
            raise
    words = ", ".join(items.VALUE_TYPES)
    raise UsageError(f"VALUE (not shown) is no {arguments.type}; expected one of {words}; an octet-string as hex")


def _print_done(arguments: argparse.Namespace, words: str, about: Attribute, value: Data | None) -> None:
    if arguments.json:
        shown = None if value is None else explain_data(value)
        screen.print_json(
            {"class": about.class_id, "obis": str(about.obis), "index": about.index, "done": True, "value": shown}
        )
    else:
        print(words if value is None else f"{words}: {text_of(value)}")


async def _switch(arguments: argparse.Namespace, *, connect: bool) -> int:
    """Switch the relay and believe only what is read back; status 1 when it is not as asked for."""
    relay = Obis.parse(arguments.relay)
    async with associated(target.parse(arguments), trace=arguments.trace) as session:
        before = await _relay_state(session, relay)
        after = before
        if arguments.yes:
            event = await session.ask(control.switch(connect=connect, obis=relay))
            if not isinstance(event, ActionDone):
                refusal = refusal_of(event, f"{arguments.action}: {relay}")
                raise RefusedError(f"{refusal}; {CONTROL_MODES}") if refusal else RemoteProtocolError(str(event))
            after = await _relay_state(session, relay)
    if arguments.json:
        screen.print_json({"relay": str(relay), "done": arguments.yes, "before": _json(before), "after": _json(after)})
    elif arguments.yes:
        print(f"relay {relay}: was {_words(before)}; now {_words(after)}")
    else:
        print(f"relay {relay}: {_words(before)}; nothing was done: add --yes to {arguments.action} this customer")
    if not arguments.yes:
        return 1
    wanted = (ControlState.CONNECTED, ControlState.READY_FOR_RECONNECTION) if connect else (ControlState.DISCONNECTED,)
    return 0 if after.control in wanted or (not connect and not after.conducts) else 1


async def _relay_state(session: MeterSession, relay: Obis) -> RelayState:
    results: list[GetResult | DataAccessError] = []
    for request in control.read_relay(relay):
        event = await session.ask(request)
        if not isinstance(event, GetResult):
            raise refusal_of(event, f"relay {relay}") or RemoteProtocolError(f"found {type(event).__name__}")
        results.append(event)
    return control.relay_state_of(results)


def _words(state: RelayState) -> str:
    hand = ", a hand at the meter closes it" if state.control is ControlState.READY_FOR_RECONNECTION else ""
    word = state.control.name.lower().replace("_", " ")
    return f"{word} ({'conducts' if state.conducts else 'open'}{hand})"


def _json(state: RelayState) -> dict[str, object]:
    return {"conducts": state.conducts, "control_state": int(state.control), "word": state.control.name.lower()}
