"""Look up known holes in the locked packages, in OSV's database: the versions for this Python.

The exit status is 0 if no hole is known, 1 if one is, and 3 if the database cannot be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements-lock.txt"
HARMLESS: dict[str, str] = {}
"""holes that cannot be mended yet, by their names in OSV, and why they do no harm here"""


def main() -> None:
    """Print each hole, or why nothing could be looked up; words are passed on to pip-audit."""
    words = [
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner=off",
        "--vulnerability-service=osv",
        "--format=json",
    ]
    words += [f"--ignore-vuln={name}" for name in HARMLESS]
    command = [sys.executable, "-m", "pip_audit", f"--requirement={LOCK}", *words, *sys.argv[1:]]
    ran = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        why = (ran.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"NOT AUDITED: OSV's database cannot be asked ({why.partition(':')[0]})")
        sys.exit(3)
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        print(f"NOT AUDITED: {len(skipped)} of {len(packages)} packages were skipped: {', '.join(skipped)}")
        sys.exit(3)
    holes = [(package, hole) for package in packages for hole in package["vulns"]]
    for package, hole in holes:
        mended = ", ".join(hole["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}")
    print(f"{len(packages)} packages looked up, {len(holes)} known holes")
    sys.exit(bool(holes))


if __name__ == "__main__":
    main()
