"""A command runner: fetches the URL of its payload, {"url": "http://..."}, and says how many bytes it got."""

import json
import sys
import urllib.request

url = json.load(sys.stdin)["url"]
with urllib.request.urlopen(url, timeout=15) as answer:
    size = len(answer.read())
print(json.dumps({"url": url, "bytes": size}))
