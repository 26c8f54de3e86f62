// What is wrong on the page as drawn, one sentence per finding. Colours are those the browser computed.
() => {
  "use strict";
  const found = [], said = new Set();
  const name = (el) => {
    const own = el.id ? "#" + el.id : (el.className && el.className.baseVal === undefined ? "." + String(el.className).trim().split(/\s+/).join(".") : "");
    return el.tagName.toLowerCase() + own + " “" + (el.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40) + "”";
  };
  const say = (text) => { if (!said.has(text)) { said.add(text); found.push(text); } };
  const seen = (el) => el.checkVisibility({ visibilityProperty: true, opacityProperty: true });

  // ---- Frame ----
  if (document.documentElement.scrollWidth > innerWidth) say(`wider than the window: ${document.documentElement.scrollWidth} > ${innerWidth}`);
  const ids = {};
  document.querySelectorAll("[id]").forEach((el) => { ids[el.id] = (ids[el.id] || 0) + 1; });
  Object.keys(ids).forEach((id) => { if (ids[id] > 1) say(`id twice: ${id}`); });
  ["aria-labelledby", "aria-describedby", "aria-controls", "for", "list"].forEach((attribute) => {
    document.querySelectorAll(`main [${attribute}], nav [${attribute}]`).forEach((el) => {
      el.getAttribute(attribute).split(/\s+/).forEach((id) => { if (id && !document.getElementById(id)) say(`${attribute} names no element: ${id}`); });
    });
  });
  if (document.querySelectorAll("h1").length !== 1) say(`${document.querySelectorAll("h1").length} h1`);
  if (!document.querySelector("main")) say("no main");
  let last = 0;
  document.querySelectorAll("h1,h2,h3,h4,h5,h6").forEach((el) => {
    if (!seen(el)) return;
    const level = Number(el.tagName[1]);
    if (last && level > last + 1) say(`heading skips a level: h${last} then ${name(el)}`);
    if (!el.textContent.trim()) say("empty heading " + name(el));
    last = level;
  });
  if (document.documentElement.lang !== "en") say("no language");

  // ---- Names ----
  const label = (el) => {
    const by = (el.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean).map((id) => (document.getElementById(id) || {}).textContent || "").join(" ");
    return (by || el.getAttribute("aria-label") || [...(el.labels || [])].map((l) => l.textContent).join(" ") || el.getAttribute("title") || "").trim();
  };
  document.querySelectorAll("input:not([type=hidden]),select,textarea,progress").forEach((el) => { if (!label(el)) say("no label: " + el.outerHTML.slice(0, 120)); });
  document.querySelectorAll("a[href],button,summary").forEach((el) => {
    const alt = [...el.querySelectorAll("img")].map((i) => i.alt).join(" ");
    if (!(label(el) || el.textContent.trim() || alt)) say("no name: " + el.outerHTML.slice(0, 120));
  });
  document.querySelectorAll("img:not([alt])").forEach((el) => say("no alt: " + el.src));
  document.querySelectorAll("main svg:not([aria-hidden=true]):not(.main-svg):not(.main-svg *)").forEach((el) => {
    if (el.closest("[aria-hidden=true], .plotly") || el.closest(".js-plotly-plot")) return;
    if (!label(el) && !el.querySelector("title")) say("picture without a name: " + el.outerHTML.slice(0, 100));
  });

  // ---- Tables and charts ----
  document.querySelectorAll("main table").forEach((el) => {
    if (!el.caption && !label(el)) say("table without a caption: " + name(el));
    el.querySelectorAll("th").forEach((th) => { if (!th.scope) say("th without scope: " + name(th)); });
  });
  document.querySelectorAll("[data-figure]").forEach((el) => {
    if (!(el.getAttribute("role") === "img" && label(el))) say("chart without a name: " + (el.id || el.dataset.figure));
    const card = el.closest(".card, section, figure, dialog");
    if (location.pathname === "/patterns/") return;  // shows the charts alone
    // A chart of a table's own figures leads to it instead.
    if (!card || !card.querySelector("table, a[href^='#']")) say("chart without a data table: " + el.dataset.figure);
    if (!card || !card.querySelector(".chart-sum")) say("chart without a summary: " + el.dataset.figure);
  });
  document.querySelectorAll("main .table-responsive").forEach((el) => {
    const hidden = el.scrollWidth - el.clientWidth;
    if (!seen(el) || hidden <= 1) return;
    if (el.tabIndex < 0 || !label(el)) say(`scrolls, and the keyboard does not reach it: ${name(el)}`);
    // A stacked table has room for everything; what still hangs out of its card was not meant to.
    if (innerWidth >= 1440 && el.querySelector(".table-stack")) say(`table ${hidden} px wider than its card: ${name(el)}`);
  });
  document.querySelectorAll("[aria-invalid=true]").forEach((el) => { if (!el.getAttribute("aria-describedby")) say("error not bound to its field: " + el.name); });

  // ---- Colours: WCAG contrast of text against the nearest opaque ground ----
  // A canvas reads every notation (rgb, oklab, color-mix) as the browser does.
  const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const colours = new Map();
  const rgba = (text) => {
    if (!colours.has(text)) {
      pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = text; pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      colours.set(text, [r, g, b, a / 255]);
    }
    return colours.get(text);
  };
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3])).concat(1);
  const ground = (el) => {
    const layers = [];
    for (let at = el; at; at = at.parentElement) {
      const style = getComputedStyle(at), colour = rgba(style.backgroundColor);
      if (style.backgroundImage !== "none") return null;
      if (colour && colour[3] > 0) { layers.push(colour); if (colour[3] === 1) break; }
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = (c) => { const l = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const grounds = new Map();
  const under = (el) => { if (!grounds.has(el)) grounds.set(el, ground(el)); return grounds.get(el); };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const done = new Set();
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || done.has(el) || el.closest("script,style,option,.skip,.visually-hidden")) continue;
    done.add(el);
    if (!seen(el) || el.closest(":disabled")) continue;
    const style = getComputedStyle(el), svg = el instanceof SVGElement, at = svg ? el.closest("svg").parentElement : el;
    const colour = rgba(svg ? style.fill : style.color), back = under(at);
    if (!colour || !back) continue;
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const got = ratio(over(colour, back), back);
    if (got < (large ? 3 : 4.5)) say(`contrast ${got.toFixed(2)}: ${name(el)}`);
    if (size < 10) say(`letters of ${size} px: ${name(el)}`);
  }

  // ---- Text that runs into other text in charts, and text cut at the chart's edge ----
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    if (!seen(plot)) return;
    const frame = plot.getBoundingClientRect();
    const boxes = [...plot.querySelectorAll("text")].filter((t) => t.textContent.trim() && seen(t)).map((t) => ({ text: t.textContent.trim(), box: t.getBoundingClientRect() })).filter((t) => t.box.width);
    boxes.forEach((a, i) => {
      if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1 || a.box.top < frame.top - 1 || a.box.bottom > frame.bottom + 1) say(`cut in chart ${plot.dataset.figure}: “${a.text}”`);
      boxes.slice(i + 1).forEach((b) => {
        const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (across > 1 && down > 2) say(`overlap in chart ${plot.dataset.figure}: “${a.text}” and “${b.text}”`);
      });
    });
  });

  // ---- Fingers: WCAG 2.2 target size (24 px), except links within running text ----
  document.querySelectorAll("button,summary,select,input:not([type=hidden]):not([type=radio]):not([type=checkbox]),.btn,nav a").forEach((el) => {
    if (!seen(el) || el.closest("p") || el.closest(".crumbs")) return;
    const box = el.getBoundingClientRect();
    if (box.width && (box.height < 23.5 || box.width < 23.5) && box.height > 1) say(`small target ${Math.round(box.width)}×${Math.round(box.height)}: ${name(el)}`);
  });
  return found;
}
