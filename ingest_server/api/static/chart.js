// Half-hourly energy as an inline SVG: import above the axis, export below, gaps hatched, quality marks in a strip.

import { drawn, element } from "./elements.js";
import { ZONE_OFFSET_MS, clock, dayName, kwh, word } from "./words.js";

const DAY_MS = 24 * 3600 * 1000;
export const MARGIN = { left: 46, right: 10, top: 24, bottom: 40 };
const HEIGHT = 300;
const STRIP = 6; // height of the quality marks
const PROFILE = 1; // the flag of readings filled from the load profile; its name comes with the chart

export class HalfHourChart {
  constructor(chart) {
    this.from = Date.parse(chart.from);
    this.step = chart.step_s * 1000;
    this.series = Object.fromEntries(chart.series.map((one) => [one.direction, one]));
    this.slots = Math.round((Date.parse(chart.to) - this.from) / this.step);
    this.perDay = DAY_MS / this.step;
    this.names = chart.series[0]?.quality_names ?? {};
    this.day = null;
    this.holder = element("div", { class: "chart" });
    this.readout = element("p", { class: "readout small", "aria-live": "polite", text: word("pick") });
    this.back = element("button", { type: "button", class: "quiet", text: word("wholeMonth"), on: { click: () => this.show(null) } });
    this.before = element("button", { type: "button", class: "quiet", text: `‹ ${word("previousDay")}`, on: { click: () => this.show(this.day - 1) } });
    this.after = element("button", { type: "button", class: "quiet", text: `${word("nextDay")} ›`, on: { click: () => this.show(this.day + 1) } });
    this.tools = element("div", { class: "row small" }, this.before, this.after, this.back);
    this.element = element("div", {}, this.holder, this.readout, this.tools, this.legend());
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.holder);
    this.show(null);
  }

  get days() { return Math.ceil(this.slots / this.perDay); }

  show(day) {
    this.day = day === null ? null : Math.min(Math.max(day, 0), this.days - 1);
    this.tools.hidden = this.day === null;
    this.before.disabled = this.day === 0;
    this.after.disabled = this.day === this.days - 1;
    this.readout.textContent = this.day === null ? word("pick") : this.sumOfDay(this.day);
    this.draw();
  }

  energyOfDay(day, direction) {
    const values = this.series[direction]?.energy.slice(day * this.perDay, (day + 1) * this.perDay) ?? [];
    return { wh: values.reduce((sum, value) => sum + (value ?? 0), 0), whole: values.every((value) => value !== null) };
  }

  sumOfDay(day) {
    const parts = Object.keys(this.series).map((direction) => {
      const { wh, whole } = this.energyOfDay(day, direction);
      return `${word(direction)} ${kwh(wh)} kWh${whole ? "" : ` (${word("known")})`}`;
    });
    return `${dayName(this.from + day * DAY_MS)}: ${parts.join(" · ")}`;
  }

  legend() {
    const keys = ["import", "export"].filter((direction) => this.series[direction]);
    const marks = Object.values(this.series).flatMap((one) => one.quality);
    if (marks.some((flags) => flags & PROFILE)) keys.push("healed");
    if (marks.some((flags) => flags & ~PROFILE)) keys.push("flagged");
    if (Object.values(this.series).some((one) => one.gaps.length)) keys.push("gap");
    return element("div", { class: "legend" }, ...keys.map((key) => element("span", {}, element("i", { class: `key ${key}` }), word(key))));
  }

  draw() {
    const width = Math.floor(this.holder.clientWidth);
    if (!width) return;
    const first = this.day === null ? 0 : this.day * this.perDay;
    const last = this.day === null ? this.slots : Math.min(first + this.perDay, this.slots);
    const highest = (direction) => Math.max(0, ...(this.series[direction]?.energy.slice(first, last).map((value) => value ?? 0) ?? []));
    const tick = niceTick(Math.max(highest("import"), highest("export"), 1));
    const up = Math.max(1, Math.ceil(highest("import") / tick)) * tick;
    const down = Math.ceil(highest("export") / tick) * tick;
    const bottom = HEIGHT - MARGIN.bottom;
    const x = (slot) => MARGIN.left + ((slot - first) / (last - first)) * (width - MARGIN.left - MARGIN.right);
    const y = (wh) => MARGIN.top + ((up - wh) / (up + down)) * (bottom - MARGIN.top);
    const frame = { width, first, last, x, y, tick, up, down, bottom };
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": word("halfHourly") },
      hatching(), ...this.grid(frame), ...this.gaps(frame),
      this.area("import", 1, frame), this.area("export", -1, frame),
      drawn("line", { class: "zero", x1: x(first), x2: x(last), y1: y(0), y2: y(0) }), ...this.marks(frame));
    this.listen(svg, frame);
    this.holder.replaceChildren(svg);
  }

  grid({ width, first, last, x, y, tick, up, down, bottom }) {
    const parts = [drawn("text", { x: MARGIN.left, y: 12, text: word("unit") })];
    for (let wh = -down; wh <= up; wh += tick) {
      parts.push(drawn("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(wh), y2: y(wh) }));
      parts.push(drawn("text", { x: MARGIN.left - 6, y: y(wh) + 4, "text-anchor": "end", text: kwh(Math.abs(wh)) }));
    }
    const stride = this.day === null ? this.perDay : 2;
    const room = (x(first + stride) - x(first));
    const every = Math.max(1, Math.ceil((this.day === null ? 24 : 44) / room));
    for (let slot = first, n = 0; slot <= last; slot += stride, n += 1) {
      if (n % every) continue;
      parts.push(drawn("line", { class: "grid", x1: x(slot), x2: x(slot), y1: MARGIN.top, y2: bottom }));
      const at = this.from + slot * this.step;
      if (this.day === null && slot < last) {
        const date = new Date(at + ZONE_OFFSET_MS);
        parts.push(drawn("text", { x: x(slot) + room / 2, y: HEIGHT - 14, "text-anchor": "middle", text: String(date.getUTCDate()) }));
      } else if (this.day !== null && x(slot) < width - 24) {
        parts.push(drawn("text", { x: x(slot), y: HEIGHT - 14, "text-anchor": "middle", text: clock(at) }));
      }
    }
    return parts;
  }

  gaps({ first, last, x, bottom }) {
    const seen = new Map(Object.values(this.series).flatMap((one) => one.gaps).map((gap) => [gap.from + gap.to, gap]));
    return [...seen.values()].map((gap) => {
      const start = Math.max((Date.parse(gap.from) - this.from) / this.step, first);
      const end = Math.min((Date.parse(gap.to) - this.from) / this.step, last);
      return end <= start ? null : drawn("rect", { class: "gap", x: x(start), width: x(end) - x(start), y: MARGIN.top, height: bottom - MARGIN.top });
    }).filter(Boolean);
  }

  area(direction, sign, { first, last, x, y }) {
    const energy = this.series[direction]?.energy;
    if (!energy) return null;
    let path = "";
    for (let slot = first; slot < last; slot += 1) {
      if (energy[slot] === null) continue;
      if (slot === first || energy[slot - 1] === null) path += `M${x(slot).toFixed(1)} ${y(0).toFixed(1)}`;
      path += `V${y(sign * energy[slot]).toFixed(1)}H${x(slot + 1).toFixed(1)}`;
      if (slot + 1 === last || energy[slot + 1] === null) path += `V${y(0).toFixed(1)}Z`;
    }
    return drawn("path", { class: direction, d: path });
  }

  marks({ first, last, x, bottom }) {
    const parts = [];
    const flags = (slot) => Object.values(this.series).reduce((sum, one) => sum | one.quality[slot], 0);
    for (let slot = first; slot < last; slot += 1) {
      const here = flags(slot);
      if (!here) continue;
      let end = slot + 1;
      while (end < last && flags(end) === here) end += 1;
      const kind = here & ~PROFILE ? "flagged" : "healed";
      parts.push(drawn("rect", { class: kind, x: x(slot), width: Math.max(x(end) - x(slot), 1), y: bottom + 3, height: STRIP }));
      slot = end - 1;
    }
    return parts;
  }

  listen(svg, frame) {
    const guide = drawn("line", { class: "guide", y1: MARGIN.top, y2: frame.bottom, visibility: "hidden" });
    svg.append(guide);
    const slotAt = (event) => {
      const part = (event.clientX - svg.getBoundingClientRect().left - MARGIN.left) / (frame.width - MARGIN.left - MARGIN.right);
      return part < 0 || part >= 1 ? null : frame.first + Math.floor(part * (frame.last - frame.first));
    };
    svg.addEventListener("pointermove", (event) => {
      const slot = slotAt(event);
      guide.setAttribute("visibility", slot === null ? "hidden" : "visible");
      if (slot === null) return;
      guide.setAttribute("x1", frame.x(slot + 0.5));
      guide.setAttribute("x2", frame.x(slot + 0.5));
      this.readout.textContent = this.describe(slot);
    });
    svg.addEventListener("pointerleave", () => {
      guide.setAttribute("visibility", "hidden");
      this.readout.textContent = this.day === null ? word("pick") : this.sumOfDay(this.day);
    });
    svg.addEventListener("click", (event) => {
      const slot = slotAt(event);
      if (slot !== null && this.day === null) this.show(Math.floor(slot / this.perDay));
    });
  }

  describe(slot) {
    const at = this.from + slot * this.step;
    const parts = Object.entries(this.series).map(([direction, one]) => {
      const value = one.energy[slot] === null ? word("gap").toLowerCase() : `${kwh(one.energy[slot])} kWh`;
      const names = Object.entries(this.names).filter(([flag]) => one.quality[slot] & Number(flag)).map(([, name]) => name);
      return `${word(direction)} ${value}${names.length ? ` (${names.join(", ")})` : ""}`;
    });
    return `${dayName(at)} ${clock(at)}–${clock(at + this.step)}: ${parts.join(" · ")}`;
  }
}

export function niceTick(highest) {
  const rough = highest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((tick) => tick >= rough);
}

export function hatching(id = "hatch") {
  return drawn("defs", {}, drawn("pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    drawn("rect", { width: 7, height: 7, fill: "#eef2f4" }), drawn("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 7 })));
}
