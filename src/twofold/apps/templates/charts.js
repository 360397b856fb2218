// Line charts: a cursor that follows the pointer, a finger or the arrow keys, and reads the curves.
{
  const SVG = "http://www.w3.org/2000/svg";

  const digits = (value) => {
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e7)
      ? value.toExponential(2)
      : value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 }).replaceAll(",", "\u202f");
    return text.replaceAll("-", "\u2212");
  };

  // Index of the point whose x is nearest, by bisection.
  const nearest = (points, x) => {
    let low = 0;
    let high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return x - points[low][0] <= points[high][0] - x ? low : high;
  };

  const setUp = (figure) => {
    const chart = JSON.parse(figure.querySelector("script").textContent);
    const plot = figure.querySelector(".plot");
    const cursor = figure.querySelector(".cursor");
    const marks = figure.querySelector(".marks");
    const readout = figure.querySelector(".readout");
    const lines = chart.series.filter((series) => !series.faint);
    const [x0, x1] = chart.x;
    const [y0, y1] = chart.y;
    const steps = [...new Set(lines.flatMap((series) => series.points.map((point) => point[0])))].sort((a, b) => a - b);
    let place = steps.length - 1;

    const read = (x) => {
      const groups = new Map();
      marks.replaceChildren();
      for (const series of lines) {
        const [, value] = series.points[nearest(series.points, x)];
        if (value === null) continue;
        groups.set(series.name, [...(groups.get(series.name) ?? []), value]);
        const mark = document.createElementNS(SVG, "circle");
        mark.setAttribute("cx", `${((x - x0) / (x1 - x0)) * 100}%`);
        mark.setAttribute("cy", `${(1 - (value - y0) / (y1 - y0)) * 100}%`);
        mark.setAttribute("r", "4");
        mark.style.setProperty("--tone", `var(--c${series.slot})`);
        marks.append(mark);
      }
      const percent = `${((x - x0) / (x1 - x0)) * 100}%`;
      cursor.setAttribute("x1", percent);
      cursor.setAttribute("x2", percent);
      cursor.setAttribute("visibility", "visible");
      const parts = [...groups].map(([name, values]) => {
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        return groups.size > 1 ? `${name} ${digits(mean)}` : digits(mean);
      });
      readout.textContent = `${chart.xTitle} ${digits(x)}: ${parts.join(", ") || "not finite"}`;
    };

    const clear = () => {
      cursor.setAttribute("visibility", "hidden");
      marks.replaceChildren();
      readout.textContent = "";
    };

    const follow = (event) => {
      const box = plot.querySelector("svg").getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      place = nearest(steps.map((step) => [step]), x0 + share * (x1 - x0));
      read(steps[place]);
    };

    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerdown", follow);
    plot.addEventListener("pointerleave", clear);
    plot.addEventListener("blur", clear);
    plot.addEventListener("keydown", (event) => {
      const stride = event.shiftKey ? 20 : 1;
      const target = {
        ArrowLeft: place - stride, ArrowRight: place + stride, Home: 0, End: steps.length - 1,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      place = Math.min(Math.max(target, 0), steps.length - 1);
      read(steps[place]);
    });
  };

  for (const figure of document.querySelectorAll(".line-chart")) setUp(figure);
}
