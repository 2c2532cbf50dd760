"""The real page in a real Chromium, over the real studio with the analytic family."""
