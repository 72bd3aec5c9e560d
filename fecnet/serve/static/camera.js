// A photo from the camera: a dialog with its picture, or where a page may not use it, the phone's own camera.

const dialog = document.getElementById("camera");
const video = dialog.querySelector("video");
const take = dialog.querySelector(".take");
const told = dialog.querySelector(".problem");

function phoneCamera() {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept: "image/*", capture: "user" });
  return new Promise((done) => {
    input.addEventListener("change", () => done(input.files[0]));
    input.addEventListener("cancel", () => done());
    input.click();
  });
}

async function snap() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

export async function fromCamera() {
  if (!navigator.mediaDevices) return phoneCamera(); // not over plain HTTP from another machine
  told.hidden = true;
  take.disabled = true;
  dialog.showModal();
  let stream;
  const closed = new Promise((done) => {
    dialog.addEventListener("close", () => done(), { once: true });
    take.onclick = async () => { done(await snap()); dialog.close(); };
  });
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    video.srcObject = stream;
    await video.play();
    take.disabled = false;
  } catch (error) {
    told.textContent = `No camera here: ${error.message}`;
    told.hidden = false;
  }
  const photo = await closed;
  video.srcObject = null;
  stream?.getTracks().forEach((track) => track.stop());
  return photo;
}

dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
