"use strict";
// Asks for the page again now and then, and changes in place what has changed: focus, selection, scrolling and what
// stands open stay as they are. What is typed into the filter asks at once. Without this script all works as well.
const EVERY_MS = 10000, PATIENCE_MS = 8000, TYPING_MS = 150;
let asking, typing;

function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes)
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id ? known.get(child.id) : next && !next.id && next.nodeName === child.nodeName ? next : null;
    if (same && same === next) next = next.nextSibling;
    else old.insertBefore(same ?? document.importNode(child, true), next);
    if (same) become(same, child);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

async function refresh() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(location.href, { signal: mine.signal });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!fresh.getElementById("lost")) throw new Error("this is not the monitor's page");
    const focused = document.activeElement;
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    become(document.body, fresh.body);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  } catch {
    if (mine === asking) document.getElementById("lost").hidden = false;
  } finally {
    clearTimeout(late);
    if (mine === asking) asking = null;
  }
}

function filter(event) {
  if (!event.target.closest("#filter")) return;
  const fields = [...new FormData(document.getElementById("filter"))].filter(([, value]) => value.trim());
  history.replaceState(null, "", `?${new URLSearchParams(fields)}`);
  clearTimeout(typing);
  typing = setTimeout(refresh, TYPING_MS);
}

document.addEventListener("input", filter);
document.addEventListener("submit", (event) => (event.preventDefault(), filter(event)));
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(() => document.hidden || asking || refresh(), EVERY_MS);
