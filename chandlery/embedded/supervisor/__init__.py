"""The laptop platform's supervisor: starts the services, keeps them running, stops them."""

from chandlery.embedded.supervisor.control import ServiceState, down, states, up

__all__ = ["ServiceState", "down", "states", "up"]
