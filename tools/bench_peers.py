"""The systems that towpath is measured beside, for tools/bench --peers: which there are, how they get here, and which
programs were built of them. What is fetched and built lies in build/peers."""
import subprocess
import sys
from pathlib import Path

from bench_results import note

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "peers"
PEERS = ("aeron", "aeron-yield", "iceoryx2", "iceoryx", "chronicle", "pipe", "boost-mq", "zmq", "write2", "sqlite", "rocksdb")


def note_comments(text):
    """Passes on what was skipped, and versions."""
    for line in text.splitlines():
        if line.startswith("# "):
            note(line[2:])


def step(command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    note_comments(done.stdout)
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        print(f"bench: {' '.join(map(str, command))} failed with status {done.returncode}", file=sys.stderr)
        sys.exit(1)


def build(names, compiler):
    """Installs and builds the named peers; returns the program of each that is there. Says which are left out, why."""
    step([ROOT / "bench" / "peers" / "install", *names])
    programs = FOLDER / "programs"
    step(["cmake", "-S", ROOT / "bench" / "peers", "-B", programs, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
          f"-DCMAKE_CXX_COMPILER={compiler}", f"-DPEERS={';'.join(names)}"])
    step(["cmake", "--build", programs, "-j", "2"])
    found = {name: programs / f"bench_{name}" for name in names}
    return {name: path for name, path in found.items() if path.exists()}
