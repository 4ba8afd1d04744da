"""Firmware into simulated meters: whole, interrupted and resumed, repaired, refused; over TCP and HDLC."""

import pytest

from protocols.dlms import image
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import BitString, Data, Tag, octets_of
from protocols.dlms.image import Image, ImageRefusedError, ImageStatus, Pause
from protocols.dlms.services import Act, ActionDone, ActionRefused, DataAccessError, Get, GetResult, Set, SetDone
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from simulators.chance import key_of
from simulators.dlms.image_transfer import BLOCK_OCTETS, FIRMWARE, signed
from simulators.dlms.meter import DlmsMeter, Manners
from tests.simulators.meters import meter
from tests.simulators.test_dlms_complete import over_tcp, own_shell
from tests.simulators.test_dlms_meters import SECRET, connected, on_line

CONTENT = b"".join(key_of(1, "firmware", number).to_bytes(8, "big") for number in range(250))
GOOD = Image(b"CTO-2.0", signed(CONTENT))
BLOCKS = -(-len(GOOD.content) // BLOCK_OCTETS)
BAD = Image(b"CTO-2.0", CONTENT + bytes(32))


class UnpluggedError(Exception):
    """The line went away."""


def carry_out(shell, course, *, sends_max=1 << 30):
    """Go through a course; return its outcome and the requests made."""
    asked, event = [], None
    try:
        while True:
            step = course.send(event)
            event = None if isinstance(step, Pause) else shell.ask(step)
            asked.append(step)
            if sum(_is_block(each) for each in asked) >= sends_max:
                raise UnpluggedError
    except StopIteration as end:
        return end.value, asked


def _is_block(step):
    return isinstance(step, Act) and step.method.index == image.TRANSFER


def with_meter(talk, **manners):
    device = DlmsMeter(meter("dlms_residential", 17), SECRET, manners=Manners(**manners))
    return over_tcp([device], lambda shell_of: talk(own_shell(shell_of)))


def firmware(shell):
    return octets_of(shell.ask(Get(Attribute(1, FIRMWARE, 2))).value)


def whole(shell):
    seen = []
    was = firmware(shell)
    course = image.update(GOOD, activates=True, progress=lambda done, blocks: seen.append((done, blocks)))
    done, asked = carry_out(shell, course)
    return was, firmware(shell), done, asked, seen


def check_whole(found):
    was, now, done, asked, seen = found
    assert (was[:8], now) == (b"CTO-1.0-", b"CTO-2.0")
    assert done.status is ImageStatus.ACTIVATION_SUCCESSFUL
    assert (done.sent, done.blocks) == (BLOCKS, BLOCKS)
    assert [(each.size, each.identification, each.signature) for each in done.to_activate] == [
        (len(GOOD.content), b"CTO-2.0", GOOD.content[-32:])
    ]
    assert Pause(ImageStatus.VERIFICATION_INITIATED) in asked
    assert Pause(ImageStatus.ACTIVATION_INITIATED) in asked
    assert seen == [(number, BLOCKS) for number in range(BLOCKS + 1)]


def test_an_image_goes_over_tcp_whole_is_verified_and_activated():
    check_whole(with_meter(whole))


def test_an_image_goes_over_hdlc_whole_is_verified_and_activated(tmp_path):
    check_whole(on_line(tmp_path, [meter("dlms_residential", 17)], lambda shell_of: whole(connected(shell_of, 17))))


def interrupted(shell):
    with pytest.raises(UnpluggedError):
        carry_out(shell, image.update(GOOD), sends_max=4)
    status = image.status_of(shell.ask(image.read(image.STATUS)).value)
    resumed = carry_out(shell, image.update(GOOD, resume=True))
    again = carry_out(shell, image.update(GOOD, resume=True, activates=True))
    return status, resumed, again


def check_interrupted(found):
    status, (resumed, asked), (again, after) = found
    assert status is ImageStatus.INITIATED
    assert (resumed.status, resumed.sent) == (ImageStatus.VERIFICATION_SUCCESSFUL, BLOCKS - 4)
    assert not [each for each in asked if isinstance(each, Act) and each.method.index == image.INITIATE]
    assert (again.status, again.sent) == (ImageStatus.ACTIVATION_SUCCESSFUL, 0)
    assert not [each for each in after if _is_block(each)]


def test_an_interrupted_transfer_is_resumed_where_it_stopped_over_tcp():
    check_interrupted(with_meter(interrupted))


def test_an_interrupted_transfer_is_resumed_where_it_stopped_over_hdlc(tmp_path):
    line = [meter("dlms_residential", 17)]
    check_interrupted(on_line(tmp_path, line, lambda shell_of: interrupted(connected(shell_of, 17))))


def test_blocks_that_the_meter_lost_are_sent_again():
    done, asked = with_meter(lambda shell: carry_out(shell, image.update(GOOD)), loses_blocks=3)
    assert (done.status, done.sent) == (ImageStatus.VERIFICATION_SUCCESSFUL, BLOCKS + BLOCKS // 3)
    numbers = [each.parameter.content[0].content for each in asked if _is_block(each)]
    assert sorted(set(numbers)) == list(range(BLOCKS))
    assert numbers[BLOCKS:] == [number for number in range(BLOCKS) if number % 3 == 2]


def test_a_wrong_block_is_found_by_the_verification_and_repaired_by_a_transfer_without_resuming():
    def talk(shell):
        shell.ask(image.initiate(GOOD))
        short = shell.ask(image.transfer(3, b"short"))
        beyond = shell.ask(image.transfer(BLOCKS, bytes(BLOCK_OCTETS)))
        wrong = shell.ask(image.transfer(3, bytes(BLOCK_OCTETS)))
        first, _ = carry_out(shell, image.update(GOOD, resume=True))
        second, _ = carry_out(shell, image.update(GOOD, resume=True))
        return short, beyond, wrong, first, second

    short, beyond, wrong, first, second = with_meter(talk)
    assert (short.code, beyond.code) == (ActionResult.SCOPE_OF_ACCESS_VIOLATED,) * 2
    assert isinstance(wrong, ActionDone)
    assert (first.status, first.sent) == (ImageStatus.VERIFICATION_FAILED, BLOCKS - 1)
    assert (second.status, second.sent) == (ImageStatus.VERIFICATION_SUCCESSFUL, BLOCKS)


def test_a_wrong_signature_fails_the_verification_and_nothing_is_activated():
    def talk(shell):
        done, asked = carry_out(shell, image.update(BAD, activates=True))
        return done, asked, shell.ask(image.activate()), firmware(shell)

    done, asked, refused, still = with_meter(talk)
    assert (done.status, done.to_activate) == (ImageStatus.VERIFICATION_FAILED, ())
    assert not [each for each in asked if isinstance(each, Act) and each.method.index == image.ACTIVATE]
    assert isinstance(refused, ActionRefused)
    assert still[:8] == b"CTO-1.0-"


def test_another_image_than_the_one_begun_is_not_resumed_and_a_disabled_transfer_not_begun():
    other = Image(b"CTO-3.0", signed(CONTENT[:500]))

    def talk(shell):
        with pytest.raises(UnpluggedError):
            carry_out(shell, image.update(GOOD), sends_max=2)
        with pytest.raises(RemoteProtocolError, match="holds another"):
            carry_out(shell, image.update(other, resume=True))
        carry_out(shell, image.update(GOOD))
        with pytest.raises(RemoteProtocolError, match="verified another image"):
            carry_out(shell, image.update(other, resume=True))
        enabled = image.read(image.ENABLED).attribute
        assert shell.ask(Set(enabled, Data(Tag.BOOLEAN, False))) == SetDone(enabled)
        with pytest.raises(RemoteProtocolError, match="not enabled"):
            carry_out(shell, image.update(GOOD))
        return shell.ask(image.initiate(GOOD))

    refused = with_meter(talk)
    assert refused.code is ActionResult.READ_WRITE_DENIED


def test_the_meters_no_is_told_with_what_was_asked():
    huge = Image(b"CTO-2.0", bytes((1 << 20) + 1))

    def talk(shell):
        with pytest.raises(ImageRefusedError, match="initiate") as caught:
            carry_out(shell, image.update(huge))
        return caught.value.event

    assert with_meter(talk).code is ActionResult.OTHER_REASON


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Data(Tag.UNSIGNED, 1), "unsigned"),
        (Data(Tag.BIT_STRING, BitString(7, b"\xff")), "7 blocks"),
    ],
)
def test_a_status_of_other_blocks_is_not_believed(value, message):
    with pytest.raises(RemoteProtocolError, match=message):
        image.missing_of(value, 8)


def test_a_meter_that_never_gets_ready_or_has_no_such_object_is_given_up():
    course = image.update(GOOD, resume=True)
    answers = {
        image.BLOCK_SIZE: Data(Tag.DOUBLE_LONG_UNSIGNED, 200),
        image.ENABLED: Data(Tag.BOOLEAN, True),
        image.STATUS: Data(Tag.ENUM, ImageStatus.VERIFICATION_INITIATED),
    }
    meant = []

    class Busy:
        def ask(self, step):
            meant.append(step)
            return GetResult(step.attribute, answers[step.attribute.index])

    with pytest.raises(RemoteProtocolError, match="stays verification initiated"):
        carry_out(Busy(), course)
    assert len(meant) == 2 + image.PAUSES_MAX
    course = image.update(GOOD)
    asked = next(course)
    with pytest.raises(ImageRefusedError, match="attribute 2"):
        course.send(DataAccessError(asked.attribute, DataAccessResult.OBJECT_UNDEFINED))
