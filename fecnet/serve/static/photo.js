// A photo with its faces: where each is, what the net was shown of it, and which one is meant.

import { fromCamera } from "./camera.js";
import { askFaces, make, problem } from "./dom.js";

const count = (num) => (num === 1 ? "1 face" : `${num} faces`);

// What stands for a photo: its picture with the faces framed, and the cut faces to pick from.
export function photoView(file, photo, name, picked) {
  const image = make("img", { alt: `${name}, as given`, src: photo?.preview || URL.createObjectURL(file) });
  const frame = make("div", { className: "frame" }, image);
  image.addEventListener("error", () => frame.replaceChildren(make("p", { className: "soft" }, "No preview in this browser.")));
  const unread = photo && !photo.preview;
  const view = make("figure", { className: "photo" }, ...(unread ? [] : [frame]));
  if (!photo) return view;
  const many = photo.faces.length > 1;
  const boxes = [], cuts = [];
  const choose = (chosen) => {
    boxes.forEach((box, n) => box?.classList.toggle("picked", n === chosen));
    cuts.forEach((cut, n) => cut.setAttribute("aria-pressed", String(n === chosen)));
    note.textContent = photo.faces[chosen].note;
    picked(photo.faces[chosen]);
  };
  const row = make("div", { className: "cuts" });
  const note = make("small", { className: "soft" });
  photo.faces.forEach((face, n) => {
    if (face.box) {
      const [x1, y1, x2, y2] = face.box;
      const box = make("span", { className: "box" });
      Object.assign(box.style, {
        left: `${100 * x1 / photo.width}%`, top: `${100 * y1 / photo.height}%`,
        width: `${100 * (x2 - x1) / photo.width}%`, height: `${100 * (y2 - y1) / photo.height}%`,
      });
      if (many) box.addEventListener("click", () => choose(n));
      frame.append(box);
      boxes[n] = box;
    }
    const cut = make("img", { className: "cut", src: face.picture, alt: many ? "" : `What the net was shown of ${name}` });
    const button = make("button", { type: "button", className: "pick" }, cut);
    if (many) button.append(make("span", { className: "for-readers" }, `face ${n + 1} of ${photo.faces.length}`));
    button.addEventListener("click", () => choose(n));
    row.append(many ? button : cut);
    if (many) cuts.push(button);
  });
  const words = many ? `${count(photo.faces.length)}${photo.more ? ` of ${photo.faces.length + photo.more}` : ""}: pick one` : "what the net was shown";
  if (photo.faces.length) view.append(make("figcaption", {}, row, make("small", { className: "soft" }, words), note));
  if (photo.problem) view.append(problem(photo.problem));
  if (photo.faces.length) choose(0);
  return view;
}

// A place for one photo. `changed` is called with the slot whenever its face is another one or gone.
export class Slot {
  constructor(element, changed) {
    this.element = element;
    this.name = element.dataset.name;
    this.face = null;
    this.asked = 0;
    this.changed = changed;
    this.input = element.querySelector("input");
    this.input.addEventListener("change", () => { if (this.input.files[0]) this.take(this.input.files[0]); this.input.value = ""; });
    element.querySelector(".camera").addEventListener("click", async () => {
      const photo = await fromCamera();
      if (photo) this.take(photo);
    });
    takeDrops(element, (files) => this.take(files[0]));
  }

  get empty() { return !this.view; }

  clear() {
    this.asked += 1;
    this.view?.remove();
    this.view = this.face = null;
    this.element.classList.remove("full", "busy", "odd");
  }

  async take(file) {
    this.clear();
    const asked = this.asked;
    this.show(photoView(file, null, this.name));
    this.element.classList.add("busy");
    this.changed(this);
    let shown;
    try {
      const [photo] = await askFaces([file]);
      shown = () => photoView(file, photo, this.name, (face) => { this.face = face; this.changed(this); });
    } catch (error) {
      shown = () => { const view = photoView(file, null, this.name); view.append(problem(error.message)); return view; };
    }
    if (asked !== this.asked) return; // another photo came meanwhile
    this.element.classList.remove("busy");
    this.show(shown());
  }

  show(view) {
    const remove = make("button", { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${this.name}`);
    remove.addEventListener("click", () => { this.clear(); this.changed(this); this.input.focus(); });
    view.append(remove);
    this.view?.remove();
    this.view = view;
    this.element.append(view);
    this.element.classList.add("full");
  }
}

export function takeDrops(element, take) {
  element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("over"); });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    const files = [...event.dataTransfer.files];
    event.preventDefault();
    if (files.length !== 1) return; // several are for the whole page
    event.stopPropagation();
    take(files);
  });
}
