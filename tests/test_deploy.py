"""What `deploy/` and prefect.yaml name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.server import checkout
from flows.server.serve import POOLS

REPOSITORY = Path(__file__).parents[1]
UNITS = sorted((REPOSITORY / "deploy/systemd").glob("*.service"))
HOME = "/opt/nonlocal-i3d"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_units(tmp_path):
    for unit in UNITS:
        text = unit.read_text().replace(f"{HOME}/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text.replace(HOME, str(REPOSITORY)))
    for unit in UNITS:
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / unit.name)], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), unit.name


def test_the_units_know_their_variables():
    example = (REPOSITORY / "deploy/systemd/nonlocal.env.example").read_text()
    names = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)
    assert {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "NONLOCAL_HOME"} <= {
        *names
    }
    for unit in UNITS:
        assert "EnvironmentFile=/etc/nonlocal/nonlocal.env\nEnvironment=PREFECT_HOME=" in unit.read_text()


def test_compose_has_a_worker_for_each_pool_and_asks_for_its_secrets():
    folder = REPOSITORY / "deploy"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    commands = [str(service.get("command", "")) for service in services.values()]
    pools = {found[1] for command in commands if (found := re.search(r"worker start --pool (\w+)", command))}
    assert pools == {*POOLS}
    assert (
        "gpu"
        in yaml.safe_load((folder / "compose.gpu.yaml").read_text())["services"]["server"]["build"][
            "args"
        ].values()
    )
    asked = set(re.findall(r"\$\{(\w+):\?", (folder / "compose.yaml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (folder / "compose.env.example").read_text(), re.MULTILINE))
    assert asked == given


def test_the_secrets_of_compose_come_into_neither_image_nor_git():
    name = "deploy/.env"
    assert f"cp deploy/compose.env.example {name} " in (REPOSITORY / "deploy/compose.yaml").read_text()
    patterns = (REPOSITORY / "deploy/Dockerfile.dockerignore").read_text().split()
    assert {name, f"**/{Path(name).name}"} & {*patterns}
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=REPOSITORY, check=False).returncode == 0


def test_a_deployment_needs_the_folder_of_a_checkout(monkeypatch, capsys, tmp_path):
    (step,) = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["build"]
    assert list(step) == [f"{checkout.__name__}.{checkout.check.__name__}"]
    monkeypatch.setenv("NONLOCAL_HOME", str(REPOSITORY))
    checkout.check()
    for home, told in (
        ("", "NONLOCAL_HOME is not set"),
        (str(tmp_path), f"NONLOCAL_HOME={tmp_path} has no folder flows"),
    ):
        monkeypatch.setenv("NONLOCAL_HOME", home)
        with pytest.raises(SystemExit) as ended:
            checkout.check()
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(f"error: {told}: export")
