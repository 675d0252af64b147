# SPDX-License-Identifier: GPL-3.0-only
# The same as loop.c in Python: selectors, the random module (seeded by the system), sets of words (whose order depends
# on the hash's secret), times. Started with a port; says "listening" on standard error.
import os
import random
import selectors
import socket
import sys
import time

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(64)
listener.setblocking(False)
loop = selectors.DefaultSelector()
loop.register(listener, selectors.EVENT_READ, None)
print("listening", file=sys.stderr, flush=True)
count = 0
while True:
    for key, _ in loop.select(timeout=0.05):
        if key.data is None:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            connection.setblocking(False)
            loop.register(connection, selectors.EVENT_READ, count)
            count += 1
            continue
        try:
            data = key.fileobj.recv(64)
        except BlockingIOError:
            continue
        if not data:
            loop.unregister(key.fileobj)
            key.fileobj.close()
            continue
        words = "".join({"some", "words", "in", "no", "order"})
        answer = f"{key.data} fd={key.fileobj.fileno()} got={len(data)} {data.decode()} {time.time()} {time.monotonic()}"
        answer += f" {random.random()} {os.urandom(4).hex()} {words} pid={os.getpid()}\n"
        key.fileobj.sendall(answer.encode())
