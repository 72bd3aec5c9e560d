"use strict";
// A rater's session. Every answer is kept in the browser until the server has acknowledged it, with a key under which
// the server stores it once: an answer survives a lost connection, a full disk and a reload, and counts once.
const BASE = location.pathname.replace(/\/$/, "");
const KEPT = `fecnet ${BASE} answer `; // one entry an answer: two windows do not overwrite each other's
const BEGUN = `fecnet ${BASE} begun`;
const TOO_SOON = 200; // milliseconds in which nobody judges three faces: the rest of a double click
const LOOK_AGAIN = 30000; // milliseconds, while the study is paused
const RETRY = [1000, 2000, 4000, 8000, 15000]; // milliseconds between attempts

const $ = (id) => document.getElementById(id);
const faces = [...document.querySelectorAll(".face")];
const tasks = new Map(); // by number, as the server tells them: {number, faces, answer, place}
const images = new Map(); // loaded pictures by address, so that the next faces are there at once
let current = 0; // number of the task that is shown; 0 for none
let last = 0; // highest number known
let progress = { done: 0, total: 0, state: "open" };
let shown = { since: 0, seconds: 0, begun: 0, ready: false }; // how long the question has been looked at
let sending = false, attempt = 0, timer = 0, order = 0;

// ---- what is kept in the browser

