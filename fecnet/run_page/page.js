// Tooltips on face maps. The page is complete without them.
for (const map of document.querySelectorAll(".face-map")) {
  const image = map.querySelector("img");
  const data = JSON.parse(map.querySelector("script").textContent);
  const tip = document.createElement("div");
  const canvas = document.createElement("canvas");
  const text = document.createElement("p");
  canvas.width = canvas.height = 96;
  tip.className = "tip";
  tip.append(canvas, text);
  tip.hidden = true;
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  image.addEventListener("pointerleave", hide);
  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / box.width * data.side);
    const row = Math.floor((event.clientY - box.top) / box.height * data.side);
    const face = data.cells[row * data.side + column];
    if (!face) return hide();
    const [number, label, predicted, percent] = face;
    const size = image.naturalWidth / data.side;
    canvas.getContext("2d").drawImage(image, column * size, row * size, size, size, 0, 0, 96, 96);
    const lines = [`face ${number}`];
    if (label >= 0) lines.push(`label: ${data.classes[label]}`);
    if (predicted >= 0) lines.push(`predicted: ${data.classes[predicted]}, ${percent} %`);
    text.textContent = lines.join("\n");
    tip.hidden = false;
    const left = Math.min(event.clientX + 16, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const top = Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  });
}
