// Every word on the page, in both languages; numbers and times as each language writes them.

const WORDS = {
  vi: {
    tagline: "Từ công tơ đến hóa đơn", leave: "Thoát", apiDocs: "Tài liệu API", other: "English", otherCode: "en",
    units: "Giờ Việt Nam (UTC+7). Điện năng tính bằng kWh, tiền bằng đồng.",
    token: "Mã truy cập", tokenHelp: "Nhập mã truy cập của máy chủ. Mã chỉ được giữ trong thẻ trình duyệt này.", enter: "Vào",
    wrongToken: "Mã truy cập không đúng.", gateways: "Thiết bị tập trung", meters: "Công tơ", month: "Tháng", meter: "Công tơ",
    customer: "Khách hàng", model: "Loại", reading: "Chỉ số gần nhất", at: "Lúc", bill: "Hóa đơn", none: "chưa có", all: "Danh sách",
    online: "Trực tuyến", offline: "Mất liên lạc", unknown: "Chưa rõ", lastContact: "Liên lạc cuối", meterCount: "Số công tơ",
    batches: "Gói đã nhận", missing: "Gói còn thiếu", noGaps: "không thiếu", more: "Xem thêm", held: "Tạm giữ",
    purchaseHeld: "Giữ phần mua điện", notBilled: "Chưa lập", point: "Điểm đo", serial: "Số chế tạo", gateway: "Thiết bị tập trung",
    multiplier: "Hệ số nhân", unmultiplied: "Theo công tơ, chưa nhân hệ số", halfHourly: "Điện năng từng nửa giờ", import: "Nhận từ lưới", export: "Phát lên lưới",
    healed: "Bù từ biểu đồ phụ tải của công tơ", flagged: "Có ghi chú chất lượng khác", gap: "Thiếu số liệu", unit: "kWh mỗi nửa giờ",
    pick: "Rê hoặc chạm để xem từng nửa giờ; bấm để xem một ngày.", wholeMonth: "Cả tháng", previousMonth: "Tháng trước", nextMonth: "Tháng sau", previousDay: "Ngày trước", nextDay: "Ngày sau",
    sum: "Cộng", known: "đã biết", gaps: "Khoảng thiếu số liệu", gapEnergy: "điện năng cả khoảng", gapUnknown: "chưa biết điện năng", ongoing: "đang chờ số liệu",
    daily: "Điện năng từng ngày", day: "Ngày", noReadings: "Tháng này chưa có chỉ số nào.", item: "Khoản", price: "đ/kWh", amount: "Thành tiền (đ)",
    subtotal: "Cộng tiền điện", total: "Tổng cộng", explanation: "Giải thích", purchase: "Mua điện mặt trời, chứng từ riêng",
    carried: "Chuyển kỳ sau", noBill: "Tháng này chưa có hóa đơn.",
    asTable: "Bảng số liệu", pickDay: "Rê hoặc chạm để xem từng ngày; bấm để xem ngày đó theo nửa giờ.", unitDay: "kWh mỗi ngày",
    dayUnknown: "Thiếu chỉ số lúc 0 giờ", wentBack: "Chỉ số giảm", events: "Sự kiện công tơ", noEvents: "Tháng này không có sự kiện nào.",
    event: "Sự kiện", details: "Nội dung", receivedAt: "nhận lúc", octets: "byte",
    eventNames: {
      log: "Nhật ký, mã", push: "Công tơ tự gửi", clock: "Lệch đồng hồ", clock_shifted: "Đã chỉnh đồng hồ", relay_on: "Rơ le đóng", relay_off: "Rơ le cắt",
      glitch: "Thanh ghi báo trị số vô lý", counter: "Thanh ghi đứng ở trị số khác", "0.0.99.98.0": "nhật ký sự kiện chuẩn", "0.0.99.98.1": "nhật ký gian lận", "0.0.99.98.2": "nhật ký đóng cắt",
    },
    state_ready: "chờ phát hành", state_held: "giữ lại kiểm soát", state_issued: "đã phát hành", state_cancelled: "đã hủy", state_superseded: "đã thay thế", noMeters: "Chưa có công tơ nào được đăng ký.",
    cases: "Cần xem xét trong tháng", noCases: "Không có gì cần xem xét.", stake: "kWh/tháng có rủi ro", why: "Lý do", waits: "Chờ duyệt", transformer: "Trạm biến áp",
    caseNumber: "hồ sơ", change: "thay đổi", closedToo: "cả trường hợp đã xong", acceptedBy: "đã chấp nhận:", decidedCase: "đã quyết định các thay đổi",
    noGateways: "Chưa có thiết bị tập trung nào.", failed: "Không lấy được số liệu", retry: "Thử lại", installed: "lắp từ", cure: "Chi tiết",
    parameters: "Tham số", required: "bắt buộc", answer: "Ví dụ trả lời", problems: "Các lỗi", docsTitle: "API của congto", loading: "Đang tải…",
    reasons: {
      no_contract: "Chưa có hợp đồng", several_contracts: "Nhiều hợp đồng trong kỳ", unknown_contract_term: "Hợp đồng có mã lạ",
      no_meter: "Thiếu công tơ trong kỳ", missing_register_reading: "Thiếu chỉ số", suspect_register_reading: "Chỉ số nghi ngờ",
      conflicting_register_readings: "Hai chỉ số khác nhau cùng lúc", previous_period_not_billed: "Kỳ trước chưa lập hóa đơn",
      issued_for_other_days: "Đã phát hành cho những ngày khác", open_validation_finding: "Kiểm tra số liệu không đạt, chưa quyết định",
      register_set_back: "Chỉ số bị đặt lại, chưa nhập", ran_backwards: "Công tơ chạy ngược",
      purchase_no_solar_price: "Chưa có giá mua điện mặt trời", purchase_generation_unknown: "Chưa biết sản lượng điện mặt trời",
      rollover_implausible: "Chỉ số giảm, cần phúc tra", index_out_of_range: "Chỉ số quá số chữ số của công tơ", index_fell: "Chỉ số giảm, cần phúc tra",
      price_change_not_read: "Giá đổi trong kỳ, thiếu chỉ số chốt", no_price: "Chưa có giá", no_vat_rate: "Chưa có thuế suất",
      voltage_not_priced: "Cấp điện áp không có giá", energy_too_large: "Điện năng quá lớn", negative_energy: "Điện năng âm",
      multiplier_invalid: "Hệ số nhân không hợp lệ", households_invalid: "Số hộ không hợp lệ", period_invalid: "Kỳ không hợp lệ",
      reactive_invalid: "Điện năng phản kháng quá lớn", code_unknown: "Hợp đồng có mã lạ", net_metering_three_rates: "Bù trừ ba giá, thiếu điện phát của từng giá",
      reading_missing: "Thiếu chỉ số đầu hoặc cuối", rates_against_total: "Ba giá không khớp tổng", interval_missing: "Thiếu biểu phụ tải",
      intervals_against_register: "Biểu phụ tải không khớp chỉ số", demand_invalid: "Công suất cực đại không hợp lệ",
      change_reading_unusable: "Chỉ số chốt giá không dùng được", power_factor_invalid: "Hệ số công suất không hợp lệ",
      shares_invalid: "Tỷ lệ mục đích không hợp lệ", tenants_not_residential: "Nhà cho thuê không phải sinh hoạt", not_one_month: "Kỳ không phải một tháng",
    },
  },
  en: {
    tagline: "From the meter to the bill", leave: "Sign out", apiDocs: "API documentation", other: "Tiếng Việt", otherCode: "vi",
    units: "Times of Vietnam (UTC+7). Energy in kWh, money in đồng.",
    token: "Access token", tokenHelp: "Enter the server's token. It is kept in this browser tab alone.", enter: "Enter",
    wrongToken: "That token is not right.", gateways: "Gateways", meters: "Meters", month: "Month", meter: "Meter",
    customer: "Customer", model: "Model", reading: "Last reading", at: "At", bill: "Bill", none: "none yet", all: "All meters",
    online: "Online", offline: "Offline", unknown: "Unknown", lastContact: "Last contact", meterCount: "Meters",
    batches: "Batches received", missing: "Batches missing", noGaps: "none", more: "Show more", held: "Held",
    purchaseHeld: "Purchase held", notBilled: "Not billed", point: "Metering point", serial: "Serial number", gateway: "Gateway",
    multiplier: "Multiplier", unmultiplied: "As the meter counts, before the multiplier of", halfHourly: "Half-hourly energy", import: "Taken from the grid", export: "Given to the grid",
    healed: "Filled from the meter's load profile", flagged: "Other quality mark", gap: "No readings", unit: "kWh each half hour",
    pick: "Move or touch to read a half hour; click for a day.", wholeMonth: "Whole month", previousMonth: "Month before", nextMonth: "Month after", previousDay: "Day before", nextDay: "Day after",
    sum: "Sum", known: "known", gaps: "Stretches without readings", gapEnergy: "energy of the whole stretch", gapUnknown: "energy not known", ongoing: "waiting for readings",
    daily: "Energy day by day", day: "Day", noReadings: "There are no readings in this month yet.", item: "Item", price: "đ/kWh", amount: "Amount (đ)",
    subtotal: "Electricity", total: "Total", explanation: "Explanation", purchase: "Solar energy bought, a document of its own",
    carried: "Carried to the next month", noBill: "There is no bill of this month yet.",
    asTable: "Figures", pickDay: "Move or touch to read a day; click to see it in half hours.", unitDay: "kWh each day",
    dayUnknown: "Not read at midnight", wentBack: "Register went back", events: "Meter events", noEvents: "There are no events in this month.",
    event: "Event", details: "What it says", receivedAt: "received", octets: "octets",
    eventNames: {
      log: "Log entry, code", push: "Sent by the meter unasked", clock: "Clock is off", clock_shifted: "Clock was shifted", relay_on: "Relay closed", relay_off: "Relay opened",
      glitch: "Register said an impossible value", counter: "Register stands at another value", "0.0.99.98.0": "standard event log", "0.0.99.98.1": "fraud log", "0.0.99.98.2": "disconnect control log",
    },
    state_ready: "to be issued", state_held: "held by control", state_issued: "issued", state_cancelled: "cancelled", state_superseded: "superseded", noMeters: "No meters are registered yet.",
    cases: "To be looked at this month", noCases: "Nothing to look at.", stake: "kWh a month at risk", why: "Why", waits: "Waits for approval", transformer: "Transformer",
    caseNumber: "case", change: "change", closedToo: "closed ones too", acceptedBy: "accepted by", decidedCase: "its changes are decided",
    noGateways: "There are no gateways yet.", failed: "The data could not be fetched", retry: "Try again", installed: "installed", cure: "Detail",
    parameters: "Parameters", required: "required", answer: "Example answer", problems: "Problems", docsTitle: "congto's API", loading: "Loading…",
    reasons: {
      no_contract: "No contract", several_contracts: "Several contracts in the month", unknown_contract_term: "Contract has an unknown term",
      no_meter: "No meter for some days", missing_register_reading: "Missing register reading", suspect_register_reading: "Suspect reading",
      conflicting_register_readings: "Two values for one instant", previous_period_not_billed: "Month before not billed",
      issued_for_other_days: "Issued for other days", open_validation_finding: "Readings failed validation, undecided",
      register_set_back: "Register was set back, not entered", ran_backwards: "Meter runs backwards",
      purchase_no_solar_price: "Solar price not known", purchase_generation_unknown: "Generation not known",
      rollover_implausible: "Register fell: read again", index_out_of_range: "More digits than the register has", index_fell: "Register fell: read again",
      price_change_not_read: "Price changed, no reading on that day", no_price: "No price", no_vat_rate: "No VAT rate",
      voltage_not_priced: "Voltage without a price", energy_too_large: "Energy too large", negative_energy: "Negative energy",
      multiplier_invalid: "Impossible multiplier", households_invalid: "Impossible number of households", period_invalid: "Impossible period",
      reactive_invalid: "Reactive energy too large", code_unknown: "Contract has an unknown term", net_metering_three_rates: "Net metering of three rates, export of each unknown",
      reading_missing: "First or last index missing", rates_against_total: "Rates do not sum to the total", interval_missing: "Interval missing",
      intervals_against_register: "Profile does not match the register", demand_invalid: "Impossible demand",
      change_reading_unusable: "Reading at a price change cannot be used", power_factor_invalid: "Impossible power factor",
      shares_invalid: "Impossible shares of use", tenants_not_residential: "Tenants, but not residential", not_one_month: "Period is not a month",
    },
  },
};

