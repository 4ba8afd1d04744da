// What happened at a meter in a month: a list, the newest first, that grows when asked to.

import { element } from "./elements.js";
import { growingTable } from "./growing.js";
import { eventName, integer, moment, word } from "./words.js";

const EVENTS_PER_STEP = 20;

export function eventsOf(meter, from, to) {
  return { meter_id: meter, from, to, limit: EVENTS_PER_STEP };
}

export function eventsCard(asked, page) {
  const heads = ["at", "event", "details"].map((name) => element("th", { text: word(name) }));
  return element("section", { class: "card section events" }, element("h2", { text: word("events") }),
    ...growingTable({ path: "/v1/events", asked, page, heads, row, empty: word("noEvents") }));
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
