// Talking to the API: the token, problems, pages. The token lives in this tab (sessionStorage) and is sent to nobody else.

const KEY = "congto.token";
export const PAGES_MAX = 25; // of 200 rows: beyond 5,000 meters a list on one page helps nobody

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.status = problem.status;
  }
}

// A link may hand the token over as #token=…, percent-encoded, and say where to go: #token=…&go=/meters/M-0001.
// Fragments are not sent to servers; it is taken out of the address at once.
export function takeTokenFromAddress() {
  const match = /^#token=([^&]+)(?:&go=(.+))?$/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", location.pathname + (match[2] ? `#${match[2]}` : ""));
  try {
    sessionStorage.setItem(KEY, decodeURIComponent(match[1]));
  } catch {
    sessionStorage.removeItem(KEY); // not percent-encoded: no token of ours
  }
}

export function hasToken() { return sessionStorage.getItem(KEY) !== null; }
export function setToken(token) { sessionStorage.setItem(KEY, token); }
export function forgetToken() { sessionStorage.removeItem(KEY); }

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  const answer = await fetch(query.size ? `${path}?${query}` : path, {
    headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` }, cache: "no-store", credentials: "omit",
  });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(body);
  return body;
}

export async function getAll(path, parameters) {
  const items = [];
  let cursor = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const found = await get(path, { ...parameters, limit: 200, cursor });
    items.push(...found.items);
    cursor = found.next_cursor;
    if (cursor === null) break;
  }
  return items;
}