const ZONE = "Asia/Ho_Chi_Minh";
export const ZONE_OFFSET_MS = 7 * 3600 * 1000; // no daylight saving since 1975

let language = "vi";

export function setLanguage(code) {
  language = WORDS[code] ? code : "vi";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = word(element.dataset.text);
}

export function currentLanguage() { return language; }
export function word(name) { return WORDS[language][name] ?? name; }
export function eventName(name) { return WORDS[language].eventNames[name]; }
export function reason(name) { return WORDS[language].reasons[name] ?? name; }

function locale() { return language === "vi" ? "vi-VN" : "en-GB"; }
export function integer(value) { return new Intl.NumberFormat(locale()).format(value); }
export function kwh(wh, digits = 3) {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(wh / 1000);
}
// An index of a register, with all its decimals, so that a column of them lines up.
export function index(wh) {
  return new Intl.NumberFormat(locale(), { minimumFractionDigits: 3, maximumFractionDigits: 3 }).format(wh / 1000);
}
export function moment(text) {
  const at = new Date(text);
  return new Intl.DateTimeFormat(locale(), {
    timeZone: ZONE, day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).format(at);
}
export function day(text) {
  return new Intl.DateTimeFormat(locale(), { timeZone: "UTC", day: "2-digit", month: "2-digit", year: "numeric" }).format(new Date(text));
}
// A civil day that is given as midnight in UTC.
export function civilDay(ms) {
  return new Intl.DateTimeFormat(locale(), { timeZone: "UTC", weekday: "short", day: "2-digit", month: "2-digit" }).format(ms);
}
export function clock(ms) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}
export function dayName(ms) {
  return new Intl.DateTimeFormat(locale(), { timeZone: ZONE, weekday: "short", day: "2-digit", month: "2-digit" }).format(ms);
}
