// Files that leave the page and come to it.

/** Save a picture under a name made of words. */
export function save(picture, words) {
  if (!picture) return;
  const address = URL.createObjectURL(picture);
  const name = words.replace(/[^\w.-]+/g, "-").slice(0, 100);
  Object.assign(document.createElement("a"), { href: address, download: `${name}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Call `opened(file, event)` for a file that is dropped anywhere on the page. */
export function listenForFiles(opened) {
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) opened(event.dataTransfer.files[0], event);
    });
  }
  document.addEventListener("dragleave", () => document.body.classList.remove("over"));
}
