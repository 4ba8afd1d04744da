"""What each hold means and what cures it, for people, in Vietnamese and English."""

from collections.abc import Mapping

from billing_core.codes import HOLD_TEXTS, Hold
from billing_core.explain_names import Language

HOLDS: Mapping[Language, Mapping[Hold, str]] = {
    Language.VI: {
        Hold.NONE: "đã tính",
        Hold.NEGATIVE_ENERGY: "điện năng âm: kiểm tra chỉ số",
        Hold.ENERGY_TOO_LARGE: "điện năng hơn 10 TWh trong một hóa đơn: kiểm tra số chữ số và hệ số nhân",
        Hold.HOUSEHOLDS_INVALID: "số hộ phải lớn hơn 0 và không quá 1.000.000: sửa hợp đồng",
        Hold.PERIOD_INVALID: "kỳ kết thúc trước khi bắt đầu, hoặc dài hơn mười năm: sửa kỳ",
        Hold.NO_PRICE: "chưa có giá cho mục đích sử dụng này vào những ngày đó trong các tệp biểu giá",
        Hold.VOLTAGE_NOT_PRICED: "mục đích sử dụng này không có giá ở cấp điện áp đó: sửa cấp điện áp của hợp đồng",
        Hold.PRICE_CHANGE_NOT_READ: "giá đổi trong kỳ, công tơ loại này phải được chốt chỉ số ngày đó: "
        "nhập chỉ số chốt",
        Hold.NO_VAT_RATE: "chưa có thuế suất GTGT cho ngày cuối kỳ: thêm vào vat.toml kèm nguồn",
        Hold.NO_SOLAR_PRICE: "chưa có giá mua điện mặt trời của năm đó: cho giá kèm theo, hoặc thêm vào solar.toml",
        Hold.GENERATION_UNKNOWN: "quy định này mua theo tỷ lệ sản lượng: cho biết sản lượng (thanh ghi 1.0.1.8.0 của "
        "công tơ treo với role = generation)",
        Hold.NET_METERING_THREE_RATES: "bù trừ ba giá cần điện phát lên lưới của từng giá; nếu hợp đồng đã chuyển "
        "sang Quyết định 02/2019 thì sửa cơ chế (separate_2019)",
        Hold.REACTIVE_INVALID: "điện năng phản kháng hơn 10 Tvarh: kiểm tra số chữ số và hệ số nhân",
        Hold.INDEX_FELL: "chỉ số nhỏ hơn kỳ trước mà công tơ không quay vòng: phúc tra",
        Hold.INDEX_OUT_OF_RANGE: "chỉ số âm hoặc nhiều chữ số hơn công tơ có: phúc tra",
        Hold.ROLLOVER_IMPLAUSIBLE: "nếu quay vòng thì quá nửa dải của công tơ: phúc tra",
        Hold.MULTIPLIER_INVALID: "hệ số nhân (CT × VT) phải từ 1 đến 10.000.000: sửa điểm đo",
        Hold.CODE_UNKNOWN: "có mã lạ ở mục đích, cấp điện áp hoặc điện mặt trời: sửa hợp đồng",
        Hold.READING_MISSING: "thiếu chỉ số đầu hoặc cuối kỳ, hoặc của một phần kỳ: nhập chỉ số",
        Hold.RATES_AGAINST_TOTAL: "ba giá cộng lại không bằng tổng: kiểm tra cả bốn thanh ghi và hệ số nhân",
        Hold.INTERVALS_AGAINST_REGISTER: "biểu phụ tải cộng lại không bằng chỉ số: kiểm tra khoảng trống và hệ số nhân",
        Hold.INTERVAL_MISSING: "thiếu một khoảng của biểu phụ tải: ước tính, kèm lý do",
        Hold.DEMAND_INVALID: "công suất cực đại thiếu, âm hoặc hơn 10 GW: đọc lại",
        Hold.CHANGE_READING_UNUSABLE: "có chỉ số chốt giá mà số lần đổi giá trong kỳ nhiều hơn hoặc ít hơn số chỉ số, "
        "hoặc bù trừ thiếu chỉ số chốt chiều phát: cho một chỉ số cho mỗi lần đổi giá trong kỳ",
        Hold.POWER_FACTOR_INVALID: "hệ số công suất phải từ 0 đến 1,00: sửa lại",
        Hold.SHARES_INVALID: "các tỷ lệ mục đích phải dương và cộng lại bằng 100 %: sửa hợp đồng",
        Hold.TENANTS_NOT_RESIDENTIAL: "người thuê nhà không khai báo là sinh hoạt: sửa hợp đồng",
        Hold.NOT_ONE_MONTH: "giá công suất tính theo tháng mà kỳ không phải một tháng: tính riêng từng tháng",
    },
    Language.EN: HOLD_TEXTS,
}
