"""How things look: colours, thresholds, and words for numbers. Must not know what is shown."""

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = (
    "green",
    "yellow",
    "orange",
    "red",
    "blue",
    "purple",
    "#8e8e8e",
)

# An agent's states as numbers, the worse the higher, so that max() is the worst.
STATES = (
    ("stopped", GREY),
    ("healthy", GREEN),
    ("starting", BLUE),
    ("degraded", YELLOW),
    ("unhealthy", ORANGE),
    ("stuck", PURPLE),
    ("lost", RED),
)
# How requests end, always in the same colours.
OUTCOMES = {"success": GREEN, "error": RED, "timeout": ORANGE, "cancelled": GREY, "aborted": PURPLE}


def words(texts):
    """A mapping from numbers to words and their colours."""
    options = {
        str(number): {"text": text, "color": color, "index": number}
        for number, (text, color) in enumerate(texts)
    }
    return [{"type": "value", "options": options}]


STATE_WORDS = words(STATES)
UP_WORDS = words([("down", RED), ("up", GREEN)])


def plain(color="text"):
    """One colour whatever the value."""
    return [{"color": color, "value": None}]


def above(yellow=None, red=None):
    """The higher, the worse."""
    steps = plain(GREEN)
    if yellow is not None:
        steps.append({"color": YELLOW, "value": yellow})
    if red is not None:
        steps.append({"color": RED, "value": red})
    return steps


def below(red, yellow):
    """The lower, the worse."""
    return [*plain(RED), {"color": YELLOW, "value": red}, {"color": GREEN, "value": yellow}]


def absolute(steps):
    """A panel's thresholds."""
    return {"mode": "absolute", "steps": steps}
