"""What billing refuses, in two languages: because of who asks for it, or because it is not due any more."""

from collections.abc import Mapping
from typing import Any

from billing_core.explain import Language, format_number
from ingest_server.billing.control_words import SIGNER_WORDS
from protocols.errors import UsageError

REFUSALS: Mapping[str, Mapping[Language, str]] = {
    "signs_too_low": {
        Language.VI: "hóa đơn {bill}: {who} ký với tư cách {role}, kiểm soát đòi {needed}: người đó phải ký duyệt",
        Language.EN: "bill {bill}: {who} signs as {role}, control asks for {needed}: let that person release it",
    },
    "held_it": {
        Language.VI: "hóa đơn {bill}: {who} đã giữ lại hoặc cho lập lại, nên không được ký duyệt: người khác phải ký "
        "(hai người duyệt)",
        Language.EN: "bill {bill}: {who} held it or had it billed again, and can't release it: another person must "
        "(four eyes)",
    },
    "cancelled_before": {
        Language.VI: "hóa đơn {bill}: {who} đã hủy hóa đơn trước nó, nên không được ký duyệt: người khác phải ký (hai "
        "người duyệt)",
        Language.EN: "bill {bill}: {who} cancelled the bill in whose place it stands, and can't release it: another "
        "person must (four eyes)",
    },
    "made_its_readings": {
        Language.VI: "hóa đơn {bill}: chỉ số trong thay đổi {change} do {maker} đưa vào, nên {maker} không được ký "
        "duyệt: người khác phải ký (hai người duyệt)",
        Language.EN: "bill {bill}: it rests on readings that {maker} put in with change {change}, so {maker} can't "
        "release it: another person must (four eyes)",
    },
    "proposed_it": {
        Language.VI: "điều chỉnh {number}: {who} đã đề nghị, người khác phải duyệt (hai người duyệt)",
        Language.EN: "difference {number}: {who} proposed it: another person must approve it (four eyes)",
    },
    "made_its_corrected_readings": {
        Language.VI: "điều chỉnh {number}: chỉ số trong thay đổi {change} do {maker} đưa vào, nên {maker} không được "
        "duyệt: người khác phải duyệt (hai người duyệt)",
        Language.EN: "difference {number}: it rests on readings that {maker} put in with change {change}, so {maker} "
        "can't approve it: another person must (four eyes)",
    },
    "approved_since": {
        Language.VI: "điều chỉnh {number}: điều chỉnh {other} đã được duyệt sau khi nó được tính; hãy bác nó và "
        "đề nghị lại",
        Language.EN: "difference {number}: another was approved since it was computed ({other}); reject it and propose "
        "anew",
    },
    "proposed_since": {
        Language.VI: "điều chỉnh {number}: điều chỉnh {other} của cùng hóa đơn đã thay nó; hãy bác nó và quyết định "
        "điều chỉnh {other}",
        Language.EN: "difference {number}: difference {other} of the same bill takes its place; reject it and decide "
        "on {other}",
    },
    "not_due_today": {
        Language.VI: "điều chỉnh {number}: chỉ số và hợp đồng hiện nay không còn cho ra điều chỉnh này; hãy bác nó và "
        "đề nghị lại: congto bill correct {asked}",
        Language.EN: "difference {number}: today's readings and contract do not come to it any more; reject it and "
        "propose anew: congto bill correct {asked}",
    },
    "not_computed_today": {
        Language.VI: "điều chỉnh {number}: hiện nay không tính lại được hóa đơn của nó ({why}); congto bill correct "
        "{asked} cho biết cách xử lý",
        Language.EN: "difference {number}: its bill can't be computed today ({why}); congto bill correct {asked} "
        "says what to do",
    },
    "decides_too_low": {
        Language.VI: "điều chỉnh {number}: {who} là {role}; kiểm soát viên trở lên mới được quyết định",
        Language.EN: "difference {number}: {who} is a {role}; a controller or higher decides",
    },
    "cancels_too_low": {
        Language.VI: "hóa đơn {bill}: {who} là {role}; kiểm soát viên trở lên mới được hủy",
        Language.EN: "bill {bill}: {who} is a {role}; a controller or higher cancels",
    },
    "difference_beyond_limit": {
        Language.VI: "điều chỉnh {number}: thay đổi {kwh} kWh và {vnd} đ; {role} được duyệt đến {kwh_max} kWh và "
        "{vnd_max} đ: người có hạn mức cao hơn phải duyệt",
        Language.EN: "difference {number}: it moves {kwh} kWh and {vnd} đ; a {role} may approve {kwh_max} kWh and "
        "{vnd_max} đ: somebody with a higher limit must approve it",
    },
    "change_beyond_limit": {
        Language.VI: "thay đổi {number}: làm hóa đơn chênh {kwh} kWh và {vnd} đ; {role} được duyệt đến {kwh_max} kWh "
        "và {vnd_max} đ: người có hạn mức cao hơn phải duyệt",
        Language.EN: "change {number}: it moves a bill by {kwh} kWh and {vnd} đ; a {role} may approve {kwh_max} kWh "
        "and {vnd_max} đ: somebody with a higher limit must approve it",
    },
    "cancel_beyond_limit": {
        Language.VI: "hóa đơn {bill}: hủy đi {kwh} kWh và {vnd} đ; {role} được hủy đến {kwh_max} kWh và {vnd_max} đ: "
        "người có hạn mức cao hơn phải hủy",
        Language.EN: "bill {bill}: cancelling it takes back {kwh} kWh and {vnd} đ; a {role} may cancel {kwh_max} kWh "
        "and {vnd_max} đ: somebody with a higher limit must cancel it",
    },
}
ROLE_WORDS: Mapping[str, Mapping[Language, str]] = {
    "biller": {Language.VI: "nhân viên tính hóa đơn", Language.EN: "biller"},
    **{name: {Language.VI: words[Language.VI], Language.EN: name} for name, words in SIGNER_WORDS.items()},
}


class RefusedError(UsageError):
    """Somebody may not do this, or not now; the message is what ``REFUSALS`` say in English.

    Parameters
    ----------
    reason
        Which of :data:`REFUSALS`.
    operands
        What its sentence names; ``role`` and ``needed`` are roles, numbers are written as the language does.
    """

    def __init__(self, reason: str, **operands: Any) -> None:
        self.reason, self.operands = reason, operands
        super().__init__(self.told(Language.EN))

    def told(self, language: Language) -> str:
        """Return the sentence in a language."""
        words = {name: _word(name, value, language) for name, value in self.operands.items()}
        return REFUSALS[self.reason][language].format(**words)


def _word(name: str, value: Any, language: Language) -> str:
    if name in ("role", "needed"):
        return ROLE_WORDS[value][language]
    if name in ("kwh", "vnd", "kwh_max", "vnd_max"):
        return format_number(value, language)
    return str(value)
