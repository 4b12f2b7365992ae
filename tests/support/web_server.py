"""A server on the loopback that answers as a test says."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serve(answers: dict[str, Answer], asked: list[str] | None = None) -> Iterator[str]:
    """Yields the address; `answers` go by path, and `asked` collects the paths of all requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if asked is not None:
                asked.append(self.path)
            try:
                answers[self.path](self)
            except OSError:  # the reader has gone
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def head(handler: http.server.BaseHTTPRequestHandler, kind: str, length: int | None = None) -> None:
    """Status and headers of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def whole(content: bytes, kind: str = "application/octet-stream") -> Answer:
    """All of a file, whatever part was asked for."""

    def answer(handler):
        head(handler, kind, len(content))
        handler.wfile.write(content)

    return answer
