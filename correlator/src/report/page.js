for (const button of document.querySelectorAll(".copy button")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // A file opened from disk may not write to the clipboard: mark the text, so that one key copies it.
      getSelection().selectAllChildren(code);
      button.textContent = "Marked";
    }
  });
}
// A link to an alert opens it.
const open = () => document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
addEventListener("hashchange", open);
open();
