// Pictures: one that opens is shown large, in whole pixels where it fits; arrow keys go from one to the next.
const viewer = document.getElementById("viewer");
function show(button) {
  const image = viewer.querySelector("img"), from = button.querySelector("img");
  const [width, height] = [from.getAttribute("width"), from.getAttribute("height")].map(Number);
  const scale = Math.min((0.96 * innerWidth - 48) / width, (0.96 * innerHeight - 180) / height);
  image.src = from.src;
  image.alt = from.alt;
  image.style.width = `${Math.round(width * (scale > 1 ? Math.floor(scale) : scale))}px`;
  viewer.querySelector("figcaption").textContent = button.dataset.open;
  viewer.opened = button;
  if (!viewer.open) viewer.showModal();
}
function step(by) {
  const all = [...document.querySelectorAll("[data-open]")];
  show(all[(all.indexOf(viewer.opened) + by + all.length) % all.length]);
}
viewer?.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
viewer?.addEventListener("close", () => viewer.opened?.focus());
for (const image of document.querySelectorAll("img[data-same]")) image.src = document.getElementById(image.dataset.same).src;

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-open]")) show(button);
  if (button?.matches("[data-step]")) step(Number(button.dataset.step));
  if (button?.matches("[data-close]") || event.target === viewer) viewer.close();
});
