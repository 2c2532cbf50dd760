"""What is served before the program's rooms are imported: a calm page that says so and opens the real one by itself."""

import secrets

from modules.httpapi.answers import Receive, Scope, Send, problem, send_json, send_page

# The page's colours and type as everywhere in the program; both languages, because nothing is loaded yet.
_SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Atelier</title>
<noscript><meta http-equiv="refresh" content="1"></noscript>
<style nonce="{nonce}">
:root {{ color-scheme: light dark; --page: #F4F4F2; --text: #1C1C1A; --text-2: #55554F }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #171717; --text: #ECECE8; --text-2: #B8B8B2 }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center;
  background: var(--page); color: var(--text); font: 14px/20px system-ui, -apple-system, "Segoe UI", Roboto,
  "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif }}
h1 {{ margin: 0 0 8px; font-size: 20px; line-height: 28px; font-weight: 600 }}
p {{ margin: 0; color: var(--text-2) }}
</style>
</head>
<body>
<main><h1>Atelier</h1><p role="status">Starting … <span lang="zh">正在启动…</span></p></main>
<script nonce="{nonce}">
const look = async () => {{
  try {{
    const health = await fetch("/healthz", {{ cache: "no-store" }});
    if ((await health.json()).status === "ready") {{ location.reload(); return; }}
  }} catch {{ /* not there yet: ask again */ }}
  setTimeout(look, 150);
}};
look();
</script>
</body>
</html>
"""


async def starting(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the shell at ``/`` and 503 elsewhere; the gate itself answers /healthz."""
    if scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )
        await send_page(send, 200, _SHELL.format(nonce=nonce), policy)
        return
    body = problem("starting", "The program is starting.", "Try again in a second.", scope["state"]["request_id"])
    await send_json(send, 503, body, [(b"retry-after", b"1")])
