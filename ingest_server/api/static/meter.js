// One meter: its month as a chart, its gaps, and its bill, line by line and explained.

import { HalfHourChart } from "./chart.js";
import { DayBars } from "./daybars.js";
import { element } from "./elements.js";
import { eventsCard, eventsOf } from "./events.js";
import { get, getAll } from "./server.js";
import { ZONE_OFFSET_MS, currentLanguage, day, integer, kwh, moment, reason, word } from "./words.js";

const DAY_MS = 24 * 3600 * 1000;

export async function meterView(id, month, monthPicker) {
  const path = `/v1/meters/${encodeURIComponent(id)}`;
  const [from, to] = spanOf(month);
  const asked = eventsOf(id, from, to);
  const [meter, chart, daily, events, bills, holds] = await Promise.all([
    get(path), get(`${path}/chart`, { from, to }), get(`${path}/daily`, daysOf(month)), get("/v1/events", asked),
    getAll("/v1/bills", { period: month, meter_id: id }), getAll("/v1/holds", { period: month, meter_id: id, language: currentLanguage() }),
  ]);
  const details = await Promise.all(bills.map((bill) => get(`/v1/bills/${bill.bill_id}`, { language: currentLanguage() })));
  return [
    element("p", {}, element("a", { href: "#/", text: `‹ ${word("all")}` })),
    element("div", { class: "row spread" },
      element("div", {}, element("h1", { text: meter.customer?.name ?? meter.meter_id }), element("p", { class: "soft small", text: factsOf(meter) })),
      monthPicker()),
    ...energyCards(chart, daily),
    ...holds.map(holdNotice),
    ...(details.length ? details.map(billColumns) : holds.length ? [] : [element("p", { class: "notice", text: word("noBill") })]),
    eventsCard(asked, events),
  ];
}

// A civil month as two instants, as the API wants them.
function spanOf(month) {
  const first = Date.parse(`${month}-01T00:00:00Z`);
  const next = new Date(first);
  next.setUTCMonth(next.getUTCMonth() + 1);
  return [first, next.getTime()].map((ms) => new Date(ms - ZONE_OFFSET_MS).toISOString().replace(".000Z", "Z"));
}

// The same month as its first and last civil day.
function daysOf(month) {
  const next = new Date(`${month}-01T00:00:00Z`);
  next.setUTCMonth(next.getUTCMonth() + 1);
  return { from: `${month}-01`, to: new Date(next.getTime() - DAY_MS).toISOString().slice(0, 10) };
}

function factsOf(meter) {
  const facts = [`${word("meter")} ${meter.meter_id}`, meter.model];
  if (meter.serial) facts.push(`${word("serial")} ${meter.serial}`);
  facts.push(`${word("gateway")} ${meter.gateway_id}`);
  if (meter.installation) {
    facts.push(`${word("point")} ${meter.installation.metering_point_id}`);
    if (meter.installation.multiplier !== 1) facts.push(`${word("multiplier")} ${integer(meter.installation.multiplier)}`);
  }
  return facts.join(" · ");
}

// Half hours and days: a day that is chosen among the bars is shown in half hours.
function energyCards(chart, daily) {
  const known = chart.series.some((one) => one.energy.some((wh) => wh !== null));
  const card = element("section", { class: "card section" });
  card.append(element("div", { class: "row spread" },
    element("h2", { text: word("halfHourly") }),
    element("p", { class: "small soft", text: chart.series.map((one) => `${word(one.direction)}: ${kwh(sumOf(one))} kWh`).join(" · ") })));
  const factors = [...new Set(chart.multipliers.map((one) => one.multiplier))].filter((factor) => factor !== 1);
  if (factors.length) card.append(element("p", { class: "small soft", text: `${word("unmultiplied")} ${factors.join(", ")}` }));
  const drawing = new HalfHourChart(chart);
  const bars = new DayBars(daily, (number) => {
    drawing.show(number);
    if (known) card.scrollIntoView({ behavior: "smooth", block: "nearest" });
  });
  if (known) card.append(drawing.element, ...gapList(chart));
  else card.append(element("p", { class: "soft", text: word("noReadings") }));
  if (!bars.known) return [card];
  const sums = Object.entries(bars.series).map(([direction, one]) => `${word(direction)}: ${kwh(one.known_energy)} kWh${one.energy.includes(null) ? ` (${word("known")})` : ""}`);
  return [card, element("section", { class: "card section" },
    element("div", { class: "row spread" }, element("h2", { text: word("daily") }), element("p", { class: "small soft", text: sums.join(" · ") })),
    bars.element)];
}

