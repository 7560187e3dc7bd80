"""A dry run of a job over a file: the functions' own code in this process, over AWS in memory."""
