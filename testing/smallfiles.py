#!/usr/bin/env python3
"""Makes COUNT small text files in DIR, 1,000 to a folder: pieces of 1 to 4 KiB of the text files below SOURCE, none used twice.

Usage: testing/smallfiles.py DIR SOURCE [COUNT]
"""
import os, random, sys

def texts(source):
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith((".c", ".h", ".txt", ".rst", ".go")) and not os.path.islink(path):
                with open(path, "rb") as f:
                    yield f.read()

def main():
    target, source = sys.argv[1], sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 200000
    rng, made = random.Random(1), 0
    for text in texts(source):
        at = 0
        while at < len(text) and made < count:
            size = rng.randint(1024, 4096)
            folder = os.path.join(target, "%04d" % (made // 1000))
            if made % 1000 == 0:
                os.makedirs(folder)
            with open(os.path.join(folder, "%06d.txt" % made), "wb") as f:
                f.write(text[at:at + size])
            at += size
            made += 1
        if made == count:
            return
    sys.exit("only %d files: the source is too small" % made)

main()
