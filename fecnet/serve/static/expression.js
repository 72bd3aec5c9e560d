// What faces express: the classes of the net with their probabilities.

import { fromCamera } from "./camera.js";
import { askFaces, bar, make, percent, problem } from "./dom.js";
import { photoView, takeDrops } from "./photo.js";

export function start(panel) {
  const slot = panel.querySelector(".slot");
  const answer = panel.querySelector(".answer");
  const results = panel.querySelector(".results");
  const input = slot.querySelector("input");

  async function take(files) {
    if (!files.length) return;
    slot.classList.add("busy");
    answer.replaceChildren();
    try {
      const photos = await askFaces(files);
      results.prepend(...photos.map((photo, n) => result(files[n], photo)));
    } catch (error) {
      answer.replaceChildren(problem(error.message));
    }
    slot.classList.remove("busy");
  }

  function result(file, photo) {
    const said = make("div", { className: "said" });
    said.setAttribute("aria-live", "polite");
    const view = photoView(file, photo, "the photo", (face) => said.replaceChildren(...told(face)));
    const remove = make("button", { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", "Remove this photo");
    const card = make("article", { className: "card result" }, view, said, remove);
    remove.addEventListener("click", () => { card.remove(); input.focus(); });
    return card;
  }

  function told(face) {
    const sorted = Object.entries(face.probabilities).sort(([, a], [, b]) => b - a);
    const rows = sorted.map(([name, share], n) => make("li", { className: n ? "" : "is-first" },
      make("span", { className: "class" }, name), bar(share), make("span", {}, percent(share))));
    const parts = [make("h2", {}, sorted[0][0], make("span", { className: "soft" }, ` ${percent(sorted[0][1])}`)),
      make("ul", { className: "classes" }, ...rows)];
    if (face.valence !== null) {
      parts.push(make("p", { className: "soft" }, `valence ${face.valence.toFixed(2)}, arousal ${face.arousal.toFixed(2)} (−1 to 1)`));
    }
    return parts;
  }

  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  slot.querySelector(".camera").addEventListener("click", async () => {
    const photo = await fromCamera();
    if (photo) take([photo]);
  });
  takeDrops(slot, take);
  return take;
}
