/** The HTML page. The modules of script/ fill it. Without JavaScript it shows a message. */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>heddle playground</title>
<link rel="icon" type="image/svg+xml" href="playground/icon.svg">
<link rel="stylesheet" href="playground/style.css">
<script type="module" src="playground/main.js"></script>
</head>
<body>
<header>
  <h1>heddle</h1>
  <div id="views" role="group" aria-label="View">
    <button type="button" data-view="text" aria-pressed="true">Text</button>
    <button type="button" data-view="tokens" aria-pressed="false">Tokens</button>
  </div>
  <button id="compare" type="button" aria-pressed="false">Compare</button>
  <button id="clear" type="button">New chat</button>
  <button id="settings-toggle" type="button" aria-expanded="false" aria-controls="settings">Settings</button>
</header>
<div id="body">
  <main id="columns" aria-label="Conversation"></main>
  <form id="settings" aria-label="Settings" hidden>
    <label>System prompt<textarea id="system" rows="3"></textarea></label>
    <label>Temperature<input id="temperature" type="number" min="0" max="2" step="0.1" value="0.7"></label>
    <label>Top-p<input id="top_p" type="number" min="0.01" max="1" step="0.01" value="1"></label>
    <label>Top-k<input id="top_k" type="number" min="0" step="1" value="0"></label>
    <label>Min-p<input id="min_p" type="number" min="0" max="1" step="0.01" value="0"></label>
    <label>Max tokens<input id="max_tokens" type="number" min="1" step="1" value="256"></label>
    <label>Seed<input id="seed" type="number" step="1" placeholder="random"></label>
    <label>Tools <span class="quiet">(JSON, as in OpenAI's API)</span><textarea id="tools" rows="5" spellcheck="false" placeholder='[{"type": "function", "function": {"name": "…"}}]'></textarea></label>
    <p id="tools-problem" class="problem" role="alert"></p>
    <label>API key<input id="key" type="password" autocomplete="off"></label>
  </form>
</div>
<section id="candidates" role="dialog" aria-label="Candidates for this token" hidden></section>
<footer>
  <p id="status" role="status"></p>
  <form id="composer">
    <textarea id="message" rows="1" aria-label="Message" placeholder="Message"></textarea>
    <button id="send" type="submit">Send</button>
    <button id="stop" type="button" hidden>Stop</button>
  </form>
</footer>
<noscript>The playground needs JavaScript.</noscript>
</body>
</html>
`;

/** Icon: threads of the warp, one of them raised. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke="#2f6b5e" stroke-width="3" stroke-linecap="round">
<path d="M4 10h24M4 22h24"/><path d="M4 16c6 0 6-8 12-8s6 8 12 8" stroke="#c2703d"/>
</svg>
`;
