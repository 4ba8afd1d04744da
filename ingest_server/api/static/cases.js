// What somebody must look at in a month: a list, the riskiest first, that grows when asked to.

import { element } from "./elements.js";
import { growingTable } from "./growing.js";
import { get } from "./server.js";
import { currentLanguage, day, kwh, word } from "./words.js";

const CASES_PER_STEP = 20;
const REASONS_SHOWN = 4;

// Comes when it comes: the queue of a large company takes longer than the rest of the page, which does not wait for it.
export function casesSection(month) {
  const asked = { period: month, language: currentLanguage(), limit: CASES_PER_STEP };
  const every = element("input", { type: "checkbox" });
  const content = element("div");
  const show = async () => {
    const mine = every.checked ? { ...asked, all: true } : asked;
    content.replaceChildren(element("p", { class: "soft", text: word("loading") }));
    try {
      const page = await get("/v1/cases", mine);
      if (every.checked === (mine.all ?? false)) content.replaceChildren(...growingTable({ path: "/v1/cases", asked: mine, page, heads: heads(), row, empty: word("noCases") }));
    } catch (error) {
      content.replaceChildren(element("p", { class: "notice bad", role: "alert", text: `${word("failed")}: ${error.message}` }));
    }
  };
  every.addEventListener("change", show);
  show();
  return element("section", { class: "card section events cases" }, element("div", { class: "row" }, element("h2", { text: word("cases") }),
    element("label", { class: "small" }, every, word("closedToo"))), content);
}

function heads() {
  return [element("th", { text: word("meter") }), element("th", { class: "number", text: word("stake") }), element("th", { text: word("why") }), element("th", { text: word("waits") })];
}

function row(item) {
  const place = item.transformer_id === null ? `${item.metering_point_id} · ${item.obis}` : `${word("transformer")} ${item.transformer_id}`;
  const rest = rulesOf(item).length - REASONS_SHOWN;
  return element("tr", {},
    element("td", {}, element("a", { href: `#/meters/${encodeURIComponent(item.meter_id)}`, text: item.meter_id }), element("div", { class: "small soft", text: place }),
      item.case_id === null ? null : element("div", { class: "small soft", text: `${word("caseNumber")} ${item.case_id}` })),
    element("td", { class: "number", text: kwh(item.score_wh, 0) }),
    element("td", {}, ...rulesOf(item).slice(0, REASONS_SHOWN).map(reasonLine), rest > 0 ? element("div", { class: "small soft", text: `… +${rest}` }) : null),
    element("td", { class: "small" }, ...item.waiting.map((one) => element("div", { text: `${word("change")} ${one.change_id}: ${one.made_by}`, title: one.why })), closed(item)));
}

// Why nobody need look at it any more.
function closed(item) {
  if (item.accepted) return element("div", { class: "soft", text: `${word("acceptedBy")} ${item.accepted.actor}: ${item.accepted.note}` });
  return item.state === "decided" ? element("div", { class: "soft", text: word("decidedCase") }) : null;
}

// Each rule once, with the days that it minds; the numbers are those of the first.
function rulesOf(item) {
  const rules = new Map();
  for (const reason of item.reasons) {
    const known = rules.get(reason.rule);
    if (known) known.times += 1;
    else rules.set(reason.rule, { ...reason, times: 1 });
  }
  return [...rules.values()];
}

function reasonLine(one) {
  const numbers = Object.entries(one.evidence).map(([name, value]) => `${name} ${shown(value)}`).join(", ");
  const times = one.times > 1 ? ` ×${one.times}` : "";
  return element("div", {}, element("div", { text: `${one.rule}${times} ${one.text}` }), element("div", { class: "small soft", text: `${day(one.on)}: ${numbers}` }));
}

function shown(value) { return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(3))) : String(value); }
