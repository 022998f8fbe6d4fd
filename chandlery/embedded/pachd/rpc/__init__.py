"""The handlers of the RPCs, by what they are about. Each is entered in `calls.HANDLERS`."""