const memory = new Map(); // where the browser keeps nothing, until the page is closed
function remember(name, text) { try { localStorage.setItem(name, text); } catch { memory.set(name, text); } }
function forgetName(name) { memory.delete(name); try { localStorage.removeItem(name); } catch { /* nothing is kept */ } }
function remembered() {
  const found = new Map(memory);
  try {
    for (let place = 0; place < localStorage.length; place++) found.set(localStorage.key(place), localStorage.getItem(localStorage.key(place)));
  } catch { /* nothing is kept */ }
  return found;
}
function kept() {
  const found = [];
  for (const [name, text] of remembered()) {
    if (!name.startsWith(KEPT)) continue;
    try { found.push(JSON.parse(text)); } catch { forgetName(name); }
  }
  return found.sort((a, b) => a.at - b.at || a.order - b.order);
}
const keep = (answer) => remember(KEPT + answer.key, JSON.stringify(answer));
const forget = (answer) => forgetName(KEPT + answer.key);
function newKey() { // randomUUID is only there with HTTPS
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- the server

async function load(first) {
  const answer = await fetch(`${BASE}/tasks${first ? `?first=${first}` : ""}`, { cache: "no-store" });
  if (answer.status === 404) { finish("unknown"); return false; }
  if (!answer.ok) throw new Error((await answer.json()).error);
  const told = await answer.json();
  progress = { done: told.done, total: told.total, state: told.state };
  for (const task of told.tasks) {
    tasks.set(task.number, task);
    last = Math.max(last, task.number);
  }
  for (const answer of kept()) { // what the server does not know of yet
    const task = tasks.get(answer.number);
    if (task) { task.place = answer.place; task.waiting = true; }
  }
  problem("");
  preload();
  return true;
}

async function send() {
  if (sending) return;
  sending = true;
  clearTimeout(timer);
  let again = false;
  for (let waiting = kept(); waiting.length && !again; waiting = kept()) again = !(await sendOne(waiting[0]));
  sending = false;
  if (again) timer = setTimeout(send, RETRY[Math.min(attempt++, RETRY.length - 1)]);
  else { attempt = 0; problem(""); tell(); }
}

// True where the answer needs no further attempt.
async function sendOne(given) {
  try { if (!tasks.has(given.number)) await load(given.number); } catch { /* it is sent as it was meant */ }
  const task = tasks.get(given.number);
  const body = { number: given.number, key: given.key, place: given.place, seconds: given.seconds,
    replaces: task && task.answer !== null ? task.answer : given.replaces };
  let answer, told;
  try {
    answer = await fetch(`${BASE}/answers`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    told = await answer.json();
  } catch {
    problem("No connection. Your answers are kept here and sent again.");
    return false;
  }
  if (answer.ok) {
    forget(given);
    if (task) { task.answer = told.answer; task.waiting = kept().some((other) => other.number === given.number); }
    return true;
  }
  if (answer.status === 409) { // answered in another window: that one stays, and is shown
    forget(given);
    try { await load(given.number); } catch { /* it is loaded when it is needed */ }
    tellReaders(`Question ${given.number} was answered already, in another window.`);
    return true;
  }
  if (answer.status === 423) {
    progress.state = "paused";
    problem("The study is paused. Your answers are kept here and sent when it goes on.");
    return false;
  }
  if (answer.status === 403 || answer.status === 404) { finish(answer.status === 403 ? "excluded" : "unknown"); return true; }
  if (answer.status >= 500) {
    problem(`The server could not store this (${told.error}). Your answers are kept here and sent again.`);
    return false;
  }
  forget(given); // nothing that a further attempt would mend
  problem(told.error);
  return true;
}

// ---- the page

function problem(text) { $("problem").textContent = text; $("problem").hidden = !text; }
const reason = (error) => error instanceof TypeError ? "No connection." : `The server says: ${error.message}.`; // fetch raises TypeError
function tellReaders(text) { $("told").textContent = text; }
const open = (section) => { for (const id of ["intro", "task", "end"]) $(id).hidden = id !== section; };
const isAnswered = (task) => task.answer !== null || task.waiting;
const firstOpen = () => [...tasks.keys()].sort((a, b) => a - b).find((number) => !isAnswered(tasks.get(number)));

function tell() {
  const waiting = [...tasks.values()].filter((task) => task.waiting && task.answer === null).length;
  const done = Math.min(progress.done + waiting, progress.total);
  $("progress").max = Math.max(progress.total, 1);
  $("progress").value = done;
  $("count").textContent = `${done.toLocaleString("en")} of ${progress.total.toLocaleString("en")}`;
}

function preload() {
  for (const task of tasks.values()) {
    if (task.number < current || isAnswered(task)) continue;
    for (const face of task.faces) picture(face);
  }
  while (images.size > 60) images.delete(images.keys().next().value);
}
function picture(face) {
  const address = `${BASE}/faces/${face}`;
  if (!images.has(address)) { const image = new Image(); image.src = address; images.set(address, image); }
  return address;
}

function show(number, push) {
  const task = tasks.get(number);
  current = number;
  if (push) history.pushState({ number }, "");
  else history.replaceState({ number }, "");
  open("task");
  shown = { since: 0, seconds: 0, begun: 0, ready: false };
  const own = shown;
  const decoded = faces.map((face, place) => {
    const image = face.querySelector("img");
    face.classList.add("loading");
    image.src = picture(task.faces[place]);
    return image.decode().catch(() => image.decode()).then(() => face.classList.remove("loading"));
  });
  Promise.all(decoded).then(
    () => { own.ready = true; own.begun = performance.now(); if (document.visibilityState === "visible") own.since = performance.now(); },
    () => { if (own === shown) problem("A picture could not be loaded. Reload the page to try again."); },
  );
  for (const button of [...faces, $("cannot")]) {
    const place = button.dataset.place === "cannot" ? null : Number(button.dataset.place);
    button.setAttribute("aria-pressed", String(isAnswered(task) && task.place === place));
  }
  $("back").disabled = number <= 1;
  $("next").hidden = !isAnswered(task);
  $("help").hidden = false;
  tell();
  tellReaders(`Question ${number}: three faces.${isAnswered(task) ? " You have answered it; you may change the answer." : ""}`);
  preload();
}

// On to the next task without an answer, or to the end.
async function advance(push = true) {
  let number = firstOpen();
  if (number === undefined || [...tasks.values()].filter((task) => !isAnswered(task)).length < 4) {
    try {
      if (number === undefined) {
        await send(); // the server gives new tasks by what it knows
        if (!(await load())) return;
        number = firstOpen();
      } else load(number).catch(() => {});
    } catch (error) {
      if (number === undefined) {
        problem(`${reason(error)} Trying again…`);
        setTimeout(() => advance(push), RETRY[Math.min(attempt++, RETRY.length - 1)]);
        return;
      }
    }
  }
  if (progress.state !== "open") finish(progress.state);
  else if (number !== undefined) show(number, push);
  else finish("done");
}

function choose(place) {
  const task = tasks.get(current);
  if (!task || $("task").hidden || !shown.ready || performance.now() - shown.begun < TOO_SOON) return;
  stopClock();
  const answer = { number: current, key: newKey(), place, seconds: Math.round(shown.seconds) / 1000,
    replaces: task.answer, at: Date.now(), order: order++ };
  shown.ready = false;
  const first = !isAnswered(task);
  task.place = place;
  task.waiting = true;
  keep(answer);
  for (const button of [...faces, $("cannot")]) {
    button.setAttribute("aria-pressed", String((button.dataset.place === "cannot" ? null : Number(button.dataset.place)) === place));
  }
  if (!first) tellReaders("Answer changed.");
  send();
  setTimeout(() => advance(), 120); // long enough to see what was chosen
}

async function back() {
  const number = current ? current - 1 : last;
  if (number < 1) return;
  if (!tasks.has(number)) {
    try { await load(Math.max(1, number - 8)); } catch (error) { problem(reason(error)); return; }
  }
  if (tasks.has(number)) show(number, true);
}

function finish(why) {
  const words = {
    done: ["Thank you", "There is nothing more to answer for now. You may close this page."],
    paused: ["Paused", "The study is paused. Please come back later with the same link."],
    excluded: ["Thank you", "This link is no longer in use. You may close this page."],
    unknown: ["Unknown link", "This link is not known; ask whoever sent it for another one."],
  };
  current = 0;
  [$("end-title").textContent, $("end-text").textContent] = words[why];
  $("end-back").hidden = why !== "done" || !last;
  open("end");
  tell();
  $("end-title").focus();
  if (why === "paused") setTimeout(() => { if (!$("end").hidden) load().then(() => advance(false), () => finish(why)); }, LOOK_AGAIN);
}

// ---- time looked at the question

function stopClock() {
  if (shown.since) shown.seconds += performance.now() - shown.since;
  shown.since = 0;
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") stopClock();
  else if (shown.ready) shown.since = performance.now();
});

// ---- input

for (const face of faces) face.addEventListener("click", (event) => { if (event.detail < 2) choose(Number(face.dataset.place)); });
$("cannot").addEventListener("click", (event) => { if (event.detail < 2) choose(null); });
$("back").addEventListener("click", back);
$("end-back").addEventListener("click", back);
$("next").addEventListener("click", () => advance());
$("help").addEventListener("click", () => { stopClock(); open("intro"); $("begin").textContent = "Go on"; $("begin").focus(); });
$("begin").addEventListener("click", () => {
  remember(BEGUN, "1");
  if (current) { open("task"); if (shown.ready) shown.since = performance.now(); }
  else advance(false);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("task").hidden) return;
  if (["1", "2", "3"].includes(event.key)) choose(Number(event.key) - 1);
  else if (event.key === "0") choose(null);
  else if (event.key === "ArrowLeft") back();
  else if (event.key === "ArrowRight" && !$("next").hidden) advance();
  else return;
  event.preventDefault();
});
window.addEventListener("popstate", (event) => {
  const number = event.state && event.state.number;
  if (number && tasks.has(number)) show(number, false);
});
window.addEventListener("online", () => { attempt = 0; send(); });

// ---- begin

if (location.hash === "#agreed") { // on the page of the open link
  remember(BEGUN, "1");
  history.replaceState(null, "", location.pathname);
}
async function begin() {
  try {
    if (!(await load())) return;
  } catch (error) {
    problem(`${reason(error)} Trying again…`);
    setTimeout(begin, RETRY[Math.min(attempt++, RETRY.length - 1)]);
    return;
  }
  attempt = 0;
  tell();
  send();
  if (remembered().has(BEGUN)) advance(false);
  else { open("intro"); $("begin").focus(); }
}
begin();
