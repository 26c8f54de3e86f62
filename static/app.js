/* Behaviour of every page: charts in the theme's colours, menus, filters, dialogs. Pages read and work without it. */
(function () {
  "use strict";
  var root = document.documentElement;
  var still = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- Charts: a figure is JSON from costgov/charts.py whose colours are names of CSS variables ("--cg-fast") ----
  function colours() {
    var style = getComputedStyle(document.body), seen = {};
    return function (name) { return seen[name] || (seen[name] = style.getPropertyValue(name).trim() || "#888"); };
  }
  function painted(value, colour) {
    if (typeof value === "string") return value.slice(0, 5) === "--cg-" ? colour(value) : value;
    if (Array.isArray(value)) return value.map(function (v) { return painted(v, colour); });
    if (value && typeof value === "object") {
      var out = {};
      Object.keys(value).forEach(function (k) { out[k] = painted(value[k], colour); });
      return out;
    }
    return value;
  }
  // "narrow" holds the layout changes for phones; dotted keys as in Plotly.relayout ("margin.l").
  function merged(layout, changes) {
    Object.keys(changes || {}).forEach(function (path) {
      var keys = path.split("."), at = layout;
      keys.slice(0, -1).forEach(function (k) { at = at[k] = at[k] || {}; });
      at[keys[keys.length - 1]] = changes[path];
    });
    return layout;
  }
  function draw(el) {
    var source = document.getElementById(el.dataset.figure);
    if (!source || !window.Plotly) return;
    var figure = painted(JSON.parse(source.textContent), colours());
    var layout = figure.layout, narrow = el.clientWidth < 520;
    // "height" is the element's, in pixels: stacked panels need more of it on a phone.
    var height = narrow && figure.narrow && figure.narrow.height;
    el.style.height = height ? height + "px" : "";
    if (narrow) { delete figure.narrow.height; merged(layout, figure.narrow); }
    if (still.matches) layout.transition = { duration: 0 };
    el.dataset.narrow = String(narrow);
    // The placeholder is CSS on :empty; plotly fills the element, so it goes by itself.
    Plotly.react(el, figure.data, layout, { responsive: true, displayModeBar: false, scrollZoom: false, doubleClick: "reset" });
  }
  function drawAll(within) { within.querySelectorAll("[data-figure]").forEach(draw); }

  // ---- Widths from data, because the policy of the page allows no style attribute ----
  function widths(within) {
    within.querySelectorAll("[data-w]").forEach(function (el) { el.style.width = Math.max(0, Math.min(100, Number(el.dataset.w) || 0)) + "%"; });
  }

  // ---- Theme switch ----
  function pressed() {
    document.querySelectorAll("[data-theme-set]").forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.themeSet === window.costgovTheme.choice())); });
  }

  // ---- Table filter: <input data-filter="table-id"> hides rows that lack the words, and says how many are left ----
  function filter(input) {
    var words = input.value.trim().toLowerCase().split(/\s+/), table = document.getElementById(input.dataset.filter), left = 0;
    if (!table) return;
    table.querySelectorAll("tbody tr").forEach(function (row) {
      var text = row.textContent.toLowerCase(), hit = words.every(function (w) { return text.indexOf(w) >= 0; });
      row.hidden = !hit; if (hit) left += 1;
    });
    var said = document.getElementById(input.dataset.filter + "-left");
    if (said) said.textContent = input.value ? left + (left === 1 ? " row left" : " rows left") : "";
  }

  // ---- A table wider than its card scrolls: then the keyboard must reach it. One that fits is no stop on the way ----
  function reachable(within) {
    within.querySelectorAll(".table-responsive").forEach(function (el) {
      var caption = el.querySelector("caption"), wide = el.scrollWidth > el.clientWidth + 1;
      if (wide && !el.hasAttribute("tabindex")) {
        el.dataset.reached = ""; el.tabIndex = 0; el.setAttribute("role", "region");
        el.setAttribute("aria-label", caption ? caption.textContent : "Table");
      } else if (!wide && el.hasAttribute("data-reached")) {
        ["data-reached", "tabindex", "role", "aria-label"].forEach(function (name) { el.removeAttribute(name); });
      }
    });
  }

  function ready(within) { widths(within); drawAll(within); reachable(within); }

  document.addEventListener("click", function (event) {
    var at = event.target.closest("[data-toggle],[data-theme-set],[data-dialog],[data-close],[data-copy],[data-print]");
    document.querySelectorAll("details.menu[open]").forEach(function (d) { if (!d.contains(event.target)) d.open = false; });
    if (!at) return;
    if (at.dataset.toggle) {
      var open = at.getAttribute("aria-expanded") !== "true";
      at.setAttribute("aria-expanded", String(open));
      document.getElementById(at.dataset.toggle).classList.toggle("open", open);
    } else if (at.dataset.themeSet) {
      window.costgovTheme.set(at.dataset.themeSet); pressed();
    } else if (at.dataset.dialog) {
      var dialog = document.getElementById(at.dataset.dialog);
      if (dialog && dialog.showModal) { event.preventDefault(); dialog.showModal(); }
    } else if (at.hasAttribute("data-close")) {
      event.preventDefault(); at.closest("dialog").close();
    } else if (at.hasAttribute("data-copy")) {
      var text = at.dataset.copy || location.href, label = at.querySelector("span") || at, before = label.textContent;
      // Browsers give the clipboard to HTTPS and localhost only.
      if (!navigator.clipboard) { window.prompt("Copy this:", text); return; }
      navigator.clipboard.writeText(text).then(function () { label.textContent = "Copied"; setTimeout(function () { label.textContent = before; }, 1600); });
    } else if (at.hasAttribute("data-print")) { window.print(); }
  });
  document.addEventListener("input", function (event) { if (event.target.dataset && event.target.dataset.filter) filter(event.target); });
  document.addEventListener("change", function (event) { if (event.target.hasAttribute && event.target.hasAttribute("data-submit")) event.target.form.requestSubmit(); });
  // A double click sends a form once: the second submit of the same form is dropped.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    // data-repeat: a form whose answer is a file, so the page stays and the form may be sent again.
    if (event.defaultPrevented || form.getAttribute("method") !== "post" || form.hasAttribute("hx-post") || form.hasAttribute("data-repeat")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(function () { form.querySelectorAll("button[type=submit],button:not([type])").forEach(function (b) { b.disabled = true; }); }, 0);
  });
  window.addEventListener("pageshow", function (event) {
    if (!event.persisted) return;
    document.querySelectorAll("form[data-sent]").forEach(function (f) { delete f.dataset.sent; f.querySelectorAll("button[disabled]").forEach(function (b) { b.disabled = false; }); });
  });
  document.addEventListener("keydown", function (event) {
    var typing = /INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName), box = document.querySelector("[data-filter]");
    if (event.key === "/" && box && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); box.focus(); }
    if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach(function (d) { d.open = false; d.querySelector("summary").focus(); });
  });
  document.addEventListener("costgov:theme", function () { drawAll(document); pressed(); });
  // Paper is white: a dark page prints in the light colours, its charts included.
  var before = null;
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details[data-fold]").forEach(function (d) { d.open = true; });
    if (root.getAttribute("data-bs-theme") !== "dark") return;
    before = "dark"; root.setAttribute("data-bs-theme", "light"); drawAll(document);
  });
  window.addEventListener("afterprint", function () {
    if (before) { root.setAttribute("data-bs-theme", before); before = null; drawAll(document); }
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    // After an outerHTML swap the target is gone from the page: look everywhere then.
    var at = (event.detail && event.detail.target) || event.target;
    ready((at && at.isConnected && at.parentElement) || document);
  });
  // A chart in closed details is drawn when they open; one that fills its card shrinks or grows with what opens beside it.
  document.addEventListener("toggle", function (event) {
    if (event.target.open) { drawAll(event.target); reachable(event.target); }
    var around = event.target.closest(".row");
    if (around) around.querySelectorAll(".js-plotly-plot").forEach(function (el) {
      if (el.clientHeight && el._fullLayout && Math.abs(el._fullLayout.height - el.clientHeight) > 1) window.Plotly.Plots.resize(el);
    });
  }, true);
  var waiting;
  window.addEventListener("resize", function () {
    clearTimeout(waiting);
    waiting = setTimeout(function () { document.querySelectorAll("[data-figure]").forEach(function (el) { if (el.dataset.narrow !== String(el.clientWidth < 520)) draw(el); }); reachable(document); }, 150);
  });
  root.classList.add("js");
  // What is folded on phones only: open as sent, so that it is whole without this script and on paper.
  if (matchMedia("(max-width: 767px)").matches) document.querySelectorAll("details[data-fold=narrow]").forEach(function (d) { d.open = false; });
  if (window.costgovTheme) pressed();
  ready(document);
})();
