"""What bill control, a month's standing and the ledger are called on a terminal, in Vietnamese and English."""

from collections.abc import Mapping
from typing import TypeAlias

from billing_core.control.judge import ControlRule
from billing_core.control.thresholds import Signer
from billing_core.explain import Language
from billing_core.ledger import Account

Words: TypeAlias = Mapping[Language, str]

RULE_WORDS: Mapping[str, Words] = {
    ControlRule.GROWTH.value: {
        Language.VI: "tăng nhiều so với tháng trước",
        Language.EN: "grew against the month before",
    },
    ControlRule.HISTORY.value: {
        Language.VI: "khác xa mức dùng các kỳ trước",
        Language.EN: "far from what its history lets expect",
    },
    ControlRule.LAST_YEAR.value: {
        Language.VI: "khác xa cùng kỳ năm trước",
        Language.EN: "far from the same month last year",
    },
    ControlRule.ZERO.value: {Language.VI: "không có điện năng", Language.EN: "no energy"},
    ControlRule.AMOUNT.value: {Language.VI: "số tiền lớn", Language.EN: "large amount"},
    ControlRule.NEGATIVE.value: {Language.VI: "âm", Language.EN: "below zero"},
    ControlRule.ESTIMATED.value: {Language.VI: "dựa trên chỉ số ước tính", Language.EN: "rests on an estimate"},
    ControlRule.FIRST.value: {Language.VI: "hóa đơn đầu tiên", Language.EN: "first bill"},
    ControlRule.SOLAR_NEW.value: {
        Language.VI: "hóa đơn đầu tiên có điện mặt trời",
        Language.EN: "first bill with solar",
    },
    ControlRule.TERMS_CHANGED.value: {Language.VI: "hợp đồng đã đổi", Language.EN: "contract changed"},
}
"""Why a bill waits for a signature."""

SIGNER_WORDS: Mapping[str, Words] = {
    Signer.NOBODY.value: {Language.VI: "không ai", Language.EN: "nobody"},
    Signer.CONTROLLER.value: {Language.VI: "kiểm soát viên", Language.EN: "a controller"},
    Signer.HEAD.value: {Language.VI: "trưởng phòng", Language.EN: "a head"},
    Signer.DIRECTOR.value: {Language.VI: "giám đốc", Language.EN: "a director"},
}

STATE_WORDS: Mapping[str, Words] = {
    "ready": {Language.VI: "chờ phát hành", Language.EN: "ready"},
    "held": {Language.VI: "chờ ký duyệt", Language.EN: "held"},
    "issued": {Language.VI: "đã phát hành", Language.EN: "issued"},
    "cancelled": {Language.VI: "đã hủy", Language.EN: "cancelled"},
    "superseded": {Language.VI: "đã thay thế", Language.EN: "superseded"},
}

ACCOUNT_WORDS: Mapping[str, Words] = {
    Account.RECEIVABLE.value: {Language.VI: "phải thu khách hàng", Language.EN: "receivable"},
    Account.ENERGY.value: {Language.VI: "doanh thu tiền điện", Language.EN: "energy"},
    Account.TAX.value: {Language.VI: "thuế GTGT", Language.EN: "tax"},
    Account.SOLAR_PURCHASE.value: {Language.VI: "mua điện mặt trời", Language.EN: "solar_purchase"},
    Account.ADJUSTMENT.value: {Language.VI: "điều chỉnh", Language.EN: "adjustment"},
    Account.ROUNDING.value: {Language.VI: "làm tròn", Language.EN: "rounding"},
}

PLAN_WORDS: Mapping[str, Words] = {
    "title": {Language.VI: "Lập hóa đơn {period}", Language.EN: "Billing {period}"},
    "unit": {Language.VI: "đơn vị", Language.EN: "unit"},
    "book": {Language.VI: "sổ ghi chỉ số", Language.EN: "reading book"},
    "day": {Language.VI: "ngày ghi", Language.EN: "reading day"},
    "points": {Language.VI: "điểm đo", Language.EN: "points"},
    "contracts": {Language.VI: "có hợp đồng", Language.EN: "with a contract"},
    "billed": {Language.VI: "đã lập", Language.EN: "billed already"},
    "rest": {Language.VI: "còn lập", Language.EN: "to bill"},
}

STATUS_WORDS: Mapping[str, Words] = {
    "title": {Language.VI: "Hóa đơn {period}", Language.EN: "Bills of {period}"},
    "state": {Language.VI: "trạng thái", Language.EN: "state"},
    "bills": {Language.VI: "hóa đơn", Language.EN: "bills"},
    "energy": {Language.VI: "điện năng [kWh]", Language.EN: "energy [kWh]"},
    "total": {Language.VI: "tổng tiền [đ]", Language.EN: "total [đ]"},
    "to_sign": {
        Language.VI: "hóa đơn {bill} của {point}: {energy} kWh, {total} đ: {why}{usual}; cần {signer} ký duyệt",
        Language.EN: "bill {bill} of {point}: {energy} kWh, {total} đ: {why}{usual}; to be signed by {signer}",
    },
    "open_validation_finding": {
        Language.VI: "hóa đơn {bill} của {point} chưa phát hành được: kiểm tra số liệu không đạt {found}, chưa ai "
        "quyết định (hồ sơ {cases}): quyết định bằng congto vee, rồi lập lại bằng congto bill run {asked}",
        Language.EN: "bill {bill} of {point} can't be issued: validation fails {found} and nobody has decided (case "
        "{cases}): decide with congto vee, then bill again with congto bill run {asked}",
    },
    "readings_changed": {
        Language.VI: "hóa đơn {bill} của {point} chưa phát hành được: chỉ số đã được thay đổi sau khi lập: lập lại "
        "bằng congto bill run {asked}",
        Language.EN: "bill {bill} of {point} can't be issued: its readings were changed after it was made: bill again "
        "with congto bill run {asked}",
    },
    "issued_in_doubt": {
        Language.VI: "hóa đơn {bill} của {point} đã phát hành, sau đó kiểm tra số liệu không đạt {found} (hồ sơ "
        "{cases}): hóa đơn giữ nguyên; quyết định bằng congto vee, nếu chỉ số đổi thì congto bill correct "
        "{asked}",
        Language.EN: "bill {bill} of {point} is issued, and validation fails {found} since (case {cases}): the bill "
        "stands; decide with congto vee, and if readings change, congto bill correct {asked}",
    },
    "more_doubted": {Language.VI: "… và {more} hóa đơn nữa", Language.EN: "… and {more} more bills"},
    "usual": {Language.VI: ", thường khoảng {energy} kWh", Language.EN: ", expected about {energy} kWh"},
}

LEDGER_WORDS: Mapping[str, Words] = {
    "title": {Language.VI: "Sổ cái", Language.EN: "Ledger"},
    "account": {Language.VI: "tài khoản", Language.EN: "account"},
    "balance": {Language.VI: "số dư [đ]", Language.EN: "balance [đ]"},
    "sum": {Language.VI: "cộng", Language.EN: "sum"},
    "sealed": {Language.VI: "mọi khối còn nguyên như lúc niêm phong", Language.EN: "every block is as it was sealed"},
    "broken": {
        Language.VI: "khối {block} của chuỗi không còn như lúc niêm phong: có người đã sửa bút toán ngoài congto; "
        "đối chiếu với bản sao lưu",
        Language.EN: "block {block} of the chain is not as it was sealed: somebody changed entries behind congto; "
        "compare with a backup",
    },
}
