"use strict";
// One label at a time: answers are kept in the browser where it allows that, and saved as a CSV.
{
  const { key, idColumn, films, rows, shown } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll("[data-answer]")];
  let answers = {};  // by the place of the row: "1", "0" or ""
  let place = 0;
  let keeps = true;
  let looks = false;

  try { answers = JSON.parse(localStorage.getItem(key)) ?? {}; } catch { keeps = false; }

  const keep = () => {
    try { localStorage.setItem(key, JSON.stringify(answers)); } catch { keeps = false; }
  };

  const show = () => {
    const [, , , probability, shareBelow, film, heat] = rows[place];
    const [name, question, labelled, otherLabels] = shown[place];
    at("question").textContent = question;
    at("others").textContent = otherLabels;
    at("said").textContent = `${labelled} The model's probability is ${probability.toFixed(3)}, `
      + `above that of ${(Math.floor(1000 * shareBelow + 1e-9) / 10).toFixed(1)} % of the films labelled for it.`;
    at("name").textContent = name;
    at("film").src = films[film];
    at("film").alt = name;
    at("heat").hidden = !(looks && heat);
    if (heat) at("heat").src = heat;
    at("nowhere").hidden = heat !== "";
    at("look").disabled = !heat;
    at("look").setAttribute("aria-pressed", String(looks));
    for (const button of buttons) button.setAttribute("aria-pressed", String(answers[place] === button.dataset.answer));
    at("back").disabled = place === 0;
    at("next").disabled = place === rows.length - 1;
    const number = Object.keys(answers).length;
    const others = Object.entries(answers).filter(([row, given]) => given !== "" && Number(given) !== rows[row][2]).length;
    at("progress").textContent = `${place + 1} of ${rows.length}; ${number} answered, ${others} unlike their label.`;
    at("save").disabled = number === 0;
    at("kept").textContent = keeps ? "This browser keeps your answers." : "This browser keeps nothing: save before you close the page.";
  };

  const go = (step) => {
    place = Math.min(Math.max(place + step, 0), rows.length - 1);
    show();
  };

  const answer = (label) => {
    answers[place] = label;
    keep();
    go(1);
  };

  const quoted = (cell) => /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;

  const save = () => {
    const lines = [[idColumn, "finding", "label"]];
    for (const number of Object.keys(answers).map(Number).sort((a, b) => a - b)) {
      lines.push([rows[number][0], rows[number][1], answers[number]]);
    }
    const text = lines.map((line) => line.map(quoted).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const look = () => {
    looks = !looks;
    show();
  };

  const keys = {
    y: () => answer("1"), n: () => answer("0"), u: () => answer(""), h: look,
    ArrowLeft: () => go(-1), ArrowRight: () => go(1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.answer));
  at("back").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  at("look").addEventListener("click", look);
  at("save").addEventListener("click", save);
  place = Math.max(rows.findIndex((_, number) => !(number in answers)), 0);
  show();
}
