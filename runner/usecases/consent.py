"""Ask the user to accept what a project's files decide about keys, code and other files."""

from collections.abc import Callable, Mapping, Sequence

from runner.console.narration import Report
from runner.errors import ExitCode, RunnerError
from runner.settings.load import variable_of
from runner.settings.model import Settings
from runner.user.accepted import Claim, accept

Ask = Callable[[Sequence[Claim]], bool]


def load_checked(load: Callable[[], Settings], report: Report) -> Settings:
    """The settings for a command that changes nothing; reports and skips open claims."""
    settings = load()
    for claim in settings.claims:
        report(f"not accepted yet (`runner up` or `runner build` asks): {claim}")
    return settings


def settle(
    load: Callable[[], Settings],
    *,
    yes: bool,
    overridden: frozenset[str],
    environ: Mapping[str, str],
    remember: bool,
    report: Report,
    ask: Ask,
) -> Settings:
    """The settings for a command that acts on them; asks for each open claim, once per folder.

    Args:
        load: reads the settings again.
        yes: `--yes`.
        overridden: keys that a flag of this call decides.
        environ: names the folder that stores what was accepted.
        remember: False in a dry run.
        ask: asks a person; False if they refuse or nobody is there.

    Raises:
        RunnerError: a claim was not accepted (2).
    """
    settings = load()
    still = [claim for claim in settings.claims if claim.key not in overridden]
    if not still:
        return settings
    for claim in still:
        report(str(claim))
    if not yes and not ask(still):
        names = ", ".join(f"`{claim.key}`" for claim in still)
        raise RunnerError(
            f"{names} of the project in `{still[0].folder}` decides about your keys and files, "
            "but was not accepted",
            hint=f"`--yes` accepts it for this folder; {variable_of(still[0].key)} overrides it",
            code=ExitCode.USAGE,
        )
    accept(still, environ, remember=remember)
    return load()
