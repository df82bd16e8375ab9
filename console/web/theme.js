// Runs before the page is drawn, so that it does not flash in the other theme.
(() => {
  let theme = null;
  try { theme = localStorage.getItem("chunktide.theme"); } catch { /* storage is off: the system's theme */ }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
