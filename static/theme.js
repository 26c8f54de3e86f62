/* Loaded in <head> before the first paint, so that a dark page never flashes light.
   The choice ("light", "dark" or "system") lives in localStorage; ?theme=dark overrides it for one page. */
(function () {
  "use strict";
  var root = document.documentElement, media = matchMedia("(prefers-color-scheme: dark)");
  function stored() { try { return localStorage.getItem("costgov-theme") || "system"; } catch (e) { return "system"; } }
  function apply(choice) {
    var dark = choice === "dark" || (choice !== "light" && media.matches), value = dark ? "dark" : "light";
    root.dataset.themeChoice = choice;
    if (root.getAttribute("data-bs-theme") === value) return;
    root.setAttribute("data-bs-theme", value);
    document.dispatchEvent(new CustomEvent("costgov:theme"));
  }
  window.costgovTheme = {
    choice: function () { return root.dataset.themeChoice; },
    set: function (choice) { try { localStorage.setItem("costgov-theme", choice); } catch (e) { /* private window */ } apply(choice); }
  };
  root.classList.add("js");
  apply(new URLSearchParams(location.search).get("theme") || stored());
  media.addEventListener("change", function () { apply(stored()); });
})();
