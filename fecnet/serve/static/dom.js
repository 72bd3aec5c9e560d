// Elements, numbers and requests.

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function percent(share) {
  if (share > 0 && share < 0.005) return "<1 %";
  return share < 1 && share >= 0.995 ? ">99 %" : `${Math.round(100 * share)} %`;
}

export function bar(share, label = "") {
  const inner = make("i");
  inner.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return make("span", { className: `bar ${label}` }, inner);
}

export function problem(text) {
  return make("p", { className: "problem" }, text);
}

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// The JSON of an answer; throws an Error with the server's line. A busy server is asked again.
export async function ask(address, options = {}, tries = 4) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 503 && tries > 0) {
    await wait(Number(answer.headers.get("retry-after")) || 2);
    return ask(address, options, tries - 1);
  }
  const found = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(found.error), { photos: found.photos });
  return found;
}

export function askJson(address, value) {
  return ask(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
}

const limits = document.querySelector("main").dataset;

// Photos with their faces; files keep their names to themselves.
export async function askFaces(files) {
  if (files.length > Number(limits.maxPhotos)) throw new Error(`At most ${limits.maxPhotos} photos at a time.`);
  const form = new FormData();
  form.append("preview", "yes");
  for (const file of files) {
    if (file.size > Number(limits.maxPhoto)) {
      throw new Error(`A photo of ${Math.ceil(file.size / 1e6)} MB; allowed are ${Math.floor(limits.maxPhoto / 1e6)} MB.`);
    }
    form.append("photo", file, "photo");
  }
  try {
    return (await ask("/api/faces", { method: "POST", body: form })).photos;
  } catch (error) {
    if (error.photos) return error.photos; // each tells what is the matter
    throw error;
  }
}
