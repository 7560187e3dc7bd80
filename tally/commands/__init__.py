"""The commands: options, a call, what is shown."""
