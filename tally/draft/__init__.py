"""A job drafted from a file: what the file looks like, what its columns hold, and the modules that say it."""
