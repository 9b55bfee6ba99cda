/** Elements of the page. */
export const DOM = `export const $ = (id) => document.getElementById(id);

export const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

/** A button that runs work when it is pressed. */
export function button(text, work, label) {
  const made = element("button", "", text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", work);
  return made;
}

/** Shows a line about the page's state. */
export function say(text, isProblem) {
  $("status").textContent = text;
  $("status").className = isProblem ? "problem" : "";
}
`;
