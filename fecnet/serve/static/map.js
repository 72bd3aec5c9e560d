// The map of a data set's faces: move, zoom, and go on from face to face.

import { ask, make, problem } from "./dom.js";

const LEAST = 1, MOST = 16, STEP = 1.3;

export async function start(panel) {
  const sheet = panel.querySelector(".sheet");
  const image = sheet.querySelector("img");
  const found = panel.querySelector(".found");
  const here = sheet.querySelector(".here"), mark = sheet.querySelector(".mark");
  const data = await ask("/api/map").catch((error) => found.append(problem(error.message)));
  if (!data?.faces) return;
  const byRow = new Map(data.faces.map((face) => [face.row, face]));
  const byCell = new Map(data.faces.map((face) => [face.cell, face]));
  let zoom = 1, x = 0, y = 0; // of the sheet's top left corner, in its own widths
  image.src = "/api/map/picture";
  const all = data.total === data.faces.length ? "" : ` of ${data.total.toLocaleString()}, evenly sampled`;
  panel.querySelector("#map-method").textContent = `${data.name}: ${data.faces.length.toLocaleString()} faces${all}, ${data.method}.`;
  panel.querySelector(".legend").replaceChildren(...Object.entries(data.labels).map(([name, colour]) => {
    const dot = make("i");
    dot.style.background = colour;
    return make("li", {}, dot, name);
  }));
  if (Object.keys(data.labels).length) panel.querySelector(".legend").prepend(make("li", { className: "soft" }, "frame: label"));

  const side = () => sheet.clientWidth;
  const centre = (face) => [(face.cell % data.side + 0.5) / data.side, (Math.floor(face.cell / data.side) + 0.5) / data.side];

  function draw() {
    const room = 1 - 1 / zoom;
    [x, y] = [Math.min(room, Math.max(0, x)), Math.min(room, Math.max(0, y))];
    image.style.transform = `scale(${zoom}) translate(${-100 * x}%, ${-100 * y}%)`;
    image.classList.toggle("near", zoom > 4);
    for (const [dot, face] of [[here, here.face], [mark, mark.face]]) {
      dot.hidden = !face;
      if (!face) continue;
      const [cx, cy] = centre(face), width = zoom / data.side;
      Object.assign(dot.style, {
        left: `${100 * ((cx - x) * zoom - width / 2)}%`, top: `${100 * ((cy - y) * zoom - width / 2)}%`, width: `${100 * width}%`,
      });
    }
  }

  function zoomTo(next, atX = 0.5, atY = 0.5) { // what is at this place of the window stays there
    next = Math.min(MOST, Math.max(LEAST, next));
    [x, y] = [x + atX / zoom - atX / next, y + atY / zoom - atY / next];
    zoom = next;
    draw();
  }

  function faceAt(atX, atY) {
    const column = Math.floor((x + atX / zoom) * data.side), row = Math.floor((y + atY / zoom) * data.side);
    return byCell.get(row * data.side + column);
  }

  const within = (event) => {
    const box = sheet.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };

  async function choose(face) {
    here.face = face;
    const [cx, cy] = centre(face);
    const seen = (value, corner) => value > corner + 0.05 / zoom && value < corner + 0.95 / zoom;
    if (zoom < 3) zoom = 3;
    if (!seen(cx, x) || !seen(cy, y) || zoom === 3) [x, y] = [cx - 0.5 / zoom, cy - 0.5 / zoom];
    draw();
    const title = face.predicted ? `${face.predicted}, ${face.percent} %` : `face ${face.row}`;
    const lines = [`row ${face.row}`, ...(face.label ? [`label: ${face.label}`] : [])];
    const near = make("ul", { className: "near-faces" });
    found.replaceChildren(
      make("img", { className: "chosen", src: `/api/map/${face.row}/face.png`, alt: `Face of row ${face.row}`, width: 192, height: 192 }),
      make("div", {}, make("h2", {}, title), make("p", { className: "soft" }, lines.join(" · "))),
      make("h3", {}, "Most alike"), near,
    );
    try {
      const { neighbours } = await ask(`/api/map/${face.row}/near`);
      if (here.face !== face) return;
      near.append(...neighbours.map((other) => {
        const next = byRow.get(other.row);
        const button = make("button", { type: "button" }, make("img", { src: `/api/map/${other.row}/face.png`, alt: "", width: 64, height: 64 }));
        button.setAttribute("aria-label", `Go on to row ${other.row}${next.predicted ? `, ${next.predicted}` : ""}, distance ${other.distance.toFixed(3)}`);
        const point = (to) => () => { mark.face = to; draw(); };
        button.addEventListener("pointerenter", point(next));
        button.addEventListener("pointerleave", point(null));
        button.addEventListener("focus", point(next));
        button.addEventListener("blur", point(null));
        button.addEventListener("click", () => { mark.face = null; choose(next); });
        return make("li", {}, button);
      }));
    } catch (error) {
      found.append(problem(error.message));
    }
  }

  const fingers = new Map();
  let moved = 0, spread = 0;
  sheet.addEventListener("pointerdown", (event) => {
    sheet.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    [moved, spread] = [0, 0];
  });
  sheet.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    fingers.set(event.pointerId, event);
    moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    x -= (event.clientX - before.clientX) / side() / zoom / fingers.size;
    y -= (event.clientY - before.clientY) / side() / zoom / fingers.size;
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      const [ax, ay] = within(a), [bx, by] = within(b);
      if (spread) zoomTo(zoom * apart / spread, (ax + bx) / 2, (ay + by) / 2);
      spread = apart;
    }
    draw();
  });
  const lift = (event) => {
    if (!fingers.delete(event.pointerId) || fingers.size || event.type === "pointercancel") return;
    const face = moved < 6 && faceAt(...within(event));
    if (face) choose(face);
  };
  sheet.addEventListener("pointerup", lift);
  sheet.addEventListener("pointercancel", lift);
  sheet.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomTo(zoom * 1.0015 ** -event.deltaY, ...within(event));
  }, { passive: false });
  sheet.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) {
      [x, y] = [x + 0.15 * move[0] / zoom, y + 0.15 * move[1] / zoom];
      draw();
    } else if (event.key === "+" || event.key === "=") zoomTo(zoom * STEP);
    else if (event.key === "-") zoomTo(zoom / STEP);
    else if (event.key === "Enter") choose(nearest(x + 0.5 / zoom, y + 0.5 / zoom));
    else return;
    event.preventDefault();
  });

  function nearest(px, py) {
    const far = (face) => { const [cx, cy] = centre(face); return (cx - px) ** 2 + (cy - py) ** 2; };
    return data.faces.reduce((best, face) => (far(face) < far(best) ? face : best));
  }

  panel.querySelector(".in").addEventListener("click", () => zoomTo(zoom * STEP * STEP));
  panel.querySelector(".out").addEventListener("click", () => zoomTo(zoom / STEP / STEP));
  panel.querySelector(".all").addEventListener("click", () => zoomTo(LEAST));
  panel.querySelector(".any").addEventListener("click", () => choose(data.faces[Math.floor(Math.random() * data.faces.length)]));
  found.append(make("p", { className: "soft" }, "Click a face, or take any."));
  draw();
}
