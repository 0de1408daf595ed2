// Everything reads without this: it adds a filter to long tables and a larger view of figures.
"use strict";
document.querySelectorAll("table.filterable").forEach((table) => {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 6) return;
  const label = document.createElement("label");
  label.className = "filter";
  label.append("Filter rows ");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "words to look for";
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  label.append(input, count);
  table.parentElement.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
});
// A sentence leads to its rows: the table is filtered by what they have in common.
document.querySelectorAll("a[data-filter]").forEach((link) => {
  link.addEventListener("click", () => {
    const field = document.querySelector(`${link.getAttribute("href")} .filter input`);
    if (!field) return;
    field.value = link.dataset.filter;
    field.dispatchEvent(new Event("input"));
  });
});
document.querySelectorAll('a[href="#settings"]').forEach((link) => {
  link.addEventListener("click", () => { document.getElementById("settings").open = true; });
});
// A printed page has no folds.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.more").forEach((fold) => { fold.open = true; });
});
const zoom = document.getElementById("zoom");
if (zoom.showModal) {
  document.querySelectorAll(".frame img").forEach((image) => {
    const open = () => {
      const large = zoom.querySelector("img");
      large.src = image.src;
      large.alt = image.alt;
      zoom.setAttribute("aria-label", image.dataset.title);
      zoom.showModal();
    };
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoom-button";
    button.textContent = "Enlarge";
    button.setAttribute("aria-label", `Enlarge ${image.dataset.title}`);
    button.addEventListener("click", open);
    image.classList.add("zoomable");
    image.addEventListener("click", open);
    const exhibit = image.closest(".exhibit");
    (exhibit.querySelector(".command") || exhibit.querySelector("figure")).prepend(button);
  });
  zoom.addEventListener("click", (event) => {
    if (event.target === zoom) zoom.close();
  });
}
