// A list as a table that grows when asked to: the first page is there, the next ones come behind it.

import { element } from "./elements.js";
import { get } from "./server.js";
import { word } from "./words.js";

// `heads` are the elements of the head's row, `row` makes one of an item; `path` and `asked` are how the next page is got.
export function growingTable({ path, asked, page, heads, row, empty }) {
  if (!page.items.length) return [element("p", { class: "soft", text: empty })];
  const body = element("tbody", {}, ...page.items.map(row));
  let cursor = page.next_cursor;
  const more = element("button", { type: "button", class: "quiet", text: word("more") });
  const trouble = element("p", { class: "notice bad", role: "alert", hidden: "" });
  more.hidden = cursor === null;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const next = await get(path, { ...asked, cursor });
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
  return [element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body), more, trouble];
}
