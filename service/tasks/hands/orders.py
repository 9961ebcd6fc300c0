"""The joint order of a request: an order of hands, which is converted, or the skeleton of a model that has its own."""

from models.contract.task import HandForecast
from models.skeletons.hand import get_hand_order, is_known, orders_with
from models.skeletons.skeleton import Skeleton, UnknownOrder
from service.http.problems import Problem

SHOWN = 8  # joints in a message


def order_of(joints: str | None, task: HandForecast, model: str, pointer: str) -> Skeleton:
    """Return the joint order that a request names, by default the model's. Raises unknown-joints at `pointer`."""
    own = task.skeleton
    if joints is None or (own is not None and joints == own.name):
        return task.layout
    if own is not None:
        names = ", ".join(own.joints[:SHOWN]) + (", ..." if len(own.joints) > SHOWN else "")
        detail = f"{model} has a skeleton of its own: expected {own.name} ({len(own.joints)} joints: {names}), got {joints[:64]!r}"
        raise Problem.at("unknown-joints", pointer, f"{detail}; leave `joints` out or choose another model")
    try:
        return get_hand_order(joints)
    except UnknownOrder as error:
        raise Problem.at("unknown-joints", pointer, str(error)) from None


def refuse_another(task: HandForecast, before: HandForecast, model: str) -> None:
    """Raise unknown-joints if a model that serves now has another skeleton than the one before it."""
    if task.layout != before.layout:
        detail = (
            f"{model} now takes joints in {task.layout.name} order, not in {before.layout.name} order; connect again"
        )
        raise Problem.at("unknown-joints", "/joints", detail)


def body_of(order: Skeleton) -> str:
    """Return the word for what has these joints."""
    return "hand" if is_known(order) else "body"


def advice(order: Skeleton, *counts: int) -> str:
    """Return the end of a message about a number of joints: the orders of one of these numbers, or where they are listed."""
    if not is_known(order):
        return ""
    fitting = next(filter(None, map(orders_with, counts)), ())
    return f"; {counts[0]} points fit {' or '.join(fitting)}" if fitting else "; GET /joints lists the orders"
