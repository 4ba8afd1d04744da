// The first page: gateways and meters; a meter's month as a chart, and its bill explained.

import { casesSection } from "./cases.js";
import { element } from "./elements.js";
import { meterView } from "./meter.js";
import { Refused, forgetToken, get, getAll, hasToken, setToken, takeTokenFromAddress } from "./server.js";
import { ZONE_OFFSET_MS, currentLanguage, index, integer, moment, reason, setLanguage, word } from "./words.js";

const LANGUAGE_KEY = "congto.language";
const METERS_PER_STEP = 50;
const main = document.getElementById("main");
let month = null;
let drawing = 0; // only the newest drawing may touch the page

async function render() {
  const mine = (drawing += 1);
  document.getElementById("leave").hidden = !hasToken();
  document.getElementById("language").textContent = word("other");
  document.getElementById("language").lang = word("otherCode");
  if (!hasToken()) return main.replaceChildren(loginView());
  main.replaceChildren(element("p", { class: "soft", text: word("loading") }));
  try {
    month ??= await likelyMonth();
    const match = /^#\/meters\/(.+)$/.exec(location.hash);
    const view = match
      ? await meterView(decodeURIComponent(match[1]), month, monthPicker)
      : await overview();
    if (mine === drawing) main.replaceChildren(...view);
  } catch (error) {
    if (mine !== drawing) return undefined;
    if (error instanceof Refused && error.status === 401) {
      forgetToken();
      document.getElementById("leave").hidden = true;
      return main.replaceChildren(loginView(word("wrongToken")));
    }
    main.replaceChildren(failure(error));
  }
  return undefined;
}

function failure(error) {
  return element("div", { class: "notice bad", role: "alert" },
    element("p", { text: `${word("failed")}: ${error.message}` }),
    element("button", { type: "button", text: word("retry"), on: { click: render } }));
}

function loginView(problem) {
  const input = element("input", { type: "password", name: "token", autocomplete: "off", required: "", "aria-label": word("token") });
  return element("section", { class: "card login" },
    element("h1", { text: word("token") }),
    element("p", { class: "soft", text: word("tokenHelp") }),
    problem ? element("p", { class: "notice bad", role: "alert", text: problem }) : null,
    element("form", { on: { submit: (event) => { event.preventDefault(); setToken(input.value.trim()); render(); } } },
      input, element("button", { text: word("enter") })));
}

// The month somebody most likely wants: of the last reading, or the one before it if only that one has bills.
async function likelyMonth() {
  const { items } = await get("/v1/meters", { limit: 50 });
  const last = items.map((meter) => meter.last_reading?.measured_at).filter(Boolean).sort().at(-1);
  const newest = monthOf(last ? Date.parse(last) - 1 : Date.now());
  for (const candidate of [newest, shifted(newest, -1)]) {
    if ((await get("/v1/bills", { period: candidate, limit: 1 })).items.length) return candidate;
  }
  return newest;
}

function monthOf(ms) { return new Date(ms + ZONE_OFFSET_MS).toISOString().slice(0, 7); }
function shifted(text, months) {
  const at = new Date(`${text}-01T00:00:00Z`);
  at.setUTCMonth(at.getUTCMonth() + months);
  return at.toISOString().slice(0, 7);
}

function monthPicker() {
  const step = (sign, text, label) => element("button", { type: "button", class: "quiet", text, "aria-label": word(label), title: word(label),
    on: { click: () => { month = shifted(month, sign); render(); } } });
  const [year, number] = month.split("-");
  return element("div", { class: "row month" }, step(-1, "‹", "previousMonth"),
    element("strong", { text: `${word("month")} ${Number(number)}/${year}` }), step(1, "›", "nextMonth"));
}

async function overview() {
  const [gateways, bills, holds, page] = await Promise.all([
    getAll("/v1/gateways", {}), getAll("/v1/bills", { period: month }), getAll("/v1/holds", { period: month }),
    get("/v1/meters", { limit: METERS_PER_STEP }),
  ]);
  const states = { bills: new Map(bills.map((bill) => [bill.metering_point_id, bill])), holds: new Map(holds.map((hold) => [hold.metering_point_id, hold])) };
  return [
    element("section", {},
      element("h2", { text: word("gateways") }),
      gateways.length ? element("div", { class: "cards" }, ...gateways.map(gatewayCard)) : element("p", { class: "soft", text: word("noGateways") })),
    element("section", { class: "section" },
      element("div", { class: "row spread" }, element("h2", { text: word("meters") }), monthPicker()),
      metersTable(page, states)),
    casesSection(month),
  ];
}

