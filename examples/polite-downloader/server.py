"""A server that counts who is polite: how many requests it has at once, in all, for each host and for each resolver.

    python3 server.py [--port PORT] [--hold SECONDS] [--gather N]

GET /HOST/RESOLVER/N stands for a request to a host found through a resolver. It is answered after `--hold` seconds; with
`--gather N` the first requests are held until N of them are there at once, so that the limits are reached however slowly
they come. GET /counts is the most that there were at once. The first line of the output is the port.
"""

import argparse
import collections
import http.server
import json
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--hold", type=float, default=0.05)
parser.add_argument("--gather", type=int, default=0)
options = parser.parse_args()

changed = threading.Condition()
now = collections.Counter()
most = collections.Counter()
gathered = options.gather == 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/counts":
            with changed:
                body = {"most": dict(most), "now": {key: n for key, n in now.items() if n}, "gathered": gathered}
        else:
            body = self.request_of_a_host()
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def request_of_a_host(self):
        global gathered
        _, host, resolver, number = self.path.split("/")
        keys = ["all", "host=" + host, "resolver=" + resolver]
        with changed:
            for key in keys:
                now[key] += 1
                most[key] = max(most[key], now[key])
            gathered = gathered or now["all"] >= options.gather
            changed.notify_all()
            changed.wait_for(lambda: gathered, timeout=10)
        time.sleep(options.hold)
        with changed:
            for key in keys:
                now[key] -= 1
        return {"number": number}

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server(("127.0.0.1", options.port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
