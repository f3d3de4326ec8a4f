"""The steps that are about the application, and those that follow when it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.plan.facts import ACME, APP, EDGE
from deploy.plan.step import Answer, Answers, Changes, always, depends, either, few, no, step, yes

if TYPE_CHECKING:
    from deploy.plan.facts import Facts


@step("App container", "compose: Replace the app")
def app(facts: Facts, answers: Answers) -> Answer:
    """A database that changes leaves it where it is: it reconnects by itself."""
    if facts.foreign:
        return yes("it is taken over")
    if facts.replace_app or facts.legacy.get("variables"):
        settings = "settings of the replaced system come into .env"
        return yes("this flow replaces it in any case" if facts.replace_app else settings)
    if (
        facts.changed.get(APP) == "definition"
        and not facts.privileges_known
        and facts.running == facts.version
    ):
        return depends("whether this engine gives privileged containers is tried first")
    if why := facts.not_in_line(APP):
        return yes(why)
    built = answers.get("Image", no(""))
    if built.changes is Changes.YES:
        return yes("its image changes")
    return (
        no("nothing of it changed")
        if built.changes is Changes.NO
        else depends("only if its image changes", "Image")
    )


# In flows that stop it.
app_again = always("App container", "compose: Replace the app", "it starts again, on the new database")


@step("Containers", "compose: Take the stack down")
def containers(facts: Facts, _: Answers) -> Answer:
    """The volume is not theirs."""
    names = ", ".join(one["name"] for one in facts.containers.values())
    return either(f"removed: {names}" if names else "", "there are none")


@step("Other images", "images: Remove the project's other images")
def other_images(facts: Facts, _: Answers) -> Answer:
    """All of this project but those in use from now on."""
    found = facts.seen.get("images", {})
    older = [name for name in found.get("older_bases", []) if "postgres" not in name]
    names = (
        [f"version {tag}" for tag in found.get("app", []) if tag != "latest"]
        + older
        + found.get("nameless", [])
    )
    return either(f"removed: {few(names)}" if names else "", "there are none")


@step("Temporary files", "project: Remove temporary files")
def temporary(facts: Facts, _: Answers) -> Answer:
    """What is in data/, and copies that were never finished."""
    found = facts.seen.get("rubbish", [])
    return either(f"removed: {few(found)}" if found else "", "there are none")


@step("Stand-in", "compose: Send requests to the app")
def standin(facts: Facts, answers: Answers) -> Answer:
    """A second container of the app, which serves while the app is replaced, and is removed again."""
    if app.decide(facts, answers).changes is Changes.NO:
        left = "a run that was cut off has left one: it ends" if facts.standin_is_left else ""
        return either(left, "the app is not replaced")
    if facts.containers.get(APP, {}).get("state") != "running":
        return no("no app runs that it could serve in the place of")
    return no(f"version {facts.version} must become healthy next to the one that serves, before the swap")


@step(
    "Edge",
    "images: Use the edge's image of that version",
    "compose: Send requests to the stand-in",
    "compose: Bring the edge in line",
)
def edge(facts: Facts, _: Answers) -> Answer:
    """Replaced only where it has to be: nobody answers meanwhile."""
    if EDGE not in facts.containers:
        return yes("there is none: it takes over the port of the app")
    if why := facts.not_in_line(EDGE) or ("its image changes" if facts.base_image("edge")[0] else ""):
        return yes(f"{why}: nobody answers for up to 1 s")
    return no("it runs, and nothing of it changed")


@step(
    "Certificate",
    "compose: Start the service for the certificate",
    "compose: Remove the service for the certificate",
)
def certificate(facts: Facts, _: Answers) -> Answer:
    """A service of its own, which no request waits for."""
    if not facts.has_acme:
        return either("TLS is off: the service acme goes" if ACME in facts.containers else "", "TLS is off")
    if why := facts.not_in_line(ACME) or ("its image changes" if facts.base_image("edge")[0] else ""):
        return yes(f"the service acme is started: {why}")
    return no("the service acme runs, and nothing of it changed")


@step("Maintenance", "compose: Turn maintenance on or off")
def maintenance(_: Facts, __: Answers) -> Answer:
    """Maintenance is a state of the edge."""
    return depends("the state of the edge is read when the step runs")


@step("Gate")
def gate(facts: Facts, _: Answers) -> Answer:
    """Waits, and changes nothing."""
    return no(f"/health has to answer as version {facts.version} three times in a row")


@step("Checkout", "source: Move the checkout")
def checkout(facts: Facts, _: Answers) -> Answer:
    """Follows what serves."""
    commit = facts.commit
    if not facts.source.known:  # the remote's branch may have been rewritten
        own = few(facts.source.own_commits) or facts.head[:12]
        return depends(f"it moves to {commit[:12]} if that holds {own}; if not, the update is refused")
    return either(f"moves to {commit[:12]}" if commit != facts.head else "", f"is at {commit[:12]} already")


@step("Record", "versions: Note the version")
def record(facts: Facts, answers: Answers) -> Answer:
    """In .run/versions.json; images of versions beyond the last few go."""
    found = facts.seen.get("record", {})
    removed = found.get("removes", [])
    more = f"; its image goes: {', '.join(removed)}" if removed else ""
    built = answers.get("Image", no(""))
    if not found.get("settled") or built.changes is Changes.YES:
        return yes(f"version {facts.version} is noted{more}")
    if built.changes is Changes.NO:
        return no("it says so already")
    return depends(f"only if its image changes{more}", "Image")
