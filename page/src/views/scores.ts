/** Probabilities as a table of words, bars and numbers, the likeliest first. */

import { h } from "../dom";
import { sorted } from "../heard";
import { percent } from "./words";

export function scoresTable(scores: Record<string, number>, best: string | null): HTMLTableElement {
  const labels = Object.keys(scores);
  const table = h("table", { class: "scores" });
  table.createCaption().textContent = "Probability of each emotion";
  const body = table.createTBody();
  for (const [label, score] of sorted(scores)) {
    const fill = h("div", { class: "fill" });
    fill.style.width = `${100 * score}%`;
    fill.style.background = `var(--c${labels.indexOf(label) % 8})`;
    body.append(
      h(
        "tr",
        { class: label === best ? "best" : "" },
        h("th", { scope: "row" }, label),
        h("td", {}, h("div", { class: "bar" }, fill)),
        h("td", { class: "number" }, percent(score)),
      ),
    );
  }
  return table;
}
