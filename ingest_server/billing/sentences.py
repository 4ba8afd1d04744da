"""What holds say: sentences with operands, in Vietnamese and English. The database keeps the operands (``bill_hold``).

A sentence is kept as ``{"say": "missing", "meter": "M-1", …}``, so that a list in another language needs no run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from billing_core.codes import Hold
from billing_core.codes_words import HOLDS
from billing_core.explain_names import Language

Sentence = Mapping[str, Any]
"""``say``, which sentence it is; and its operands."""

_READING = {
    Language.VI: "công tơ {meter}, thanh ghi {register} lúc {at} ({civil} giờ Việt Nam): ",
    Language.EN: "meter {meter}, register {register} at {at} ({civil} in Vietnam): ",
}
_OF_READING: Mapping[str, Mapping[Language, str]] = {
    "missing": {
        Language.VI: "chưa có chỉ số cho thời điểm đó: chờ bộ tập trung gửi bù, hoặc nhập chỉ số",
        Language.EN: "no reading is stored for that instant: let the gateway fill it, or enter the reading",
    },
    "never_sent": {
        Language.VI: "công tơ chưa bao giờ gửi thanh ghi này: kiểm tra loại công tơ, hoặc ba giá, phản kháng, "
        "điện mặt trời trong hợp đồng; ba giá và công suất cũng tính được từ biểu phụ tải",
        Language.EN: "the meter has never sent this register: check its model, or the contract's rates, reactive "
        "energy, demand and solar; rates and demand can also come from its load profile",
    },
    "conflict": {
        Language.VI: "đã lưu {stored} {unit}, nhưng còn nhận một giá trị khác: xác định giá trị đúng",
        Language.EN: "{stored} {unit} is stored, but another value came too: find the right one",
    },
    "suspect": {
        Language.VI: "{stored} {unit} không qua được kiểm tra tại bộ tập trung: phúc tra",
        Language.EN: "{stored} {unit} failed a check at the gateway: read again",
    },
}
SENTENCES: Mapping[str, Mapping[Language, str]] = {
    **{
        say: {language: _READING[language] + text for language, text in texts.items()}
        for say, texts in _OF_READING.items()
    },
    "more": {Language.VI: "và {count} chỗ nữa", Language.EN: "and {count} more"},
    "no_contract": {
        Language.VI: "có công tơ tại điểm đo, nhưng không hợp đồng nào có hiệu lực trong kỳ: nhập hợp đồng",
        Language.EN: "a meter hangs there, but no contract is in force on any day of the period: enter the contract",
    },
    "several_contracts": {
        Language.VI: "các hợp đồng trong kỳ chồng ngày lên nhau: sửa ngày của hợp đồng",
        Language.EN: "contracts overlap within the period: correct their days",
    },
    **{
        f"unknown_{name}": {
            Language.VI: f"{named} trong hợp đồng là {{found}}, chỉ có {{known}}: sửa hợp đồng",
            Language.EN: f"the contract's {name} is {{found}}, known are {{known}}: correct the contract",
        }
        for name, named in (("category", "mục đích"), ("voltage", "cấp điện áp"), ("solar", "quy định điện mặt trời"))
    },
    "unknown_use": {
        Language.VI: "một mục đích sử dụng trong hợp đồng là {use}, mục đích hoặc cấp điện áp đó lạ: sửa hợp đồng",
        Language.EN: "a use of the contract is {use}, of which category or voltage is not known: correct the contract",
    },
    "unknown_rate_plan": {
        Language.VI: "chưa có biểu giá riêng {name} có hiệu lực từ đầu kỳ: nhập biểu giá đó, hoặc sửa hợp đồng",
        Language.EN: "no rate plan {name} is in force on the first day of the period: load it, or correct the contract",
    },
    "unknown_term": {  # of holds stored before the sentences above had words of their own
        Language.VI: "hợp đồng có mã lạ, cần sửa ({detail})",
        Language.EN: "{detail}",
    },
    "meters": {
        Language.VI: "công tơ phải nối tiếp nhau từ {start} đến {end}, tìm thấy {found}: sửa lịch sử treo tháo",
        Language.EN: "meters must follow one another from {start} to {end}, found {found}: correct the installations",
    },
    "unbilled_surplus": {
        Language.VI: "từ {first} đến {last} có hợp đồng mà chưa có hóa đơn nào còn hiệu lực: lập hóa đơn cho những "
        "ngày đó trước, điện dư của kỳ đó được chuyển sang kỳ này; nếu không cấp điện thì sửa ngày của hợp đồng",
        Language.EN: "the days from {first} to {last} are under contract and in no bill that stands: bill them first, "
        "their surplus is carried into this bill; if nothing was supplied, correct the contract's days",
    },
    "unbilled_demand": {
        Language.VI: "từ {first} đến {last} có hợp đồng mà chưa có hóa đơn nào còn hiệu lực: lập hóa đơn cho những "
        "ngày đó trước, công suất cực đại của kỳ đó được tính vào kỳ này; nếu không cấp điện thì sửa ngày của hợp đồng",
        Language.EN: "the days from {first} to {last} are under contract and in no bill that stands: bill them first, "
        "their demand counts in this bill; if nothing was supplied, correct the contract's days",
    },
    "uncarried": {  # this and the next: of holds stored before those above
        Language.VI: "hóa đơn trước đến hết {last}, hóa đơn này từ {first}: lập hóa đơn cho những ngày ở giữa trước, "
        "điện dư của kỳ đó được chuyển sang kỳ này",
        Language.EN: "the last bill ends on {last}, this one begins on {first}: bill the days between first, their "
        "surplus is carried into this bill",
    },
    "unratcheted": {
        Language.VI: "hóa đơn trước đến hết {last}, hóa đơn này từ {first}: lập hóa đơn cho những ngày ở giữa trước, "
        "công suất cực đại của kỳ đó được tính vào kỳ này",
        Language.EN: "the last bill ends on {last}, this one begins on {first}: bill the days between first, their "
        "demand counts in this bill",
    },
    "several_price_changes": {
        Language.VI: "giá đổi nhiều lần trong kỳ ({days}), công tơ loại này phải được chốt chỉ số từng ngày đó: nhập "
        "chỉ số lúc 00:00 của mỗi ngày",
        Language.EN: "the price changes several times within the period ({days}), and this category's meter is read on "
        "each of these days: enter what it stood at at 00:00 of each",
    },
    "issued_otherwise": {
        Language.VI: "hóa đơn {bill} đã phát hành gồm cả những ngày từ {first} đến {last}, hoặc cho khách hàng khác: "
        "hủy hóa đơn đó rồi chạy lại",
        Language.EN: "bill {bill} was issued for days of {first} to {last} among others, or to another customer: "
        "cancel it and run again",
    },
    "other_period": {
        Language.VI: "hóa đơn {bill} thuộc kỳ khác đã gồm một số ngày từ {first} đến {last}: lập theo chu kỳ của sổ "
        "(congto bill run --cycle), hoặc hủy hóa đơn đó rồi chạy lại",
        Language.EN: "bill {bill} of another period is for some of the days {first} to {last}: bill by the book's own "
        "cycle (congto bill run --cycle), or cancel that bill and run again",
    },
    "open_finding": {
        Language.VI: "công tơ {meter}, thanh ghi {register}: kiểm tra số liệu không đạt {found}, chưa ai quyết định "
        "(hồ sơ {case}): người phụ trách số liệu xem congto vee cases --period {month}; người khác duyệt thay đổi "
        "trong hạn mức của mình, hoặc từ kiểm soát viên trở lên từ chối, hay chấp nhận bằng congto vee accept {case}; "
        "rồi chạy lại",
        Language.EN: "meter {meter}, register {register}: validation fails {found} and nobody has decided (case "
        "{case}): who answers for readings looks with congto vee cases --period {month}; another person approves the "
        "change within their limits, or a controller or higher rejects it, or accepts the readings with congto vee "
        "accept {case}; then run again",
    },
    "register_set_back": {
        Language.VI: "công tơ {meter}, thanh ghi {register}: từ {since} đến {until} chỉ số giảm một lần, từ {before} "
        "xuống {after} {unit}, không phải quay vòng: nếu thanh ghi được đặt lại thì nhập [[register_reset]], nếu đã "
        "thay công tơ thì nhập treo tháo, nếu đọc sai thì phúc tra",
        Language.EN: "meter {meter}, register {register}: between {since} and {until} it fell once, from {before} to "
        "{after} {unit}, and did not roll over: if it was set back enter a [[register_reset]], if the meter was "
        "exchanged its installation, if it was misread read again",
    },
    "said_set": {
        Language.VI: "công tơ {meter}: nhật ký công tơ ghi các thanh ghi được đặt lại lúc {civil}: nhập "
        "[[register_reset]] theo biên bản, với chỉ số trước và sau",
        Language.EN: "meter {meter}: its log says that the registers were set at {civil}: enter a [[register_reset]] "
        "by the record, with what each showed before and after",
    },
    "ran_backwards": {
        Language.VI: "công tơ {meter}, thanh ghi {register}: chạy ngược, giảm {steps} lần trong kỳ, lần đầu từ "
        "{before} ({since}) xuống {after} {unit} ({until}): kiểm tra đấu dây; phần chạy ngược "
        "nhập bằng [[register_reset]] theo biên bản",
        Language.EN: "meter {meter}, register {register}: it runs backwards, it fell {steps} times within the period, "
        "first from {before} ({since}) to {after} {unit} ({until}): check the wiring; what it ran down is entered as a "
        "[[register_reset]], by the record",
    },
    "intervals_against_register": {
        Language.VI: "công tơ {meter} từ {start} đến {end}: biểu phụ tải cộng lại {intervals} Wh, chỉ số đếm "
        "{counted} Wh, lệch {difference} Wh, cho phép {allowed} Wh: kiểm tra hệ số nhân, chỉ số hai đầu, biểu phụ tải",
        Language.EN: "meter {meter} from {start} to {end}: the load profile sums to {intervals} Wh, the register "
        "counted {counted} Wh, {difference} Wh apart where {allowed} Wh may be: check the multiplier, both indexes, "
        "and the profile",
    },
    "intervals_missing": {
        Language.VI: "công tơ {meter} từ {start} đến {end}: biểu phụ tải thiếu {missing} trên {of} khoảng {minutes} "
        "phút, khoảng đầu kết thúc lúc {first}, khoảng cuối lúc {last}: chờ bộ tập trung gửi bù, hoặc duyệt ước tính",
        Language.EN: "meter {meter} from {start} to {end}: the load profile lacks {missing} of {of} intervals of "
        "{minutes} minutes, the first ends at {first}, the last at {last}: let the gateway fill them, or approve an "
        "estimate",
    },
    "no_half_hours": {
        Language.VI: "công tơ {meter}: từ khoảng {minutes} phút không tính được công suất nửa giờ: đọc thanh ghi Pmax",
        Language.EN: "meter {meter}: intervals of {minutes} minutes say nothing of half hours: read the register Pmax",
    },
    "unknown_schedule": {
        Language.VI: "công tơ {meter}: biểu giờ {name} không có trong tệp time_of_use.toml: sửa lịch lập trình công tơ",
        Language.EN: "meter {meter}: the schedule {name} is not in time_of_use.toml: correct what the meter runs",
    },
    "register": {
        Language.VI: "công tơ {meter}, thanh ghi {register}, từ {old} đến {new} {unit}",
        Language.EN: "meter {meter}, register {register}, {old} to {new} {unit}",
    },
    **{f"engine.{hold.value}": {language: HOLDS[language][hold] for language in Language} for hold in Hold},
}


def text_of(sentences: Sequence[Sentence], language: Language) -> str:
    """Return sentences as one text; what has no words in a language is said in English."""
    return "; ".join(_text(sentence, language) for sentence in sentences)


def _text(sentence: Sentence, language: Language) -> str:
    say = sentence["say"]
    texts = SENTENCES[say]
    template = texts.get(language, texts[Language.EN])
    return template.format(**{name: value for name, value in sentence.items() if name != "say"})
