"use strict";
// Shows the page anew every half minute, unless something in it is in use.
const PERIOD = 30000;
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.pathname);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.getElementById("owner");
    if (main.contains(document.activeElement)) return;
    main.replaceWith(document.importNode(page.getElementById("owner"), true));
  } catch { /* the server is away for now */ }
}, PERIOD);
