#!/usr/bin/env python3
"""What the image consists of: a bill of materials and the licences' texts.

    config/container/bill_of_materials.py DIRECTORY

Run in the project's folder by the build stage of the Dockerfile (Debian, with cargo and
the crates that were built for this machine). Writes
DIRECTORY/sbom.cdx.json (CycloneDX 1.5) and DIRECTORY/THIRD-PARTY-LICENSES.txt: every
crate that is linked into the executable, the C code that comes with them, and what the
static executable and the image take from Debian. Fails when a crate names no licence.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

EXECUTABLE = "layover-admin"
LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
# Larger files of such a name are no licence.
MAX_TEXT_BYTES = 256 * 1024
COMMON_LICENCES = Path("/usr/share/common-licenses")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked(target):
    """Name and version of every crate whose code is in the executable."""
    tree = run("cargo", "tree", "--locked", "--package", EXECUTABLE, "--target", target,
               "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    found = set()
    for line in tree.splitlines():
        name, version = line.split()[:2]
        found.add((name, version.removeprefix("v")))
    return found


def crates(target):
    """The packages of `linked`, as `cargo metadata` tells them, and who needs whom."""
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1",
                              "--filter-platform", target))
    wanted = linked(target)
    packages = {package["id"]: package for package in metadata["packages"]
                if (package["name"], package["version"]) in wanted}
    missing = wanted - {(package["name"], package["version"]) for package in packages.values()}
    if missing:
        sys.exit(f"bill of materials: not in cargo's metadata: {sorted(missing)}")
    needs = {}
    for node in metadata["resolve"]["nodes"]:
        if node["id"] in packages:
            needs[node["id"]] = sorted(
                dependency["pkg"] for dependency in node["deps"]
                if dependency["pkg"] in packages
                and any(kind["kind"] is None for kind in dependency["dep_kinds"]))
    return packages, needs


def checksums():
    with open("Cargo.lock", "rb") as lock:
        return {(package["name"], package["version"]): package.get("checksum")
                for package in tomllib.load(lock)["package"]}


def licence_of(package):
    licence = package["license"]
    if licence is None:
        sys.exit(f"bill of materials: {package['name']} {package['version']} names no licence")
    # An old way to write "or".
    return re.sub(r"\s*/\s*", " OR ", licence)


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def crate_component(package, checksum):
    component = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "licenses": [{"expression": licence_of(package)}],
        "purl": reference(package),
    }
    if package["description"]:
        component["description"] = " ".join(package["description"].split())
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def bundled_c(packages):
    """C libraries whose sources come inside a crate."""
    def defined(crate, path, pattern):
        for package in packages.values():
            if package["name"] == crate:
                text = (Path(package["manifest_path"]).parent / path).read_text("utf-8", "replace")
                found = re.search(pattern, text)
                if not found:
                    sys.exit(f"bill of materials: no version in {crate}'s {path}")
                return package, found.group(1)
        sys.exit(f"bill of materials: {crate} is no longer linked; correct this script")

    inside = [
        ("sqlite", "blessing", "pkg:generic/sqlite@{}",
         *defined("libsqlite3-sys", "sqlite3/sqlite3.h", r'#define SQLITE_VERSION\s+"([^"]+)"')),
        ("aws-lc", None, "pkg:github/aws/aws-lc@v{}",
         *defined("aws-lc-sys", "aws-lc/include/openssl/base.h",
                  r'#define AWSLC_VERSION_NUMBER_STRING\s+"([^"]+)"')),
    ]
    return [({
        "type": "library",
        "bom-ref": purl.format(version),
        "name": name,
        "version": version,
        "licenses": [{"expression": licence or licence_of(package)}],
        "purl": purl.format(version),
    }, reference(package)) for name, licence, purl, package, version in inside]


def from_debian():
    """What is linked or copied from the build stage's Debian."""
    distribution = re.search(r'^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text(), re.M)
    architecture = run("dpkg", "--print-architecture").strip()
    compiler = run("gcc", "-dumpversion").strip().split(".")[0]
    wanted = [
        ("libc6-dev", "library", "LGPL-2.1-or-later", "linked statically"),
        (f"libgcc-{compiler}-dev", "library", "GPL-3.0-or-later WITH GCC-exception-3.1", "linked statically"),
        ("ca-certificates", "data", "MPL-2.0 AND GPL-2.0-or-later", "/etc/ssl/certs/ca-certificates.crt"),
        ("tzdata", "data", "LicenseRef-public-domain", "/usr/share/zoneinfo"),
    ]
    found = []
    for name, kind, licence, where in wanted:
        version = run("dpkg-query", "--show", "--showformat", "${Version}", name).strip()
        purl = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
        if distribution:
            purl += f"&distro={distribution.group(1)}"
        found.append({
            "type": kind,
            "bom-ref": purl,
            "name": name,
            "version": version,
            "description": where,
            "licenses": [{"expression": licence}],
            "purl": purl,
        })
    return found


def standard_library():
    version = run("rustc", "--version").split()[1]
    purl = f"pkg:github/rust-lang/rust@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": "rust-std",
        "version": version,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": purl,
    }


