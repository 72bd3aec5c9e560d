// Tabs, and photos that are dropped or pasted anywhere.

import * as alike from "./alike.js";
import * as expression from "./expression.js";
import * as map from "./map.js";
import * as odd from "./odd.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const panels = new Map(tabs.map((tab) => [tab, document.getElementById(tab.getAttribute("aria-controls"))]));
const takers = new Map(); // by panel: what takes its photos
let mapStarted = false;

for (const [name, part] of Object.entries({ odd, alike, expression })) {
  const panel = document.getElementById(name);
  if (panel.querySelector(".slot")) takers.set(panel, part.start(panel));
}

function open(tab, { focus = false } = {}) {
  for (const [other, panel] of panels) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    panel.hidden = other !== tab;
  }
  const panel = panels.get(tab);
  history.replaceState(null, "", `#${panel.id}`);
  if (focus) tab.focus();
  if (panel.id === "map" && !mapStarted && panel.querySelector(".sheet")) {
    mapStarted = true;
    map.start(panel);
  }
}

tabs.forEach((tab, n) => {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step ? tabs[(n + step + tabs.length) % tabs.length] : { Home: tabs[0], End: tabs.at(-1) }[event.key];
    if (!next) return;
    event.preventDefault();
    open(next, { focus: true });
  });
});

function give(files) {
  const panel = [...panels.values()].find((one) => !one.hidden);
  if (files.length) takers.get(panel)?.([...files]);
}

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  give(event.dataTransfer.files);
});
addEventListener("paste", (event) => give(event.clipboardData.files));

const named = () => tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash);
addEventListener("hashchange", () => named() && open(named()));
open(named() ?? tabs[0]);
document.documentElement.dataset.ready = "yes";
