"""What the Extensions Index and its reviewers check before they list an extension."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cmake_lists import MODULES, ROOT

MB = 2**20
NAME = "MedDiffusion"
ENTRY = ROOT / f"{NAME}.json"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#"
)
VARIABLES = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")


@pytest.fixture(scope="module")
def entry() -> dict[str, object]:
    return json.loads(ENTRY.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """The EXTENSION_ variables as the index's own patterns find them: on one line, in double quotes."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = dict(re.findall(r'^set\(EXTENSION_([A-Z]+) "([^"\n]+)"\)$', text, re.MULTILINE))
    assert set(found) == set(VARIABLES)
    return found


def ours(url: str) -> Path:
    """The file of this repository that a raw address on GitHub's main branch shows."""
    parts = urlsplit(url)
    assert parts.scheme == "https" and parts.netloc == "raw.githubusercontent.com"
    _, owner, repository, branch, *path = parts.path.split("/")
    assert repository == f"Slicer{NAME}" and branch == "main" and owner
    return ROOT.joinpath(*path)


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n"), path
    return struct.unpack(">II", head[16:24])


def test_the_entry_follows_its_schema(entry: dict[str, object]) -> None:
    kinds = {"$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str}
    kinds |= {"build_dependencies": list, "build_subdirectory": str, "enabled": bool, "tier": int}
    assert {"$schema", "category", "scm_url"} <= set(entry) <= set(kinds)
    for key, value in entry.items():
        assert type(value) is kinds[key], key
    assert entry["$schema"] == SCHEMA
    assert entry["scm_type"] in ("git", "local")
    assert entry["tier"] in (1, 3, 5)
    assert all(type(name) is str for name in entry["build_dependencies"])


def test_the_entry_is_laid_out_as_the_index_wants_it(entry: dict[str, object]) -> None:
    raw = ENTRY.read_bytes()
    assert b"\r" not in raw and b"\t" not in raw and raw.endswith(b"}\n") and not raw.endswith(b"\n\n")
    assert list(entry) == sorted(entry)
    assert raw.decode() == json.dumps(entry, indent=2) + "\n"


def test_name_repository_and_project_agree(entry: dict[str, object], variables: dict[str, str]) -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"project\s*\(\s*([^\s)]+)", cmake) == [NAME]
    address = urlsplit(str(entry["scm_url"]))
    assert address.scheme == "https"
    assert address.path.removesuffix(".git").rpartition("/")[2] == f"Slicer{NAME}"
    assert str(entry["scm_url"]).removesuffix(".git") == variables["HOMEPAGE"]
    owners = {
        urlsplit(url).path.split("/")[1] for key in ("ICONURL", "SCREENSHOTURLS") for url in variables[key].split()
    }
    assert owners == {address.path.split("/")[1]}


def test_category_and_dependencies_agree(entry: dict[str, object], variables: dict[str, str]) -> None:
    assert entry["category"] == variables["CATEGORY"] == "Image Synthesis"
    assert entry["build_dependencies"] == variables["DEPENDS"].split() == ["PyTorch"]


def test_the_description_is_for_people(variables: dict[str, str]) -> None:
    text = variables["DESCRIPTION"]
    assert "not diffusion MRI" in text and "generative diffusion models" in text.lower()
    assert "not for diagnosis" in text
    assert 80 <= len(text) <= 400


def test_the_icon(variables: dict[str, str]) -> None:
    assert png_size(ours(variables["ICONURL"])) == (128, 128)


def test_the_screenshots_are_there(variables: dict[str, str]) -> None:
    shots = [ours(url) for url in variables["SCREENSHOTURLS"].split()]
    assert shots
    for path in shots:
        width, height = png_size(path)
        assert min(width, height) >= 300, path


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_icon(module: str) -> None:
    icon = ROOT / module / "Resources" / "Icons" / f"{module}.png"
    assert png_size(icon) == (128, 128)
    text = icon.with_suffix(".svg").read_text(encoding="utf-8")
    assert text.startswith("<svg ")
    assert not re.search(r"<(clipPath|mask|filter|style|text|image|script)\b", text), (
        "not in SVG Tiny: Slicer's Qt skips it"
    )


@pytest.mark.parametrize("module", MODULES)
def test_the_readme_has_a_sentence_for_each_module(module: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ?", module) if module != NAME else module
    rows = [line for line in readme.splitlines() if re.search(rf"^\W*{title}\b", line)]
    assert any(len(row.split()) >= 6 and "." in row for row in rows), f"README.md says nothing of {module}"


def test_the_readme_says_what_reviewers_ask_for() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "not** diffusion MRI" in readme or "not diffusion MRI" in readme
    assert re.search(r"how to cite", readme, re.IGNORECASE)
    assert re.search(r"Apache", readme)
    assert re.search(r"docs/slicer\.md", readme) and re.search(r"docs/tutorial-reconstruction\.md", readme)
    assert re.search(r"!\[[^\]]+\]\(docs/images/[^)]+\.png\)", readme)


def test_a_permissive_licence_lies_at_the_root() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:400]


def files() -> Iterator[Path]:
    """What a clone checks out: tracked files, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return (path for name in names.split("\0") if name and (path := ROOT / name).is_file())


def test_the_repository_is_small() -> None:
    sizes = {path: path.stat().st_size for path in files()}
    large = {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > 8 * MB}
    assert not large
    assert history() < 100 * MB


def history() -> int:
    """Bytes of all that was ever committed, compressed, each object once, however they are packed here."""

    def git(*command: str, told: str | None = None) -> str:
        return subprocess.run(
            ["git", *command], cwd=ROOT, input=told, capture_output=True, check=True, text=True
        ).stdout

    objects = {line.split(" ", 1)[0] for line in git("rev-list", "--objects", "--all", "HEAD").splitlines()}
    told = git("cat-file", "--batch-check=%(objectsize:disk)", told="\n".join(objects) + "\n")
    sizes = [int(line) for line in told.split("\n") if line]
    assert len(sizes) == len(objects)
    return sum(sizes)


def test_pictures_and_links_of_the_docs_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target and not target.startswith("#"):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name} points to {target}"
