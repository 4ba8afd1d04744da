"""What a billing run says on a terminal, in Vietnamese and English."""

from collections.abc import Mapping

from billing_core.explain import Language

RUN_WORDS: Mapping[str, Mapping[Language, str]] = {
    "title": {Language.VI: "Lập hóa đơn {period}", Language.EN: "Billing {period}"},
    "billed": {Language.VI: "đã lập", Language.EN: "billed"},
    "dry_run": {
        Language.VI: "sẽ lập (chạy thử: không ghi gì)",
        Language.EN: "would be billed (dry run: nothing is written)",
    },
    "replaced": {
        Language.VI: "lập lại thay hóa đơn chưa phát hành",
        Language.EN: "computed anew in place of bills that were not issued",
    },
    "unchanged": {Language.VI: "đã lập trước đó, không đổi", Language.EN: "billed before, unchanged"},
    "held": {Language.VI: "chưa lập được", Language.EN: "held"},
    "purchases_held": {
        Language.VI: "đã lập, nhưng chưa mua được điện mặt trời",
        Language.EN: "billed, but the purchase of solar energy is held",
    },
    "differing": {
        Language.VI: "khác hóa đơn đã phát hành, để nguyên",
        Language.EN: "differ from the issued bill, left as they are",
    },
    "to_sign": {
        Language.VI: "cần ký duyệt trước khi phát hành (congto bill status)",
        Language.EN: "must be signed before they are issued (congto bill status)",
    },
    "issued": {Language.VI: "đã phát hành", Language.EN: "issued"},
    "energy_wh": {Language.VI: "điện năng đã lập [Wh]", Language.EN: "energy billed [Wh]"},
    "subtotal": {Language.VI: "tiền điện [đ]", Language.EN: "electricity [đ]"},
    "vat": {Language.VI: "thuế GTGT [đ]", Language.EN: "VAT [đ]"},
    "total": {Language.VI: "tổng cộng [đ]", Language.EN: "total [đ]"},
    "purchased_wh": {Language.VI: "điện mặt trời đã mua [Wh]", Language.EN: "solar energy bought [Wh]"},
    "purchased": {Language.VI: "tiền mua [đ]", Language.EN: "paid for it [đ]"},
    "difference": {
        Language.VI: "chỉ số và hợp đồng hiện nay sẽ đổi tổng cộng [đ]",
        Language.EN: "today's readings and contracts would change the total by [đ]",
    },
    "one_held": {Language.VI: "chưa lập {point}: {reason}: {detail}", Language.EN: "held {point}: {reason}: {detail}"},
    "one_purchase_held": {
        Language.VI: "chưa mua điện mặt trời {point}: {reason}: {detail}",
        Language.EN: "purchase held {point}: {reason}: {detail}",
    },
    "more": {
        Language.VI: "… và {count} nữa; xem congto bill list --period {period}",
        Language.EN: "… and {count} more; see congto bill list --period {period}",
    },
    "one_differs": {
        Language.VI: "{point} khác hóa đơn {bill} đã phát hành {issued} đ: chỉ số và hợp đồng hiện nay "
        "thành {computed} đ",
        Language.EN: "{point} differs from the issued bill {bill} of {issued} đ: today's readings and contract make "
        "{computed} đ",
    },
}
