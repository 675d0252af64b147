# SPDX-License-Identifier: GPL-3.0-only
# The same as chain.c in Python: asyncio, the random module, the order of a set. Started with a port; says "listening" on
# standard error.
import asyncio
import os
import random
import socket
import sys
import time

chain = 0xCBF29CE484222325
number = 0


async def heard(reader):
    try:
        return await reader.readline()
    except ConnectionResetError:
        return b""


async def serve(reader, writer):
    global chain, number
    fd = writer.get_extra_info("socket").fileno()
    while line := await heard(reader):
        words = "".join({"some", "words", "in", "no", "order"})
        answer = f"{number} fd={fd} t={int(time.time())} m={time.monotonic():.9f} r={random.getrandbits(32):08x} pid={os.getpid()}"
        answer = f"{answer} chain={chain:016x} {line.decode().rstrip()} {words}\n".encode()
        number += 1
        for byte in answer:
            chain = (chain ^ byte) * 0x100000001B3 % 2**64
        writer.write(answer)
        await writer.drain()
    writer.close()


async def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", int(sys.argv[1])))
    server = await asyncio.start_server(serve, sock=listener)
    print("listening", file=sys.stderr, flush=True)
    await server.serve_forever()


asyncio.run(main())
