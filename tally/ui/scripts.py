"""What a page does in the browser by itself, without the console: say that it is gone, and move by keys."""

PAGE = """<script>
// A console that was started again refuses the cookie of the one before: without a word the page would wait for ever.
setInterval(async () => {
  const popup = document.getElementById("popup");
  if (!popup || popup.getAttribute("aria-hidden") !== "false") return;
  let text = "The console does not answer. If it has ended, start it again: tally ui";
  try {
    const answer = await fetch("/", { method: "HEAD" });
    text = answer.status === 403
      ? "The console was started again: open the address that `tally ui` has printed." : "Connecting again...";
  } catch { /* nobody listens */ }
  if (popup.textContent === text) return;
  popup.setAttribute("role", "alert");
  popup.replaceChildren(Object.assign(document.createElement("span"), { textContent: text }));
}, 1000);
// "/" goes to the field that finds, if the page has one.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable], [role=dialog]")) return;
  const field = document.querySelector("input[aria-label='Find'], input[aria-label^='Line']");
  if (!field) return;
  event.preventDefault();
  field.focus();
});
// The link that skips the head moves the focus, not the address.
document.addEventListener("click", (event) => {
  if (!event.target.closest(".tally-skip")) return;
  event.preventDefault();
  document.getElementById("content")?.focus();
});
</script>"""
