"""What `pip install` of this project brings along, beside the clone that most run it from."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("readings", "poller", "bridge", "simulator", "heating")
NOT_READ = {"bridge/remote_write/prometheus.proto"}
"""What something beside it was made from."""


def test_a_wheel_has_every_file_of_the_packages(tmp_path: Path):
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in ("pyproject.toml", project["readme"], *project["license-files"]):
        shutil.copy(ROOT / name, tmp_path)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run(
        [*build, "--wheel-dir", "made", "."], cwd=tmp_path, check=True, capture_output=True, timeout=110
    )
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert files - {*packed.namelist()} == NOT_READ
