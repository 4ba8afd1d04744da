"""What people's acts on bills say on a terminal, in Vietnamese and English."""

from collections.abc import Mapping
from typing import Any

from billing_core.explain import Language

ACT_WORDS: Mapping[str, Mapping[Language, str]] = {
    "hold": {Language.VI: "hóa đơn {bill} đã bị {who} giữ lại", Language.EN: "bill {bill} held by {who}"},
    "release": {
        Language.VI: "hóa đơn {bill} đã được {who} ký duyệt cho phát hành",
        Language.EN: "bill {bill} released by {who}",
    },
    "cancel": {Language.VI: "hóa đơn {bill} đã bị {who} hủy", Language.EN: "bill {bill} cancelled by {who}"},
    "issue": {
        Language.VI: "{who} đã phát hành {count} hóa đơn của {period}",
        Language.EN: "{count} bills of {period} issued by {who}",
    },
    "left": {
        Language.VI: "hóa đơn {bill}: {who} đã hủy hóa đơn trước nó; người khác phải phát hành (hai người duyệt)",
        Language.EN: "bill {bill}: {who} cancelled the bill in whose place it stands; another person must issue it "
        "(four eyes)",
    },
    "rebill": {
        Language.VI: "đã hủy hóa đơn {bill}; hóa đơn {new} thay thế đã lập, chờ phát hành",
        Language.EN: "bill {bill} cancelled; bill {new} made in its place, to be issued",
    },
    "rebill_held": {
        Language.VI: "hóa đơn {bill} đã hủy, nhưng chưa lập lại được: {why}",
        Language.EN: "bill {bill} is cancelled, and can't be computed again yet: {why}",
    },
    "replay": {
        Language.VI: "đã tính lại {count} hóa đơn: {same} giống hệt, {different} khác",
        Language.EN: "{count} bills computed again: {same} are the same, {different} are not",
    },
    "replayed": {Language.VI: "hóa đơn {bill}: {why}", Language.EN: "bill {bill}: {why}"},
    "replayed_difference": {
        Language.VI: "điều chỉnh {number} của hóa đơn {bill}: {why}",
        Language.EN: "difference {number} of bill {bill}: {why}",
    },
    "replay_differences": {
        Language.VI: "đã tính lại {count} lần truy thu, thoái hoàn: {same} giống hệt, {different} khác",
        Language.EN: "{count} back-billings computed again: {same} are the same, {different} are not",
    },
    "correct": {
        Language.VI: "{who} đã đề nghị {count} điều chỉnh của {period}; {differing} hóa đơn đã phát hành lẽ ra phải "
        "khác, tổng cộng chênh {difference} đ",
        Language.EN: "{count} differences of {period} proposed by {who}; {differing} issued bills should be others, by "
        "{difference} đ in all",
    },
    "no_differences": {
        Language.VI: "{period} không có điều chỉnh nào",
        Language.EN: "no differences of {period}",
    },
    "difference": {
        Language.VI: "điều chỉnh {number} của hóa đơn {bill} ({point}): {energy} kWh, {total} đ gồm thuế; {who} đề "
        "nghị: {note}; {decided}",
        Language.EN: "difference {number} of bill {bill} ({point}): {energy} kWh, {total} đ with tax; proposed by "
        "{who}: {note}; {decided}",
    },
    "with_differences": {
        Language.VI: "Với các điều chỉnh đã duyệt, hóa đơn thành {total} đ phải trả.",
        Language.EN: "With the differences that were approved the bill comes to {total} đ to pay.",
    },
    "propose": {Language.VI: "chờ duyệt", Language.EN: "waits for approval"},
    "replaced_by": {
        Language.VI: "điều chỉnh {other} đã thay nó; hãy bác",
        Language.EN: "difference {other} takes its place: reject it",
    },
    "replaces": {
        Language.VI: "điều chỉnh {number} thay điều chỉnh {old} còn chờ duyệt; hãy bác {old}",
        Language.EN: "difference {number} takes the place of {old}, which waits: reject {old}",
    },
    "before_true_up": {
        Language.VI: "Điều chỉnh {numbers}: chỉ số đầu kỳ còn là ước tính chưa truy chỉnh, nên toàn bộ phần thừa thiếu "
        "của các kỳ ước tính trước dồn vào kỳ này; hãy chạy congto vee true-up trước khi duyệt.",
        Language.EN: "Difference {numbers}: its bill begins at an estimate that was not trued up, so all that the "
        "estimated periods before were too high or too low falls into this one; run `congto vee true-up` before "
        "approving.",
    },
    "approved": {Language.VI: "{by} đã duyệt", Language.EN: "approved by {by}"},
    "rejected": {Language.VI: "{by} đã bác", Language.EN: "rejected by {by}"},
    "purchase": {
        Language.VI: "mua điện mặt trời {energy} kWh, {amount} đ",
        Language.EN: "purchase of solar energy {energy} kWh, {amount} đ",
    },
    "approve": {
        Language.VI: "điều chỉnh {number} của hóa đơn {bill} đã được {who} duyệt",
        Language.EN: "difference {number} of bill {bill} approved by {who}",
    },
    "reject": {
        Language.VI: "điều chỉnh {number} của hóa đơn {bill} đã bị {who} bác",
        Language.EN: "difference {number} of bill {bill} rejected by {who}",
    },
}


def said(act: str, language: str, **operands: Any) -> str:
    """Return the sentence about an act in ``vi`` or ``en``."""
    return ACT_WORDS[act][Language(language)].format(**operands)