function gatewayCard(gateway) {
  const received = gateway.sequences.reduce((sum, one) => sum + one.newest - one.missing_count, 0);
  const missing = gateway.sequences.reduce((sum, one) => sum + one.missing_count, 0);
  const facts = [
    [word("lastContact"), gateway.last_contact_at ? moment(gateway.last_contact_at) : word("none")],
    [word("meterCount"), integer(gateway.meters)], [word("batches"), integer(received)],
  ];
  const ranges = gateway.sequences.flatMap((one) => one.missing.map((range) => `${range.first}–${range.last}`)).join(", ");
  return element("article", { class: "card" },
    element("div", { class: "row spread" }, element("h3", { text: gateway.gateway_id }),
      element("span", { class: `state ${gateway.state}`, text: word(gateway.state) })),
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]),
      element("dt", { text: word("missing") }),
      element("dd", {}, missing ? element("span", { class: "tag bad", title: ranges, text: integer(missing) }) : word("noGaps"))));
}

function metersTable(page, states) {
  if (!page.items.length) return element("p", { class: "notice", text: word("noMeters") });
  const body = element("tbody", {}, ...page.items.map((meter) => meterRow(meter, states)));
  const more = element("button", { type: "button", class: "quiet", text: word("more") });
  const card = element("div", { class: "card meters section" },
    element("table", {},
      element("thead", {}, element("tr", {}, ...["meter", "customer", "model"].map((name) => element("th", { text: word(name) })),
        element("th", { class: "number", text: word("reading") }), element("th", { class: "number", text: word("at") }),
        element("th", { class: "number", text: word("bill") }))),
      body));
  let cursor = page.next_cursor;
  more.hidden = cursor === null;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const next = await get("/v1/meters", { limit: METERS_PER_STEP, cursor });
      body.append(...next.items.map((meter) => meterRow(meter, states)));
      cursor = next.next_cursor;
      more.hidden = cursor === null;
    } catch (error) {
      card.append(failure(error));
    }
    more.disabled = false;
  });
  return element("div", {}, card, element("p", {}, more));
}

function meterRow(meter, states) {
  const address = `#/meters/${encodeURIComponent(meter.meter_id)}`;
  const reading = meter.last_reading;
  const open = (event) => { if (event.target.tagName !== "A") location.hash = address; };
  return element("tr", { on: { click: open } },
    element("td", {}, element("a", { href: address, text: meter.meter_id })),
    element("td", { text: meter.customer?.name ?? "–" }),
    element("td", { class: "model soft small", text: meter.model }),
    element("td", { class: "number", text: reading ? `${index(reading.value)} kWh` : word("none") }),
    element("td", { class: "number soft small when", text: reading ? moment(reading.measured_at) : "" }),
    element("td", { class: "number" }, billState(meter.installation?.metering_point_id, states)));
}

function billState(point, { bills, holds }) {
  const bill = bills.get(point);
  const hold = holds.get(point);
  if (bill) {
    return element("span", {}, element("strong", { text: `${integer(bill.total)} đ` }),
      hold ? " " : null,
      hold ? element("span", { class: "tag warn", title: reason(hold.reason), text: word("purchaseHeld") }) : null);
  }
  if (hold) return element("span", { class: "tag bad", title: reason(hold.reason), text: word("held") });
  return element("span", { class: "soft small", text: word("notBilled") });
}

document.getElementById("language").addEventListener("click", () => {
  setLanguage(currentLanguage() === "vi" ? "en" : "vi");
  localStorage.setItem(LANGUAGE_KEY, currentLanguage());
  render();
});
document.getElementById("leave").addEventListener("click", () => { forgetToken(); month = null; render(); });
addEventListener("hashchange", () => { takeTokenFromAddress(); main.focus({ preventScroll: true }); scrollTo(0, 0); render(); });

takeTokenFromAddress();
setLanguage(localStorage.getItem(LANGUAGE_KEY) ?? "vi");
render();
