// Asks for each panel again while the page is in sight, and shows what has changed.
"use strict";

const live = document.getElementById("live");

function shown(panel, html) {
  const body = panel.querySelector("[data-body]");
  const focused = document.activeElement && body.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...body.querySelectorAll("details")].map((each) => each.open);
  const before = new Map([...body.querySelectorAll("li[id]")].map((each) => [each.id, each.innerHTML]));
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  for (const each of fresh.querySelectorAll("li[id]")) {
    const had = before.get(each.id);
    if (had === undefined) each.classList.add("arrived");
    else if (had !== each.innerHTML) each.classList.add("moved");
  }
  body.replaceChildren(...fresh.childNodes);
  [...body.querySelectorAll("details")].forEach((each, place) => { each.open = Boolean(open[place]); });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function look(panel, again = false) {
  const headers = panel.dataset.tag ? { "If-None-Match": panel.dataset.tag } : {};
  const address = `/panel/${panel.dataset.panel}${again ? "?again=1" : ""}`;
  const answer = await fetch(address, { headers });
  if (answer.ok) {
    panel.dataset.tag = answer.headers.get("ETag") ?? "";
    shown(panel, await answer.text());
  } else if (answer.status !== 304) throw new Error(answer.statusText);
}

async function keep(panel) {
  const every = Number(panel.dataset.every);
  let wait = every;
  if (!document.hidden) {
    try {
      await look(panel);
      live.textContent = "live";
      live.classList.remove("lost");
    } catch {
      live.textContent = "no connection";
      live.classList.add("lost");
      wait = Math.max(every, 3000);
    }
  }
  if (every) setTimeout(keep, wait, panel);
}

for (const panel of document.querySelectorAll("[data-panel]")) {
  const loaded = !panel.querySelector("[data-body] > .quiet:only-child");
  if (Number(panel.dataset.every)) setTimeout(keep, loaded ? Number(panel.dataset.every) : 0, panel);
  else if (panel.dataset.panel === "health") keep(panel);
}

document.addEventListener("click", async (event) => {
  const name = event.target.dataset?.again;
  if (!name) return;
  event.target.disabled = true;
  try { await look(document.getElementById(name), true); } catch { live.textContent = "no connection"; }
  event.target.disabled = false;
});

// A button that was pressed works; a second press would do it again.
document.addEventListener("submit", (event) => {
  for (const each of event.target.querySelectorAll("button")) each.disabled = true;
});
