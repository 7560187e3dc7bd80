"""A job drafted from a file: the file's layout, its columns, and the source of the job."""
