// The API's description for people, drawn from /openapi.json, which needs the token like everything that is not a shell.

import { element } from "./elements.js";
import { forgetToken, get, hasToken, setToken, takeTokenFromAddress } from "./server.js";
import { setLanguage, word } from "./words.js";

const main = document.getElementById("main");

async function render() {
  if (!hasToken()) return main.replaceChildren(login());
  try {
    const schema = await get("/openapi.json");
    main.replaceChildren(
      element("h1", { text: `${word("docsTitle")} ${schema.info.version}` }),
      element("p", { text: plain(schema.info.description) }),
      ...Object.entries(schema.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => endpoint(path, method, operation))),
      element("h1", { class: "section", text: word("problems") }),
      ...Object.entries(schema["x-problems"]).map(([name, meaning]) => element("section", { class: "card endpoint", id: name },
        element("h2", {}, element("code", { text: name })), element("p", { text: meaning }))));
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    if (error.status === 401) {
      forgetToken();
      return main.replaceChildren(login(word("wrongToken")));
    }
    main.replaceChildren(element("p", { class: "notice bad", text: `${word("failed")}: ${error.message}` }));
  }
  return undefined;
}

function login(problem) {
  const input = element("input", { type: "password", autocomplete: "off", required: "", "aria-label": word("token") });
  return element("section", { class: "card login" }, element("h1", { text: word("token") }), element("p", { class: "soft", text: word("tokenHelp") }),
    problem ? element("p", { class: "notice bad", text: problem }) : null,
    element("form", { on: { submit: (event) => { event.preventDefault(); setToken(input.value.trim()); render(); } } }, input, element("button", { text: word("enter") })));
}

function endpoint(path, method, operation) {
  const rows = (operation.parameters ?? []).map((item) => element("tr", {},
    element("td", {}, element("code", { text: item.name })),
    element("td", { class: "small", text: [item.required ? word("required") : "", limits(item.schema), item.description ?? ""].filter(Boolean).join(" · ") })));
  const example = operation.responses["200"].content["application/json"].example;
  return element("section", { class: "card endpoint" },
    element("h2", {}, element("span", { class: "tag", text: method.toUpperCase() }), " ", element("code", { text: path })),
    element("p", { text: plain(operation.description ?? "") }),
    rows.length ? element("table", {}, element("thead", {}, element("tr", {}, element("th", { text: word("parameters") }), element("th"))), element("tbody", {}, ...rows)) : null,
    element("details", {}, element("summary", { text: word("answer") }), element("pre", { text: JSON.stringify(example, null, 2) })));
}

function plain(text) { return text.replaceAll("`", ""); }

function limits(shape) {
  const one = shape.anyOf?.find((item) => item.type !== "null") ?? shape;
  const parts = [one.type ?? "string"];
  if (one.enum) parts.push(one.enum.join(" | "));
  if (one.minimum !== undefined) parts.push(`${one.minimum} … ${one.maximum ?? "∞"}`);
  if (one.maxLength !== undefined) parts.push(`≤ ${one.maxLength}`);
  if (shape.default !== undefined) parts.push(`= ${shape.default}`);
  if (shape.examples?.length) parts.push(`${shape.examples[0]}`);
  return parts.join(", ");
}

takeTokenFromAddress();
setLanguage(localStorage.getItem("congto.language") ?? "vi");
render();
