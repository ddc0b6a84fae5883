"""Links from one dashboard to another."""


def _link(title, uid, **variables):
    """A link to another dashboard that takes along the time, the datasource and these variables."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return {
        "title": title,
        "url": f"/d/{uid}?${{datasource:queryparam}}&${{job:queryparam}}{chosen}&${{__url_time_range}}",
    }


def to_node(instance="${__data.fields.instance}"):
    """A link to a node; in a table, to that of the row."""
    return _link("Open node", "musterd-node", instance=instance)


def to_agents(instance="${__data.fields.instance}"):
    """A link to all agents of a node."""
    return _link("Agents of the node", "musterd-agents", instance=instance)


def to_agent(instance="${__data.fields.instance}", agent="${__data.fields.agent}"):
    """A link to one agent."""
    return _link("Open agent", "musterd-agent", instance=instance, agent=agent)


def to_self(instance="${__data.fields.instance}"):
    """A link to the daemon of a node."""
    return _link("Open musterd itself", "musterd-self", instance=instance)
