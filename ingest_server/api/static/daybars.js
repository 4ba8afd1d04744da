// Energy by civil day as an inline SVG: a bar a day, import up, export down; days that are not known are hatched.

import { MARGIN, hatching, niceTick } from "./chart.js";
import { drawn, element } from "./elements.js";
import { civilDay, kwh, word } from "./words.js";

const HEIGHT = 220;
const DAY_MS = 24 * 3600 * 1000;
const PROFILE = 1; // the flag of readings filled from the load profile
const DIRECTIONS = ["import", "export"];

export class DayBars {
  // `pick` is called with a day's number when it is chosen.
  constructor(daily, pick) {
    this.first = Date.parse(`${daily.from}T00:00:00Z`);
    this.days = Math.round((Date.parse(`${daily.to}T00:00:00Z`) - this.first) / DAY_MS) + 1;
    this.series = Object.fromEntries(daily.series.filter((one) => one.direction !== null).map((one) => [one.direction, one]));
    this.names = daily.quality_names;
    this.pick = pick;
    this.holder = element("div", { class: "chart" });
    this.readout = element("p", { class: "readout small", "aria-live": "polite", text: word("pickDay") });
    this.element = element("div", {}, this.holder, this.readout, this.legend(), this.table());
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.holder);
  }

  get known() { return Object.values(this.series).some((one) => one.energy.some((wh) => wh !== null)); }

  unknown(number) { return Object.values(this.series).some((one) => one.energy[number] === null); }

  name(number) { return civilDay(this.first + number * DAY_MS); }

  legend() {
    const keys = DIRECTIONS.filter((direction) => this.series[direction]);
    const marks = Object.values(this.series).flatMap((one) => one.quality);
    if (marks.some((flags) => flags & PROFILE)) keys.push("healed");
    if (marks.some((flags) => flags & ~PROFILE)) keys.push("flagged");
    const hatched = Array.from({ length: this.days }, (_, number) => number).some((number) => this.unknown(number));
    return element("div", { class: "legend" },
      ...keys.map((key) => element("span", {}, element("i", { class: `key ${key}` }), word(key))),
      hatched ? element("span", {}, element("i", { class: "key gap" }), word("dayUnknown")) : null);
  }

  table() {
    const directions = DIRECTIONS.filter((direction) => this.series[direction]);
    const rows = Array.from({ length: this.days }, (_, number) => element("tr", {}, element("td", { text: this.name(number) }),
      ...directions.map((direction) => element("td", { class: "number", text: this.said(direction, number) }))));
    return element("details", {}, element("summary", { text: word("asTable") }),
      element("table", {}, element("thead", {}, element("tr", {}, element("th", { text: word("day") }),
        ...directions.map((direction) => element("th", { class: "number", text: `${word(direction)} (kWh)` })))), element("tbody", {}, ...rows)));
  }

  said(direction, number) {
    const one = this.series[direction];
    if (one.energy[number] !== null) return kwh(one.energy[number]);
    const day = new Date(this.first + number * DAY_MS).toISOString().slice(0, 10);
    return word(one.went_back.includes(day) ? "wentBack" : "dayUnknown").toLowerCase();
  }

  describe(number) {
    const parts = Object.entries(this.series).map(([direction, one]) => {
      const names = Object.entries(this.names).filter(([flag]) => one.quality[number] & Number(flag)).map(([, name]) => name);
      const said = this.said(direction, number);
      return `${word(direction)} ${one.energy[number] === null ? said : `${said} kWh`}${names.length ? ` (${names.join(", ")})` : ""}`;
    });
    return `${this.name(number)}: ${parts.join(" · ")}`;
  }

  draw() {
    const width = Math.floor(this.holder.clientWidth);
    if (!width) return;
    const highest = (direction) => Math.max(0, ...(this.series[direction]?.energy ?? []).map((wh) => wh ?? 0));
    const tick = niceTick(Math.max(highest("import"), highest("export"), 1));
    const up = Math.max(1, Math.ceil(highest("import") / tick)) * tick;
    const down = Math.ceil(highest("export") / tick) * tick;
    const bottom = HEIGHT - MARGIN.bottom;
    const x = (number) => MARGIN.left + (number / this.days) * (width - MARGIN.left - MARGIN.right);
    const y = (wh) => MARGIN.top + ((up - wh) / (up + down)) * (bottom - MARGIN.top);
    const frame = { width, x, y, tick, up, down, bottom };
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": word("daily") },
      hatching("hatch-days"), ...this.grid(frame),
      ...Array.from({ length: this.days }, (_, number) => this.bars(number, frame)).flat(),
      drawn("line", { class: "zero", x1: x(0), x2: x(this.days), y1: y(0), y2: y(0) }));
    this.listen(svg, frame);
    this.holder.replaceChildren(svg);
  }

  grid({ width, x, y, tick, up, down }) {
    const parts = [drawn("text", { x: MARGIN.left, y: 12, text: word("unitDay") })];
    for (let wh = -down; wh <= up; wh += tick) {
      parts.push(drawn("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(wh), y2: y(wh) }));
      parts.push(drawn("text", { x: MARGIN.left - 6, y: y(wh) + 4, "text-anchor": "end", text: kwh(Math.abs(wh)) }));
    }
    const every = Math.max(1, Math.ceil(24 / (x(1) - x(0))));
    for (let number = 0; number < this.days; number += every) {
      const day = new Date(this.first + number * DAY_MS).getUTCDate();
      parts.push(drawn("text", { x: x(number + 0.5), y: HEIGHT - 14, "text-anchor": "middle", text: String(day) }));
    }
    return parts;
  }

  bars(number, { x, y, bottom }) {
    const room = x(number + 1) - x(number);
    const place = { x: x(number) + room * 0.12, width: room * 0.76 };
    const parts = [];
    if (this.unknown(number)) parts.push(drawn("rect", { class: "gap days", x: x(number), width: room, y: MARGIN.top, height: bottom - MARGIN.top }));
    for (const [direction, one] of Object.entries(this.series)) {
      const wh = one.energy[number];
      if (wh === null) continue;
      const [top, end] = direction === "import" ? [y(wh), y(0)] : [y(0), y(-wh)];
      parts.push(drawn("rect", { class: direction, ...place, y: top, height: end - top }));
    }
    const flags = Object.values(this.series).reduce((sum, one) => sum | one.quality[number], 0);
    if (flags) parts.push(drawn("rect", { class: flags & ~PROFILE ? "flagged" : "healed", ...place, y: bottom + 3, height: 6 }));
    return parts;
  }

  listen(svg, { width }) {
    const numberAt = (event) => {
      const part = (event.clientX - svg.getBoundingClientRect().left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      return part < 0 || part >= 1 ? null : Math.floor(part * this.days);
    };
    svg.addEventListener("pointermove", (event) => {
      const number = numberAt(event);
      if (number !== null) this.readout.textContent = this.describe(number);
    });
    svg.addEventListener("pointerleave", () => { this.readout.textContent = word("pickDay"); });
    svg.addEventListener("click", (event) => {
      const number = numberAt(event);
      if (number !== null) this.pick(number);
    });
  }
}
