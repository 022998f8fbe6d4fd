"""The laptop platform's supervisor: starts the services, keeps them running, stops them."""

from chandlery.embedded.supervisor.control import ServiceState, down, states, up
from chandlery.embedded.supervisor.services import SERVICES_OF

__all__ = ["SERVICES_OF", "ServiceState", "down", "states", "up"]
