#!/usr/bin/env python3
"""Install the official OpenAI client into .cache/openai, a virtual environment, once.

The test of `chunktide serve` runs it (cmd/chunktide/openai_test.go). What is installed is pinned by requirements.txt.
Needs Python 3.11 or newer with venv.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(HERE, "..", "..", ".cache")
PLACE = os.path.join(CACHE, "openai")


def fail(text):
    sys.exit("setup: " + text)


def stamp():
    digest = hashlib.sha256(sys.version.encode())
    for name in ("setup.py", "requirements.txt"):
        with open(os.path.join(HERE, name), "rb") as f:
            digest.update(f.read())
    return digest.hexdigest() + "\n"


def done():
    try:
        with open(os.path.join(PLACE, ".stamp")) as f:
            return f.read() == stamp()
    except OSError:
        return False


def install():
    print("setup: installing the OpenAI client (8 MB)", flush=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", PLACE], capture_output=True).returncode != 0:
        fail("python3 -m venv does not work (Debian: apt-get install python3-venv)")
    got = subprocess.run([os.path.join(PLACE, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
                          "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement=" + os.path.join(HERE, "requirements.txt")])
    if got.returncode != 0:
        fail("pip install failed, see above: it needs a package index, or a mirror named by PIP_INDEX_URL")
    with open(os.path.join(PLACE, ".stamp"), "w") as f:
        f.write(stamp())


def main():
    if sys.version_info < (3, 11):
        fail("python3 is %d.%d; the OpenAI client needs 3.11 or newer (CHUNKTIDE_TEST_REAL=0 leaves its test out)" % sys.version_info[:2])
    if done():
        return
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "openai.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, and finds it done
        if not done():
            install()


if __name__ == "__main__":
    main()
