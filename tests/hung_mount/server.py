"""A FUSE file system that answers nothing until a file appears (linux/fuse.h).

    server.py MOUNT_POINT FILE

Every question waits in the kernel while FILE is not there, that of the mount itself (INIT) included. From
then on INIT and STATFS are answered, and all others are refused.
"""

import ctypes
import errno
import os
import struct
import sys
import time

INIT, STATFS, FORGET, BATCH_FORGET = 26, 17, 2, 42
HEADER = struct.Struct("<IIQQIIIHH")


def mount(descriptor, target):
    """mount(2), with the descriptor that the server reads questions from."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"hung", target.encode(), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def answer(descriptor, unique, body=b"", error=0):
    """An answer: its length, an error, and which question it is to."""
    os.write(descriptor, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


def main():
    """Mounts, waits, answers."""
    target, sign = sys.argv[1:]
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    mount(descriptor, target)
    while not os.path.exists(sign):
        time.sleep(0.05)
    while True:
        question = os.read(descriptor, 1 << 17)
        _, opcode, unique, *_ = HEADER.unpack_from(question)
        if opcode == INIT:
            # Version 7.31; the rest is limits, for which zero is good enough but for the largest write.
            answer(descriptor, unique, struct.pack("<IIIIHHIIHH8I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8))
        elif opcode == STATFS:
            blocks, free, available, files, files_free = 1000, 400, 300, 50, 40
            answer(descriptor, unique, struct.pack("<5QIIII6I", blocks, free, available, files, files_free, 4096, 255, 4096, 0, *[0] * 6))
        elif opcode not in (FORGET, BATCH_FORGET):
            answer(descriptor, unique, error=errno.ENOSYS)


main()
