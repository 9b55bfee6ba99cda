/** The HTML page. script.ts renders its content; without JavaScript it shows a message. */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Which answer is better?</title>
<link rel="icon" type="image/svg+xml" href="/icon.svg">
<link rel="stylesheet" href="/style.css">
<script src="/script.js" defer></script>
</head>
<body>
<header>
  <h1>Which answer is better?</h1>
  <p id="count" aria-live="polite"></p>
  <progress id="bar" max="1" value="0" aria-label="judged"></progress>
</header>
<main>
  <section id="prompt" aria-label="Prompt"></section>
  <section id="answers" aria-label="Answers"></section>
</main>
<footer>
  <p id="notice" role="status"></p>
  <span id="hint-pick"></span>
  <button id="again" type="button" hidden><kbd>R</kbd> sample again</button>
  <button id="tie" type="button"><kbd>T</kbd> equally good</button>
  <button id="bad" type="button"><kbd>B</kbd> <span id="bad-text">both bad</span></button>
  <button id="skip" type="button"><kbd>S</kbd> skip</button>
  <button id="dismiss" type="button"><kbd>D</kbd> dismiss</button>
  <button id="undo" type="button"><kbd>U</kbd> undo</button>
</footer>
<noscript>This page needs its script.</noscript>
</body>
</html>
`;

/** Icon: two answers, one higher than the other. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect x="4" y="6" width="10" height="22" rx="3" fill="#2f6b5e"/><rect x="18" y="14" width="10" height="14" rx="3" fill="#a9a398"/>
</svg>
`;
