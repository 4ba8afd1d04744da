// What happened at a meter in a month: a list, the newest first, that grows when asked to.

import { element } from "./elements.js";
import { get } from "./server.js";
import { eventName, integer, moment, word } from "./words.js";

const EVENTS_PER_STEP = 20;

export function eventsOf(meter, from, to) {
  return { meter_id: meter, from, to, limit: EVENTS_PER_STEP };
}

export function eventsCard(asked, page) {
  const body = element("tbody", {}, ...page.items.map(row));
  const card = element("section", { class: "card section events" }, element("h2", { text: word("events") }));
  if (!page.items.length) {
    card.append(element("p", { class: "soft", text: word("noEvents") }));
    return card;
  }
  let cursor = page.next_cursor;
  const more = element("button", { type: "button", class: "quiet", text: word("more") });
  const trouble = element("p", { class: "notice bad", role: "alert", hidden: "" });
  more.hidden = cursor === null;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const next = await get("/v1/events", { ...asked, cursor });
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
    element("thead", {}, element("tr", {}, ...["at", "event", "details"].map((name) => element("th", { text: word(name) })))), body), more, trouble);
  return card;
}

function row(event) {
  return element("tr", {}, element("td", { class: "when", text: moment(event.happened_at), title: `${word("receivedAt")} ${moment(event.received_at)}` }),
    element("td", { text: nameOf(event) }), element("td", { class: "small soft", text: detailsOf(event) }));
}

function nameOf(event) {
  if (event.kind === "relay") return eventName(event.code === 1 ? "relay_on" : "relay_off");
  return event.kind === "log" ? `${eventName("log")} ${event.code}` : eventName(event.kind);
}

// What the meter said, as it said it: the numbers of a log's entries are the vendor's.
function detailsOf(event) {
  const parts = [];
  if (event.kind === "log") parts.push(eventName(event.object) ?? event.object);
  else if (event.object) parts.push(event.object);
  if (event.kind.startsWith("clock") && event.value !== null) parts.push(`${integer(event.value / 1000)} s`);
  else if (event.kind !== "relay" && event.value !== null) parts.push(integer(event.value));
  if (event.text) parts.push(event.text);
  if (event.body) parts.push(`${integer(event.body.length / 2)} ${word("octets")}`);
  return parts.join(" · ");
}
