"""docs/container.md names what stands in the contract, and nothing that does not."""

import re
from pathlib import Path

import pytest

from runner.agent.contract import exits, labels, limits, paths, servers, variables

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "container.md").read_text("utf-8")
COMPOSE_ONLY = {  # compose.yaml's and its one-shot services' own
    variables.DEFAULT_PROGRAM,
    variables.COMPOSE_DIR,
    variables.GIVEN,
    variables.FLEET,
    variables.SERVER,
    variables.AGENTS,
    variables.SLOTS,
    variables.KEY_IS_GIVEN,
    variables.PREFIX,
}


def texts(module: object) -> dict[str, str]:
    """Name → value of a module's constants that are text."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


def table(section: str) -> list[list[str]]:
    """The cells of the rows of a section's table, without its head."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_all_mounts_are_named() -> None:
    shown = [row[0].strip("`") for row in table("Mounts")]

    assert sorted(shown) == sorted({*paths.OWN_MOUNTS, paths.WORKSPACE})
    assert all(f"`{one}`" in PAGE for one in (paths.KEY, paths.CA_BUNDLE, paths.INTERPRETER))


def test_all_variables_are_named_and_no_others() -> None:
    ours = {one for one in texts(variables).values() if one.startswith(variables.PREFIX)}
    shown = set(re.findall(r"`(RUNNER_[A-Z_0-9]+)`", PAGE)) - {"RUNNER_GPU_0"}
    fixed = {*variables.FIXED, *variables.TRUST, variables.APP_URL, variables.API_KEY}

    assert shown == ours - COMPOSE_ONLY
    assert {one for one in fixed if f"`{one}`" not in PAGE} == set()


def test_all_labels_are_named_and_no_others() -> None:
    ours = {one for one in texts(labels).values() if re.match(r"(dev\.runner|com\.docker)\.", one)}

    assert set(re.findall(r"`((?:dev\.runner|com\.docker)\.[\w.]+)`", PAGE)) == ours


def test_the_exit_codes_are_those_of_an_agent() -> None:
    ours = {value for name, value in vars(exits).items() if name.startswith("AGENT_")}

    assert {int(row[0]) for row in table("Exit codes")} == ours


@pytest.mark.parametrize(
    "text",
    [
        f"at most {limits.AGENT_PIDS} processes",
        f"is `{limits.RESTART}`",
        f"at least every {limits.STATUS_EVERY_S:.0f} s",
        f"older than {limits.STATUS_STALE_S:.0f} s",
        f"stops within {limits.GRACE_S + limits.STOP_MARGIN_S} s",
        f"rotated at {limits.LOG_SIZE[:-1]} MB",
        f"`{servers.URL}`",
        f"`{labels.network_name('<fleet>')}`",
        f"`{labels.container_name('<agent>')}`",
    ],
)
def test_numbers_and_names_are_those_of_the_code(text: str) -> None:
    assert text in " ".join(PAGE.split())