def bill(target, packages, needs, others, bundled):
    sums = checksums()
    name = {identity: reference(package) for identity, package in packages.items()}
    top = next(package for package in packages.values() if package["name"] == EXECUTABLE)
    components = [crate_component(package, sums.get((package["name"], package["version"])))
                  for package in packages.values() if package is not top]
    components += others + [component for component, _ in bundled]
    depends = {name[identity]: [name[one] for one in ones] for identity, ones in needs.items()}
    for component, crate in bundled:
        depends[crate].append(component["bom-ref"])
    depends[reference(top)] += [component["bom-ref"] for component in others]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference(top),
                "name": "layover",
                "version": top["version"],
                "licenses": [{"expression": licence_of(top)}],
            },
            "properties": [{"name": "rust:target", "value": target}],
        },
        "components": sorted(components, key=lambda component: component["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(ones)} for ref, ones in sorted(depends.items())],
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def licence_texts(package):
    folder = Path(package["manifest_path"]).parent
    for path in sorted(folder.iterdir()):
        if LICENCE_FILE.match(path.name) and path.is_file() and path.stat().st_size <= MAX_TEXT_BYTES:
            yield path.read_text("utf-8", "replace")
    # AWS-LC's own lies with its sources.
    inside = folder / "aws-lc" / "LICENSE"
    if inside.is_file():
        yield inside.read_text("utf-8", "replace")


def licences(packages, others, bundled):
    """One list, then every text once, with who it belongs to."""
    foreign = sorted((package for package in packages.values() if package["source"]),
                     key=lambda package: (package["name"], package["version"]))
    parts, texts, without = [], {}, []
    for package in foreign:
        owner = f"{package['name']} {package['version']}"
        parts.append((owner, licence_of(package)))
        there = False
        for text in licence_texts(package):
            there = True
            digest = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            texts.setdefault(digest, (text, []))[1].append(owner)
        if not there:
            without.append(owner)
    for component in others + [component for component, _ in bundled]:
        owner = f"{component['name']} {component['version']}"
        parts.append((owner, component["licenses"][0]["expression"]))
        copyright_file = Path("/usr/share/doc") / component["name"] / "copyright"
        if copyright_file.is_file():
            text = copyright_file.read_text("utf-8", "replace")
            texts.setdefault(component["name"], (text, []))[1].append(owner)
    for name in ("LGPL-2.1", "GPL-2", "GPL-3", "Apache-2.0", "MPL-2.0"):
        text = (COMMON_LICENCES / name).read_text("utf-8", "replace")
        texts.setdefault(name, (text, []))[1].append(f"whoever names {name} above")
    lines = ["What the executable layover and its image consist of, and under which licences.",
             "glibc is linked statically: the sources of this image and its Dockerfile let you link it",
             "with another. The Rust crates and their sources are on crates.io.", ""]
    lines += [f"{owner}: {licence}" for owner, licence in parts]
    if without:
        lines += ["", "These packages bring no text of their own; the texts of the licences that they name are below:",
                  ", ".join(without)]
    for text, owners in texts.values():
        lines += ["", "=" * 100, ", ".join(owners), "=" * 100, "", text.strip()]
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    target = re.search(r"^host: (\S+)", run("rustc", "-vV"), re.MULTILINE).group(1)
    packages, needs = crates(target)
    others = [standard_library(), *from_debian()]
    bundled = bundled_c(packages)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(bill(target, packages, needs, others, bundled), "utf-8")
    (folder / "THIRD-PARTY-LICENSES.txt").write_text(licences(packages, others, bundled), "utf-8")


if __name__ == "__main__":
    main()
