"use strict";
// What is wider than its place says so, until it is scrolled to its end.
for (const box of document.querySelectorAll(".scroll")) {
  const look = () => {
    const rest = box.scrollWidth - box.clientWidth;
    if (rest < 2) delete box.dataset.more;
    else box.dataset.more = box.scrollLeft < rest - 2 ? "right" : "end";
  };
  box.addEventListener("scroll", look);
  addEventListener("resize", look);
  look();
}
// Tables sort by the button in a column's head; numbers by data-value, what is missing comes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : Number(x) - Number(y);
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// A box hides the cards that lack one of its words.
for (const box of document.querySelectorAll(".search")) {
  const groups = [...box.nextElementSibling.querySelectorAll(".group")];
  const cards = [...box.nextElementSibling.querySelectorAll("[data-words]")];
  const filter = () => {
    const wanted = box.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) card.hidden = !wanted.every((word) => card.dataset.words.includes(word));
    for (const group of groups) group.hidden = !group.querySelector("[data-words]:not([hidden])");
    const shown = cards.filter((card) => !card.hidden).length;
    box.querySelector("output").textContent = wanted.length ? `${shown} of ${cards.length}` : `${cards.length} films`;
  };
  box.querySelector("input").addEventListener("input", filter);
  box.hidden = false;
  filter();
}
