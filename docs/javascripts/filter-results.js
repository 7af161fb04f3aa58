// Filters of the page of results: columns of the overviews and sections of single results, by protocol.

const PROTOCOL = /protocol `?([a-z0-9]+)`?/i;

function protocolOf(heading) {
  const match = PROTOCOL.exec(heading.textContent);
  return match ? match[1] : null;
}

// All that stands below a heading, up to the next one of its level or above.
function sectionOf(heading) {
  const elements = [heading];
  for (let next = heading.nextElementSibling; next && !/^H[123]$/.test(next.tagName); next = next.nextElementSibling) {
    elements.push(next);
  }
  return elements;
}

// Parts of the tables that belong to one protocol: columns where the head names protocols, otherwise rows.
function partsOfTables(article) {
  const tables = [...article.querySelectorAll("table")].filter((table) => table.rows[0].cells[0].textContent === "model, recipe");
  return tables.flatMap((table) => {
    const [head, ...rows] = [...table.rows];
    if (head.cells[1].textContent === "protocol") {
      return rows.map((row) => ({ protocol: row.cells[1].textContent.split(" ")[0], cells: [row] }));
    }
    return [...head.cells].slice(1).map((cell, index) => ({
      protocol: cell.textContent.split(" ")[0],
      cells: [head, ...rows].map((row) => row.cells[index + 1]),
    }));
  });
}

function addFilter() {
  const article = document.querySelector("article.md-content__inner");
  const title = article && article.querySelector("h1");
  if (!title || !location.pathname.endsWith("results.html")) return;
  const sections = [...article.querySelectorAll("h3")]
    .map((heading) => ({ protocol: protocolOf(heading), cells: sectionOf(heading) }))
    .filter((section) => section.protocol);
  const parts = [...partsOfTables(article), ...sections];
  const names = [...new Set(parts.map((part) => part.protocol))];
  const form = document.createElement("form");
  form.className = "results-filter";
  form.append("Show protocols:");
  for (const name of names) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: name });
    label.append(box, ` ${name}`);
    form.append(label);
  }
  form.addEventListener("change", () => {
    const shown = new Set([...form.querySelectorAll("input:checked")].map((box) => box.value));
    for (const part of parts) for (const cell of part.cells) if (cell) cell.hidden = !shown.has(part.protocol);
  });
  title.after(form);
}

document.addEventListener("DOMContentLoaded", addFilter);
