// Asks for the page again and puts what is marked as live in place of the old. Nothing else moves:
// not the focus, not what is open or selected.
"use strict";

const every = Number(document.body.dataset.every);
const lost = document.getElementById("lost");
const shape = page => page.getElementById("main").dataset.shape;

// What somebody is reading out or copying is left alone until the next time.
function inUse(node) {
  const selection = getSelection();
  return node.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(node, true));
}

async function refresh() {
  const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (answer.status === 401) return location.replace(location.href); // the session has ended
  if (!answer.ok) throw new Error(answer.statusText);
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (shape(next) !== shape(document)) return location.replace(location.href);
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = next.getElementById(old.id);
    if (fresh && fresh.innerHTML !== old.innerHTML && !inUse(old)) old.replaceChildren(...fresh.childNodes);
  }
}

async function again() {
  if (!document.hidden) {
    try {
      await refresh();
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
  }
  setTimeout(again, every);
}

if (every > 0) setTimeout(again, every);
