// Look-alikes in the index, and on from one to the next.

import { askJson, make, problem } from "./dom.js";
import { Slot } from "./photo.js";

const whole = document.getElementById("whole");
whole.querySelector(".cancel").addEventListener("click", () => whole.close());

export function start(panel) {
  const answer = panel.querySelector(".answer");
  const gallery = panel.querySelector(".gallery");
  const trail = []; // what was asked: a photo's embedding, then rows
  const slot = new Slot(panel.querySelector(".slot"), () => {
    trail.length = 0;
    gallery.replaceChildren();
    answer.replaceChildren();
    if (slot.face) go({ ask: { embedding: slot.face.embedding }, name: "your photo", picture: slot.face.picture });
  });
  let asked = 0;

  async function go(step) {
    const turn = ++asked;
    trail.push(step);
    try {
      const found = await askJson("/api/alike", step.ask);
      if (turn === asked) show(found.neighbours);
    } catch (error) {
      if (turn === asked) answer.replaceChildren(problem(error.message));
    }
  }

  function back(length) {
    const step = trail[length - 1];
    trail.length = length - 1;
    go(step);
  }

  function show(neighbours) {
    const steps = trail.map((step, n) => {
      const button = make("button", { type: "button", className: "step" }, make("img", { src: step.picture, alt: "" }), step.name);
      if (n === trail.length - 1) button.setAttribute("aria-current", "step");
      button.addEventListener("click", () => back(n + 1));
      return make("li", {}, button);
    });
    answer.replaceChildren(make("h2", {}, "Most alike to"), make("ol", { className: "trail" }, ...steps));
    gallery.replaceChildren(...neighbours.map(item));
  }

  function item(neighbour) {
    const name = neighbour.number === null ? neighbour.name : `${neighbour.name} [${neighbour.number}]`;
    const picture = `/api/index/${neighbour.row}/face.jpg`;
    const image = make("img", { src: picture, alt: "", loading: "lazy", width: 192, height: 192 });
    image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone soft" }, "gone")));
    const button = make("button", { type: "button", className: "face" }, image, make("span", { className: "name" }, name),
      make("span", { className: "soft" }, neighbour.distance.toFixed(3)));
    button.setAttribute("aria-label", `${name}, distance ${neighbour.distance.toFixed(3)}: go on from it`);
    button.addEventListener("click", () => {
      go({ ask: { row: neighbour.row }, name, picture });
      answer.scrollIntoView({ block: "nearest" });
    });
    const look = make("button", { type: "button", className: "look", textContent: "photo" });
    look.setAttribute("aria-label", `The whole photo ${name}`);
    look.addEventListener("click", () => {
      Object.assign(whole.querySelector("img"), { src: `/api/index/${neighbour.row}/photo.jpg`, alt: name });
      whole.querySelector(".name").textContent = name;
      whole.showModal();
    });
    return make("li", {}, button, look);
  }

  return (files) => (files.length > 1 ? answer.replaceChildren(problem("One photo at a time.")) : slot.take(files[0]));
}
