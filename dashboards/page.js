(() => {
  "use strict";
  const { figures, hovers, dark } = JSON.parse(document.getElementById("data").textContent);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 560;
  let printing = false;

  // Colours are written for a light ground; a dark one has its own for some of them.
  const recolored = (value) => {
    if (typeof value === "string") return dark[value] ?? value;
    if (Array.isArray(value)) return value.map(recolored);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, recolored(part)]));
  };

  const axisLook = (axis, look, narrow) => ({
    gridcolor: look.line, linecolor: look.line, zerolinecolor: look.line, automargin: true, ...axis,
    ...(narrow && axis?.type === "log" ? { dtick: 1 } : {}),
  });

  const draw = (name) => {
    const element = document.getElementById(name);
    const style = getComputedStyle(document.documentElement);
    const look = Object.fromEntries(
      ["ink", "ground", "panel", "line"].map((key) => [key, style.getPropertyValue(`--${key}`).trim()]),
    );
    const isDark = scheme.matches && !printing;
    const { data, layout } = isDark ? recolored(figures[name]) : figures[name];
    const narrow = element.clientWidth < NARROW;
    const traces = data.map((trace) => (trace.customdata
      ? { ...trace, text: trace.customdata.map((number) => hovers[number] ?? "") }
      : trace));
    const legend = narrow || element.clientWidth < 700
      ? { orientation: "h", y: -0.28, x: 0, yanchor: "top", title: { text: "" }, font: { size: 11 } } : {};
    return Plotly.react(element, traces, {
      ...structuredClone(layout),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: look.ink, size: narrow ? 11 : 12, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { align: "left", bgcolor: look.panel, bordercolor: look.ink, font: { color: look.ink } },
      legend: { ...layout.legend, tracegroupgap: 0, ...legend },
      margin: { l: narrow ? 48 : 64, r: 16, t: 24, b: 48 },
      xaxis: axisLook(layout.xaxis, look, narrow), yaxis: axisLook(layout.yaxis, look, false),
    }, { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" });
  };
  const drawAll = () => Object.keys(figures).forEach(draw);

  drawAll();
  scheme.addEventListener("change", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    drawAll();
  });
  // Paper is light.
  const print = (begins) => { printing = begins; drawAll(); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  const table = document.getElementById("trials");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const sort = (header) => {
    const column = header.cellIndex;
    const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sign = order === "ascending" ? 1 : -1;
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", order);
    // What has no value comes last, whichever way.
    body.append(...[...rows].sort((a, b) => {
      const [x, y] = [valueOf(a, column), valueOf(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * compare(x, y);
    }));
  };
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => sort(button.parentElement));
  }

  const filter = document.getElementById("filter");
  const onlyFront = document.getElementById("only-front");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const choose = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => texts.get(row).includes(word));
      row.hidden = !fits || (onlyFront.checked && !row.classList.contains("front"));
      shown += !row.hidden;
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length} trials`;
  };
  filter.addEventListener("input", choose);
  onlyFront.addEventListener("change", choose);
})();
