"""Where a notebook can be run in a browser, from the address of the repository.

The address is written in one place, pyproject.toml:

    [tool.numpylm]
    repository = "https://github.com/OWNER/NAME"
"""

import re
import tomllib
from pathlib import Path

from ..errors import InputError

PROJECT = Path(__file__).parents[2]
BRANCH = "main"
HOSTS = {"github.com": "gh", "gitlab.com": "gl"}  # and what Binder calls them


def repository(project: Path = PROJECT) -> str:
    """The address in a project's pyproject.toml, without .git or a slash behind; "" if none."""
    file = project / "pyproject.toml"
    if not file.exists():
        return ""
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    written = settings.get("tool", {}).get("numpylm", {}).get("repository", "")
    return str(written).strip().removesuffix("/").removesuffix(".git")


def links(address: str, path: str) -> dict[str, str]:
    """What opens the file at `path` of the repository; none without an address.

    Colab opens what lies on GitHub alone. Raises InputError for an address of another form.
    """
    if not address:
        return {}
    match = re.fullmatch(r"https://([\w.-]+)/([\w.-]+)/([\w.-]+)", address)
    if not match or match[1] not in HOSTS:
        raise InputError(
            f"repository in pyproject.toml is {address!r}: write https://github.com/OWNER/NAME, or "
            "the same at gitlab.com"
        )
    host, owner, name = match.groups()
    found = {}
    if host == "github.com":
        found["Colab"] = (
            f"https://colab.research.google.com/github/{owner}/{name}/blob/{BRANCH}/{path}"
        )
    place = f"{owner}/{name}" if host == "github.com" else f"{owner}%2F{name}"
    found["Binder"] = f"https://mybinder.org/v2/{HOSTS[host]}/{place}/{BRANCH}?labpath={path}"
    return found
