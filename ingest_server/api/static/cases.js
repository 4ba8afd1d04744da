// What somebody must look at in a month: a list, the riskiest first, that grows when asked to.

import { element } from "./elements.js";
import { get } from "./server.js";
import { currentLanguage, day, kwh, word } from "./words.js";

const CASES_PER_STEP = 20;
const REASONS_SHOWN = 4;

// Comes when it comes: the queue of a large company takes longer than the rest of the page, which does not wait for it.
export function casesSection(month) {
  const asked = { period: month, language: currentLanguage(), limit: CASES_PER_STEP };
  const card = element("section", { class: "card section events" }, element("h2", { text: word("cases") }));
  const state = element("p", { class: "soft", text: word("loading") });
  card.append(state);
  get("/v1/cases", asked).then(
    (page) => { state.remove(); list(card, asked, page); },
    (error) => { state.className = "notice bad"; state.textContent = `${word("failed")}: ${error.message}`; });
  return card;
}

function list(card, asked, page) {
  const body = element("tbody", {}, ...page.items.map(row));
  if (!page.items.length) {
    card.append(element("p", { class: "soft", text: word("noCases") }));
    return;
  }
  let cursor = page.next_cursor;
  const more = element("button", { type: "button", class: "quiet", text: word("more") });
  const trouble = element("p", { class: "notice bad", role: "alert", hidden: "" });
  more.hidden = cursor === null;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const next = await get("/v1/cases", { ...asked, cursor });
      body.append(...next.items.map(row));
      cursor = next.next_cursor;
      more.hidden = cursor === null;
      trouble.hidden = true;
    } catch (error) {
      trouble.textContent = `${word("failed")}: ${error.message}`;
      trouble.hidden = false;
    }
    more.disabled = false;
  });
  card.append(element("table", {},
    element("thead", {}, element("tr", {}, element("th", { text: word("meter") }),
      element("th", { class: "number", text: word("stake") }), element("th", { text: word("why") }), element("th", { text: word("waits") }))), body), more, trouble);
}

function row(item) {
  const place = item.transformer_id === null ? `${item.metering_point_id} · ${item.obis}` : `${word("transformer")} ${item.transformer_id}`;
  const rest = rulesOf(item).length - REASONS_SHOWN;
  return element("tr", {},
    element("td", {}, element("a", { href: `#/meters/${encodeURIComponent(item.meter_id)}`, text: item.meter_id }), element("div", { class: "small soft", text: place })),
    element("td", { class: "number", text: kwh(item.score_wh, 0) }),
    element("td", {}, ...rulesOf(item).slice(0, REASONS_SHOWN).map(reasonLine), rest > 0 ? element("div", { class: "small soft", text: `… +${rest}` }) : null),
    element("td", { class: "small" }, ...item.waiting.map((one) => element("div", { text: `${one.change_id}: ${one.made_by}`, title: one.why }))));
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
