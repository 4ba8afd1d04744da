"""Bills by NREL's PySAM (utilityrate5), for comparison: run in an environment of its own, never imported by congto.

``python pysam_bills.py CASES.json LOADS.bin`` prints a JSON list of twelve bills for each case. The binary file holds
hourly load and generation of each case in Wh (int32, 8,760 + 8,760), the JSON what to set.
"""

import array
import json
import sys
from pathlib import Path

from PySAM import Utilityrate5

HOURS = 8_760


def bills(case: dict, load_kw: list[float], generation_kw: list[float]) -> list[float]:
    model = Utilityrate5.new()
    model.Lifetime.analysis_period = 1
    model.Lifetime.inflation_rate = 0
    model.Lifetime.system_use_lifetime_output = 0
    model.SystemOutput.degradation = [0]
    model.SystemOutput.gen = generation_kw
    model.Load.load = load_kw
    model.Load.load_escalation = [0]
    rates = model.ElectricityRates
    rates.en_electricity_rates = 1
    rates.rate_escalation = [0]
    rates.ur_en_ts_sell_rate = 0
    rates.ur_en_ts_buy_rate = 0
    rates.ur_sell_eq_buy = 0
    for name, value in case.items():
        setattr(rates, name, value)
    model.execute(0)
    return list(model.Outputs.year1_monthly_utility_bill_w_sys)


def main() -> None:
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    data = array.array("i")
    data.frombytes(Path(sys.argv[2]).read_bytes())
    found = []
    for place, case in enumerate(cases):
        values = [value / 1000 for value in data[place * 2 * HOURS : (place + 1) * 2 * HOURS]]
        found.append(bills(case, values[:HOURS], values[HOURS:]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
