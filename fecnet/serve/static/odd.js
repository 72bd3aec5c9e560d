// The odd one out of three photos.

import { askJson, bar, make, percent, problem } from "./dom.js";
import { Slot } from "./photo.js";

const PAIRS = [[0, 1], [0, 2], [1, 2]];

export function start(panel) {
  const answer = panel.querySelector(".answer");
  const after = panel.querySelector(".after");
  const slots = [...panel.querySelectorAll(".slot")].map((element) => new Slot(element, changed));
  let asked = 0;

  async function changed() {
    const turn = ++asked;
    answer.replaceChildren();
    slots.forEach((slot) => slot.element.classList.remove("odd"));
    after.hidden = slots.every((slot) => slot.empty);
    if (!slots.every((slot) => slot.face)) return;
    try {
      const found = await askJson("/api/odd", { embeddings: slots.map((slot) => slot.face.embedding) });
      if (turn === asked) show(found);
    } catch (error) {
      if (turn === asked) answer.replaceChildren(problem(error.message));
    }
  }

  const cut = (slot) => make("img", { className: "cut", src: slot.face.picture, alt: "" });

  function show(found) {
    const odd = slots[found.odd];
    odd?.element.classList.add("odd");
    const headline = odd
      ? make("h2", {}, make("b", { className: "name" }, odd.name), " is the odd one out")
      : make("h2", {}, "No odd one: two pairs are equally close");
    const chances = make("ul", { className: "chances" }, ...slots.map((slot, n) => make(
      "li", { className: n === found.odd ? "is-odd" : "" },
      cut(slot), make("b", {}, slot.name), bar(found.probabilities[n]), make("span", {}, percent(found.probabilities[n])),
    )));
    const largest = Math.max(...found.distances, 1e-9);
    const closest = Math.min(...found.distances);
    const pairs = make("ul", { className: "pairs" }, ...PAIRS.map(([a, b], n) => make(
      "li", { className: odd && found.distances[n] === closest ? "is-closest" : "" },
      make("span", { className: "two" }, cut(slots[a]), cut(slots[b])), make("b", {}, `${slots[a].name} – ${slots[b].name}`),
      bar(found.distances[n] / largest), make("span", {}, found.distances[n].toFixed(3)),
    )));
    answer.replaceChildren(make("div", { className: "card verdict" }, headline,
      make("div", { className: "halves" },
        make("div", {}, make("h3", {}, "Chance that people call it the odd one"), chances),
        make("div", {}, make("h3", {}, "Distance of each pair"), pairs,
          make("small", { className: "soft" }, "squared, 0 the same to 4 the opposite; the closest pair belongs together")))));
  }

  panel.querySelector(".again").addEventListener("click", () => {
    slots.forEach((slot) => slot.clear());
    changed();
    slots[0].input.focus();
  });

  return (files) => {
    const free = slots.filter((slot) => slot.empty);
    const places = files.length === 3 || !free.length ? slots : free;
    if (files.length > places.length) answer.replaceChildren(problem(`${files.length} photos for ${places.length} places.`));
    else files.forEach((file, n) => places[n].take(file));
  };
}
