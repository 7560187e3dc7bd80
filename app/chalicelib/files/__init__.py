"""Files of rows: reading objects, cutting them into chunks, parting and cleaning cells."""
