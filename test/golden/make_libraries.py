"""What the shared libraries in the pinned wheels of libtorch are linked to, for each platform: test/golden/libraries.json.

    python3 test/golden/make_libraries.py > test/golden/libraries.json

Needs node, pip and readelf (of any architecture), and downloads some 1.2 GB. Run it again when a wheel's pin changes.
"""
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

root = Path(__file__).parents[2]
pins = json.loads(
    subprocess.check_output(
        ["node", "--input-type=module", "-e",
         'import { wheels } from "./scripts/setup.mjs"; console.log(JSON.stringify(wheels))'],
        cwd=root,
    )
)


def elf(path):
    """(needed names, folders they are looked for in) of an ELF library."""
    text = subprocess.check_output(["readelf", "-d", path], text=True)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
    paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", text)
    return needed, [folder for path in paths for folder in path.split(":")]


def mach_o(path):
    """The same of a 64-bit Mach-O library (loader.h: LC_LOAD_DYLIB and its kin, LC_RPATH)."""
    data = Path(path).read_bytes()
    assert data[:4] == b"\xcf\xfa\xed\xfe", f"{path} is neither ELF nor 64-bit Mach-O"
    count, at = struct.unpack_from("<I", data, 16)[0], 32
    needed, paths = [], []
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        offset = struct.unpack_from("<I", data, at + 8)[0]
        text = lambda: data[at + offset : at + size].split(b"\0")[0].decode()
        if command in (0xC, 0x80000018, 0x8000001F):
            needed.append(text())
        elif command == 0x8000001C:
            paths.append(text())
        at += size
    return needed, paths


def libraries(wheel):
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        for name in archive.namelist():
            if re.search(r"\.(so(\.[\d.]+)?|dylib)$", name):
                path = archive.extract(name, folder)
                needed, paths = (elf if Path(path).read_bytes()[:4] == b"\x7fELF" else mach_o)(path)
                yield name, {"needed": needed, "paths": paths}
                Path(path).unlink()


made = {}
for platform, wheels in pins.items():
    made[platform] = {"wheels": [], "libraries": {}}
    for name, version, tag, sha256 in wheels:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                 "--implementation", "cp", "--python-version", "3.11", "--platform", tag, "--dest", folder,
                 f"{name}=={version}"],
                check=True, stdout=sys.stderr,
            )
            made[platform]["libraries"].update(libraries(next(Path(folder).iterdir())))
        made[platform]["wheels"].append(sha256)
json.dump(made, sys.stdout, indent=1)
print()
