// Chapters run in the browser only where a server sends the site: a page that
// was opened as a file says how, in place of the button.
if (location.protocol === "file:") {
  addEventListener("DOMContentLoaded", () => {
    document.querySelector("p.lite").textContent =
      "This chapter also runs in your browser, but not from a file. Run " +
      "python -m http.server -d book/_build/html and open it at " +
      "http://localhost:8000.";
  });
}