function sumOf(series) {
  return series.known_energy + series.gaps.reduce((sum, gap) => sum + (gap.energy ?? 0), 0);
}

function gapList(chart) {
  const items = chart.series.flatMap((one) => one.gaps.map((gap) => element("li", {
    text: `${word(one.direction)}: ${moment(gap.from)} – ${moment(gap.to)}, ${gap.energy === null ? word("gapUnknown") : `${word("gapEnergy")} ${kwh(gap.energy)} kWh`}`,
  })));
  return items.length ? [element("details", {}, element("summary", { text: `${word("gaps")} (${items.length})` }), element("ul", { class: "small" }, ...items))] : [];
}

function holdNotice(hold) {
  return element("div", { class: "notice" },
    element("strong", { text: `${word(hold.reason.startsWith("purchase_") ? "purchaseHeld" : "held")}: ${reason(hold.reason)}` }),
    element("div", { class: "small", text: `${word("cure")}: ${hold.detail}` }));
}

function billColumns(bill) {
  return element("section", { class: "columns" }, billCard(bill),
    element("article", { class: "card" }, element("h2", { text: word("explanation") }),
      element("ol", { class: "explained small" }, ...bill.explanation.map((sentence) => element("li", { text: sentence })))));
}

function billCard(bill) {
  const cell = (text) => element("td", { class: "number", text });
  const row = (kind, name, energy, price, amount) => element("tr", { class: kind }, element("td", { text: name }), cell(energy), cell(price), cell(amount));
  const lines = bill.lines.map((line) => row("", line.name, line.energy_wh === null ? "" : quantity(line),
    line.price === null ? "" : integer(line.price), integer(line.amount)));
  const tax = lines.splice(bill.lines.findIndex((line) => line.kind === "vat"), 1);
  return element("article", { class: "card" },
    element("div", { class: "row spread" }, element("h2", { text: `${word("bill")} ${bill.bill_id} (${word(`state_${bill.state}`)})` }),
      element("span", { class: "soft small", text: `${day(bill.period_from)} – ${day(bill.period_to)}` })),
    element("p", { class: "soft small", text: [bill.metering_point_id, bill.customer_name, bill.customer_address].filter(Boolean).join(" · ") }),
    element("table", {},
      element("thead", {}, element("tr", {}, element("th", { text: word("item") }), ...["kWh", word("price"), word("amount")].map((text) => element("th", { class: "number", text })))),
      element("tbody", {}, ...lines, row("sum", word("subtotal"), kwh(bill.energy_wh), "", integer(bill.subtotal)), ...tax,
        row("total", word("total"), "", "", `${integer(bill.total)} đ`))),
    purchaseText(bill.purchase));
}

// A line of demand is in kW, all others are in kWh as the column says.
function quantity(line) {
  return line.kind === "demand" ? `${kwh(line.energy_wh)} kW` : kwh(line.energy_wh);
}

function purchaseText(purchase) {
  if (!purchase) return null;
  const parts = [];
  if (purchase.energy_wh) parts.push(`${word("purchase")}: ${kwh(purchase.energy_wh)} kWh × ${integer(purchase.price)} đ/kWh = ${integer(purchase.amount)} đ`);
  if (purchase.carried_out_wh) parts.push(`${word("carried")}: ${kwh(purchase.carried_out_wh)} kWh`);
  return parts.length ? element("p", { class: "small", text: parts.join(" · ") }) : null;
}
