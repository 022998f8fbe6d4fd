"""The watch over a canary: it reads counters, asks the decision, moves the traffic, and survives a kill."""
